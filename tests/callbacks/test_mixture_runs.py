"""A run on faces with labels and without: what it tells, what its page shows, and its use on other data."""

import csv
import io
import json
import re
from contextlib import redirect_stdout

import pytest
import yaml

from cli import main
from tests.drawn_faces import write_csv
from tests.experiment import run
from tests.mixed_experiment import infrared, synthetic, write_mixed
from tests.reported_run import shown


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with ``runs/mixed``, two rounds of an epoch at 64 pixels."""
    folder = tmp_path_factory.mktemp("mixture")
    labelled = synthetic(size=64, box="landmarks-1.2", validation_fraction=0.25)
    data = {"labelled": labelled, "unlabelled": [infrared(size=64)]}
    data = {"class_path": "datamodules.mixture.Mixture", "init_args": data}
    trainer = {"max_epochs": 2, "log_every_n_steps": None, "enable_progress_bar": False}
    write_mixed(folder, tasks=[32], data=data, trainer=trainer)
    (folder / "others.yaml").write_text(yaml.safe_dump(_without_size(infrared(num_test=2))))
    write_csv(folder / "faces", train=2, test=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        (folder / "printed").write_text(_printed(lambda: main(["fit", "--config", "mixed.yaml"])))
    return folder


def _without_size(config):
    return {**config, "init_args": {key: value for key, value in config["init_args"].items() if key != "size"}}


def _printed(call):
    """What it prints, that of rich included."""
    stream = io.StringIO()
    with redirect_stdout(stream):
        call()
    return stream.getvalue()


def test_a_training_begins_with_its_device_faces_and_parts(trained):
    lines = (trained / "printed").read_text().splitlines()
    assert lines[:2] == ["device: CPU", "10 faces for training and 7 without labels, 6 for validation"]
    parts = "\n".join(lines[: next(i for i, line in enumerate(lines) if line.startswith("round 0"))])
    assert re.search(r"network +PIPNetwork +[\d.]+ [KM] *\n", parts)
    assert not re.search("Mode|FLOPs|sizes|metrics", parts)
    assert max(map(len, parts.splitlines())) <= 80


def test_what_it_was_trained_on_is_noted_and_on_its_page(trained):
    words = "generated faces (photo) (10 faces) and generated faces (infrared) (7 faces without labels)"
    assert json.loads((trained / "runs/mixed/fit.json").read_text())["trained_on"] == words
    page = shown(trained / "runs/mixed")
    assert f"trained on {words}" in page
    assert "to measure the last checkpoint: python cli.py test --ckpt_path last --name mixed" in page
    for words in ("pseudo, confidence 0", "pseudo, confidence low 0"):
        assert words in page


def test_every_short_epoch_logs(trained):
    with (trained / "runs/mixed/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["train/loss"]] == ["0", "1"]
    assert len([row for row in rows if row["lr-Adam"]]) == 2


@pytest.mark.parametrize(
    ("words", "box"),
    [
        ("--config others.yaml", "landmarks-1.2"),
        ("--config mixed.yaml --config others.yaml", "landmarks-1.2"),
        ("--data datamodules.synthetic.SyntheticFaces", "landmarks-1.2"),
        ("--config data/unlabeled.yaml --data.init_args.root=faces --data.init_args.num_workers=0", "image"),
    ],
)
def test_other_data_is_cut_as_the_labelled_faces_were(trained, words, box, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    data = run("predict", "--name", "mixed", *words.split(), "--trainer.limit_predict_batches=1").datamodule
    assert type(data).__name__ in ("SyntheticFaces", "UnlabeledFaces")
    assert (data.size, data.box) == (64, box)
    assert "was trained at" not in capsys.readouterr().err


def test_a_size_of_its_own_wins_and_the_mixture_itself_stays(trained, monkeypatch):
    monkeypatch.chdir(trained)
    words = ("--config", "others.yaml", "--data.init_args.size=32")
    assert run("predict", "--name", "mixed", *words).datamodule.size == 32
    assert type(run("validate", "--name", "mixed").datamodule).__name__ == "Mixture"
