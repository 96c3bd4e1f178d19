"""``python cli.py profile`` on small trainings."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from callbacks.profile.command import main
from callbacks.profile.communication import between_two
from callbacks.profile.memory import PeakMemory
from callbacks.profile.operations import Operations
from callbacks.profile.timer import PARTS
from cli import main as cli
from lightning_modules.pipnet import PIPNet
from tests.callbacks.test_report_browser import BROWSER, measure
from tests.every_method import METHODS, NEEDS_OTHERS, write_training
from tests.experiment import QUIET, output_of, start
from tests.one_sentence import one_sentence

FACES = ("--data.init_args.num_train=256", "--data.init_args.batch_size=16")  # 192 to train, six batches a process
PLAN = ("--steps=4", "--warmup=1", "--workers=0,1")
PHASED = ("ldeq.LDEQ", "pipnet.SelfTraining", "two_step.Discovery")  # whose trainings have phases


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    """A PIPNet on two processes, whose run of that name has a checkpoint: folder, what was told, and the figures."""
    folder = tmp_path_factory.mktemp("profile")
    checkpoint = folder / "runs/every/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"a checkpoint")
    write_training(folder, "pipnet.PIPNet")
    words = ("profile", "--config", "every.yaml", *FACES, *PLAN, "--trainer.devices=2", "--trainer.strategy=ddp")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        process = start(*words, OMP_NUM_THREADS="1")
        told = output_of(process)
    assert process.returncode == 0, told
    return folder, told, json.loads((folder / "runs/every/profile/profile.json").read_text())


def test_the_run_is_not_touched(profiled):
    run = profiled[0] / "runs/every"
    assert {path.name for path in run.iterdir()} == {"checkpoints", "profile"}
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert (run / "checkpoints/last.ckpt").read_bytes() == b"a checkpoint"
    assert {path.name for path in (run / "profile").iterdir()} == {"profile.json", "profile.html"}


def test_the_parts_sum_up_to_the_step(profiled):
    (phase,) = profiled[2]["measured"]["phases"]
    for kind in ("parts", "silent"):
        assert set(phase[kind]["parts"]) == set(PARTS)
        assert sum(phase[kind]["parts"].values()) == pytest.approx(phase[kind]["step"])
        assert min(phase[kind]["parts"].values()) > 0
        low, median, high = phase[kind]["quartiles"]["step"]
        assert low <= median <= high


def test_bytes_are_those_of_a_hand_count(profiled):
    """Four a weight; Adam keeps two numbers of each, and a step of four bytes of each tensor."""
    measured = profiled[2]["measured"]
    module = PIPNet(98, backbone="test_resnet", pretrained=False)
    weights = sum(math.prod(parameter.shape) for parameter in module.parameters())
    memory = measured["phases"][0]["memory"]
    assert measured["communication"]["gradient_bytes"] == memory["gradients"] == memory["buckets"] == 4 * weights
    assert memory["optimiser"] == 8 * weights + 4 * len(list(module.parameters()))
    assert memory["weights"] == 4 * weights + measured["communication"]["buffer_bytes"]


def test_what_is_sent_is_counted(profiled):
    """Gradients once a step, and what Lightning and the run's own callbacks say in every and in every tenth batch."""
    sent = profiled[2]["measured"]["communication"]
    sums = [row for row in sent["collectives"] if row["operation"] == "all_reduce" and row["a_step"] == 1]
    counts = 3  # of what PIPNet's losses are means over
    assert 4 * (sum(row["elements"] for row in sums) - counts) == sent["gradient_bytes"]
    single = {row["operation"]: row["a_step"] for row in sent["collectives"] if row["elements"] == 1}
    assert single["broadcast"] >= 0.8  # not where an epoch begins
    assert 1 < single["all_reduce"] <= 1.3  # whether losses are finite in each step, as each is logged here; of signals
    assert sent["seconds"][-1][0] == sent["gradient_bytes"]
    assert min(seconds for _, seconds in sent["seconds"]) > 0
    assert sent["backend"] == "gloo"


def test_memory_of_a_third_batch_is_predicted(profiled):
    found = profiled[2]["derived"]["memory"]
    assert [batch for batch, _ in profiled[2]["measured"]["phases"][0]["memory"]["batches"]] == [4, 8, 16]
    assert found["check"]["by_line"] == pytest.approx(found["check"]["measured"], rel=0.05)
    assert found["each"] > 3 * 64 * 64 * 4  # more than the image


def test_the_page_and_the_table_say_where_figures_come_from(profiled):
    folder, told, figures = profiled
    page = (folder / "runs/every/profile/profile.html").read_text()
    for word in ("measured", "derived", "Assumed", "--network-gb", "weak scaling", "forward and loss", "<svg"):
        assert word in page
    assert "measured" in told
    assert "efficiency, 64 GPUs" in told
    assert figures["measured"]["loader"]["rates"].keys() == {"0", "1"}
    assert [row["gpus"] for row in figures["derived"]["scaling"]] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.skipif(not BROWSER, reason="neither chromium nor chrome is installed")
def test_a_browser_shows_the_page_whole(profiled, tmp_path):
    page = profiled[0] / "runs/every/profile/profile.html"
    for width, seen in measure(tmp_path, page, 1280, 500).items():
        assert seen["overflow"] == 0, width
        assert seen["fetched"] == []
        assert seen["heading"] == "every"
        assert seen["charts"] == 1 + 3  # a bar, and loading, memory and efficiency
        assert seen["small"] == 0 or width == "500"


