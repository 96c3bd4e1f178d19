"""README's example of one's own images works as it is printed."""

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest

from cli import main
from tests.drawn_faces import draw, random_face, save
from tests.experiment import ROOT, run

CELEBA = [96, 97, 54, 76, 82]  # eyes, tip of the nose, corners of the mouth among WFLW's 98
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.accelerator=cpu")
QUICK = ("--trainer.precision=32-true", "--data.init_args.num_workers=0", "--data.init_args.batch_size=2")


def section(title):
    """The lines of code in a section of README, and those of its YAML file, dedented."""
    text = (ROOT / "README.md").read_text().split(f"### {title}\n")[1].split("\n### ")[0]
    return [line[4:] for line in text.replace("\\\n", "").splitlines() if line.startswith("    ")]


def commands(lines):
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python cli.py ")]


def write_faces(header, split, count, seed):
    """Drawn faces in ``my_faces``, beside a table with README's columns."""
    rng = np.random.default_rng(seed)
    lines = [header]
    for index in range(count):
        face = random_face(rng, (60, 50), 25)
        save(draw([face], 120, 100), Path("my_faces", f"{split}_{index}.jpg"))
        lines.append(",".join([f"{split}_{index}.jpg", *(f"{v:.1f}" for v in face[CELEBA].ravel())]))
    Path("my_faces", f"{split}.csv").write_text("\n".join(lines) + "\n")


def write_my_faces(lines):
    header = next(line for line in lines if line.startswith("file,"))
    for seed, (split, count) in enumerate({"train": 20, "test": 3}.items()):
        write_faces(header, split, count, seed)


def test_the_example_of_own_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = section("Your own images")
    write_my_faces(lines)
    start = lines.index("# my_faces.yaml")
    Path("my_faces.yaml").write_text("\n".join(lines[start : start + 3]))
    fit, test, predict, pipnet, hrnet = commands(lines)
    assert [command[0] for command in (fit, test, predict, pipnet, hrnet)] == ["fit", "test", "predict", "fit", "fit"]
    model = run(*fit, *SHORT, *QUICK).model
    assert model.num_landmarks == 5
    assert run(*test, *QUICK).trainer.callback_metrics["test/nme"] > 0
    run(*predict, *QUICK)
    with next(Path("runs/mine/predictions").iterdir()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["test_0.jpg", "test_1.jpg", "test_2.jpg"]
    assert {"x4", "y4"} <= set(rows[0])
    assert "x5" not in rows[0]
    assert run(*pipnet, *SHORT, *QUICK).model.neighbours.shape == (5, 4)
    assert run(*hrnet, *SHORT, *QUICK).model.num_landmarks == 5


def test_the_example_of_own_images_without_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_my_faces(section("Your own images"))
    rng = np.random.default_rng(2)
    for index in range(3):
        save(draw([random_face(rng, (60, 50), 25)], 120, 100), Path(f"others/{index}.jpg"))
    lines = section("Your own images without labels")
    inspect, fit, test = commands(lines)
    assert [command[0] for command in (inspect, fit, test)] == ["inspect", "fit", "test"]
    config = "\n".join(lines[: lines.index("python cli.py inspect --config mine_stc.yaml")])
    Path("mine_stc.yaml").write_text(config.replace("size: 256", "size: 128"))  # a quarter of the time
    with pytest.raises(SystemExit) as end:
        main(inspect)
    assert end.value.code == 0  # no check failed
    batches = "--data.init_args.labelled.init_args.batch_size=2"
    short = ("--trainer.max_epochs=6", "--trainer.limit_train_batches=1", "--trainer.accelerator=cpu")
    assert run(*fit, *short, batches).model.tasks == (128, 64, 32, 32, 32)
    labels = sorted(path.name for path in Path("runs/mine_stc/pseudo_labels").iterdir())
    assert labels == [f"round_{number}.npz" for number in range(1, 6)]
    assert np.load("runs/mine_stc/pseudo_labels/round_5.npz")["landmarks"].shape == (3, 5, 2)
    assert run(*test).trainer.callback_metrics["test/nme"] > 0
