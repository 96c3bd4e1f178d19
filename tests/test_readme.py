"""README's example of one's own images works as it is printed."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.drawn_faces import draw, random_face, save
from tests.experiment import ROOT, run

CELEBA = [96, 97, 54, 76, 82]  # eyes, tip of the nose, corners of the mouth among WFLW's 98
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.accelerator=cpu")
QUICK = ("--trainer.precision=32-true", "--data.init_args.num_workers=0", "--data.init_args.batch_size=2")


@pytest.fixture
def section():
    """The lines of code in section 'Your own images'."""
    text = (ROOT / "README.md").read_text().split("### Your own images\n")[1].split("\n### ")[0]
    return [line.strip() for line in text.replace("\\\n", "").splitlines() if line.startswith("    ")]


def write_faces(header, split, count):
    """Drawn faces in ``my_faces``, beside a table with README's columns."""
    rng = np.random.default_rng(0)
    lines = [header]
    for index in range(count):
        face = random_face(rng, (60, 50), 25)
        save(draw([face], 120, 100), Path("my_faces", f"{split}_{index}.jpg"))
        lines.append(",".join([f"{split}_{index}.jpg", *(f"{v:.1f}" for v in face[CELEBA].ravel())]))
    Path("my_faces", f"{split}.csv").write_text("\n".join(lines) + "\n")


def test_the_example_of_own_images(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = next(line for line in section if line.startswith("file,"))
    for split, count in (("train", 20), ("test", 3)):
        write_faces(header, split, count)
    start = section.index("# my_faces.yaml")
    Path("my_faces.yaml").write_text("\n".join(section[start : start + 3]))
    commands = [shlex.split(line, comments=True)[2:] for line in section if re.match(r"python cli\.py ", line)]
    assert [command[0] for command in commands] == ["fit", "test", "predict"]
    fit, test, predict = commands
    model = run(*fit, *SHORT, *QUICK).model
    assert model.num_landmarks == 5
    assert run(*test, *QUICK).trainer.callback_metrics["test/nme"] > 0
    run(*predict, *QUICK)
    with next(Path("runs/mine/predictions").iterdir()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["test_0.jpg", "test_1.jpg", "test_2.jpg"]
    assert {"x4", "y4"} <= set(rows[0])
    assert "x5" not in rows[0]