def test_a_plan_is_made_anew_from_measured_figures(profiled, tmp_path, capsys):
    folder, _, before = profiled
    file = tmp_path / "profile.json"
    file.write_bytes((folder / "runs/every/profile/profile.json").read_bytes())
    main(["--measured", str(file), "--network-gb", "0.1", "--overlap", "0"])
    after = json.loads(file.read_text())
    assert after["measured"] == before["measured"]
    assert after["assumed"]["--network-gb"] == 0.1
    fed = [figures["derived"]["scaling"][-1]["efficiency_fed"] for figures in (before, after)]
    assert fed[1] < fed[0]
    assert "profile.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    "method", [*PHASED, *(pytest.param(each, marks=pytest.mark.thorough) for each in METHODS if each not in PHASED)]
)
def test_every_method_can_be_measured(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_training(tmp_path, method)
    options = {"out": "measured.json", "warmup": 1, "steps": 2, "workers": [0]}
    callback = {"class_path": "callbacks.profile.measure.Measure", "init_args": options}
    alone = ("--trainer.limit_val_batches=0", "--trainer.num_sanity_val_steps=0", *QUIET)
    with pytest.raises(SystemExit) as end:
        cli(["fit", "--config", "every.yaml", *alone, f"--trainer.callbacks+={json.dumps(callback)}"])
    assert end.value.code == 0
    measured = json.loads(Path("measured.json").read_text())
    phases = {phase["name"]: phase for phase in measured["phases"]}
    expected = {
        "ldeq.LDEQ": ["SingleStep gradient", "Implicit gradient"],
        "two_step.Discovery": ["step 1, contrast", "step 2, equivariance"],
        "pipnet.SelfTraining": ["labelled faces and others"],
    }
    assert list(phases) == expected.get(method, ["training"])
    for phase in phases.values():
        assert phase["flops"] > 1e6
        assert phase["operations"] > 100
        assert sum(phase["parts"]["parts"].values()) == pytest.approx(phase["parts"]["step"])
        assert phase["memory"]["batches"][0][1] > 0
    assert measured["loader"]["rates"]["0"] > 0
    faces = 24 if method in NEEDS_OTHERS else 16  # four or six batches of what is not held out
    assert measured["run"]["samples_an_epoch"] == faces
    if method == "ldeq.LDEQ":  # its solver on the way back is in no other phase
        assert phases["Implicit gradient"]["flops"] > 1.3 * phases["SingleStep gradient"]["flops"]


def test_floating_point_operations_are_those_that_torch_counts():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5))
    image = torch.rand(2, 3, 8, 8)
    ours = Operations()
    ours.begin({})
    net(image).sum().backward()
    ours.look_away()
    with FlopCounterMode(display=False) as theirs:
        net(image).sum().backward()
    assert ours.mode.flops == theirs.get_total_flops()
    convolution, linear = 2 * 2 * 8 * 6 * 6 * 27, 2 * 2 * 288 * 5
    assert ours.mode.flops == 2 * convolution + 3 * linear  # no gradient goes to the image


def test_a_peak_is_of_what_is_held_at_once():
    batch = {"image": torch.zeros(8, 3), "title": "faces"}
    memory = PeakMemory(torch.device("cpu"), samples=2)
    memory.begin(batch)
    kept = torch.empty(1_000_000)
    for _ in range(3):
        torch.empty(500_000)  # one after the other
    memory.end()
    assert len(batch["image"]) == 2
    assert memory.bytes == pytest.approx(4 * (len(kept) + 500_000), rel=0.01)


def test_two_processes_are_timed_where_a_training_has_one():
    found = between_two(1 << 18)
    assert [count for count, _ in found["seconds"]] == [1 << 12, 1 << 16, 1 << 18]
    assert all(seconds > 0 for _, seconds in found["seconds"])


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--config", "demo.yaml", "--steps", "few"], ["--steps is 'few'", "from 2 on"]),
        (["--config", "demo.yaml", "--warmup", "0"], ["--warmup is '0'", "from 1 on"]),
        (["--config", "demo.yaml", "--workers", "a,b"], ["--workers is 'a,b'", "0,1,2,4"]),
        (["--config", "demo.yaml", "--steps", "3", "4"], ["--steps takes one value, found 2"]),
        (["--config", "demo.yaml", "--overlap", "3"], ["--overlap is '3'", "from 0 to 1"]),
        (["--config", "demo.yaml", "--resume"], ["profile takes no --resume", "leave it out"]),
        (["--measured", "gone.json"], ["gone.json: no such file"]),
        (["--measured", __file__], [f"{__file__}: no profile.json"]),
        (["--measured", "gone.json", "--config", "demo.yaml"], ["--measured measures nothing", "--config"]),
        (["--config", "gone.yaml"], ["--config gone.yaml: no such file"]),
    ],
)
def test_a_mistake_is_a_sentence(words, parts):
    with one_sentence(*parts):
        main(words)


def test_a_mistake_in_the_training_is_its_own_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with one_sentence("data.init_args.batch_size is 0", "expected at least 1"):
        main(["--config", "demo.yaml", "--data.init_args.batch_size=0"])
    assert not list(tmp_path.iterdir())
