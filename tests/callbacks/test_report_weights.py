"""Which weights a result is of, and whether the run's are others by now."""

import json
import shutil

import pytest
import torch

from callbacks.report import main
from tests.experiment import run
from tests.reported_run import STEM, describe, second, shown, words_of

BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"


def load(file):
    return torch.load(file, weights_only=True)


def moment_in_words(file):
    content = load(file)
    return f"epoch {content['epoch']} (step {content['global_step']})"


def test_a_test_records_the_moment_of_its_weights(tried):
    content = load(tried / BEST)
    recorded = json.loads((tried / f"{STEM}.json").read_text())["moment"]
    assert recorded == {"epoch": content["epoch"], "step": content["global_step"]}
    assert recorded["step"] == 5 * (recorded["epoch"] + 1)  # 21 faces to train on: five fours


def test_training_that_goes_on_makes_a_result_one_of_earlier_weights(tried, monkeypatch):
    monkeypatch.chdir(tried.parents[1])
    before = moment_in_words(tried / BEST)
    assert f"Weights checkpoints/best.ckpt, {before}" in shown(tried)
    assert "Measured on the weights" not in shown(tried)
    run("fit", "--name", "tried", "--resume", "--trainer.max_epochs=6", "--model.init_args.lr=0.05")
    after = moment_in_words(tried / BEST)
    now = f"step {load(tried / BEST)['global_step']}"
    assert before != after
    text = words_of((tried / "report.html").read_text())  # as fit left it
    assert f"Measured on the weights of {before}; checkpoints/best.ckpt is now that of {now}: test again." in text
    assert f"Weights checkpoints/best.ckpt, {before}" in text
    run("test", "--name", "tried")
    text = words_of((tried / "report.html").read_text())
    assert "Measured on the weights" not in text
    assert f"Weights checkpoints/best.ckpt, {after}" in text


def test_training_that_finds_nothing_better_is_no_alarm(tried, monkeypatch):
    monkeypatch.chdir(tried.parents[1])
    before = (tried / BEST).read_bytes()
    run("fit", "--name", "tried", "--resume", "--trainer.max_epochs=3", "--model.init_args.lr=1000")
    assert (tried / BEST).read_bytes() == before
    text = words_of((tried / "report.html").read_text())
    assert "3 epochs" in text
    assert "Measured on the weights" not in text


def test_a_moved_run_is_no_alarm(tried, tmp_path):
    assert "Measured on the weights" not in shown(shutil.copytree(tried, tmp_path / "elsewhere/renamed"))


@pytest.mark.parametrize("moment", [{}, {"epoch": 3}, {"epoch": "x", "step": 5}], ids=["none", "half", "odd"])
def test_results_without_a_record_say_so(tried, moment):
    describe(tried / f"{STEM}.json", moment=moment)
    text = shown(tried)
    assert "checkpoints/best.ckpt, epoch not recorded" in text
    assert "Measured on the weights" not in text


def test_weights_from_elsewhere_are_not_compared(tried):
    describe(tried / f"{STEM}.json", weights="b/checkpoints/best.ckpt", moment={"epoch": 40, "step": 410})
    text = shown(tried)
    assert "b/checkpoints/best.ckpt, epoch 40 (step 410)" in text
    assert "Measured on the weights" not in text


def test_the_last_checkpoint_is_compared_with_the_end_of_training(tried):
    for file in (tried / "test").glob("*"):
        shutil.copy(file, file.with_name(file.name.replace("1.2", "1.2_last", 1)))
    file, content = tried / "test/wflw_landmarks-1.2_last.json", load(tried / LAST)
    describe(file, weights=LAST, moment={"epoch": content["epoch"], "step": content["global_step"]})
    assert "Measured on the weights" not in shown(tried)
    describe(file, weights=LAST, moment={"epoch": 0, "step": 5})
    text = shown(tried)
    assert (
        "Measured on the weights of epoch 0 (step 5); checkpoints/last.ckpt is now that of step 10: test again" in text
    )
    assert text.count("of earlier weights") == 1
    assert "WFLW (last) of earlier weights" in text


def test_the_comparison_says_it_beside_the_result(tried, tmp_path):
    other, content = second(tried), load(tried / BEST)
    moment = f"epoch {content['epoch']} (step {content['global_step']})"

    def compared():
        return words_of(main([str(tried), str(other), "--out", str(tmp_path / "page.html")]).read_text())

    assert compared().count(moment) == 2
    assert "Measured on" not in compared()
    describe(other / f"{STEM}.json", moment={"epoch": 7, "step": 40})
    now = content["global_step"]
    sentence = (
        f"Measured on the weights of epoch 7 (step 40); checkpoints/best.ckpt is now that of step {now}: test again."
    )
    assert f"second: {sentence}" in compared()
    assert "tried: Measured" not in compared()
    describe(other / f"{STEM}.json", data="others")  # each alone
    assert (
        f"second alone was measured on others (14 faces, box landmarks-1.2, NME inter-ocular). {sentence}" in compared()
    )
