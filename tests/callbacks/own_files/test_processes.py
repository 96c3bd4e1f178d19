"""``predict --data.path`` on two processes: each file once, also when continued, and by another number of them."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.drawn_videos import numbered, write_video
from tests.experiment import QUIET, output_of, run, start, write_experiment

WORDS = ("--name", "tiny", "--data.path", "mine", "--data.box", "image", "--data.out", "found", *QUIET)
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")
FILES = {"a.mp4", "b.png", "c.mp4", "d.png", "e.png", "f.png", "g.png"}  # every second one is of the second process


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A run, and seven files, of which two are videos."""
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=1)
    run("fit", "--config", "tiny.yaml")
    for number, name in enumerate(sorted(FILES)):
        path = tmp_path / "mine" / name
        if name.endswith("mp4"):
            write_video(path, numbered(12))
        else:
            Image.fromarray(np.roll(numbered(1)[0], 9 * number, axis=1)).save(path)
    return tmp_path / "found"


def on_two(*words):
    process = start("predict", *WORDS, *TWO, *words, OMP_NUM_THREADS="1", PYTHONPATH=str(Path.cwd()))
    output = output_of(process)
    assert process.returncode == 0, output
    return output


def rows(folder):
    """The landmarks by file and frame, of tables in which each is once; sorted, as processes end in any order."""
    assert {path.name for path in folder.iterdir() if path.suffix != ".jpg"} - {"about.json"} == {
        "a.mp4.csv", "a.mp4_overlay.mp4", "c.mp4.csv", "c.mp4_overlay.mp4", "images.csv",
    }  # fmt: skip
    found = {}
    for path in folder.glob("*.csv"):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                key = row["file"], int(row["frame"])
                assert key not in found
                found[key] = [float(row[f"x{i}"]) for i in range(98)]
    return found


def same(found, expected):
    """Rows of the same faces with the same places."""
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, abs=2e-3)


def interrupt(folder):
    """Leave what two processes leave that were killed: of the stills b and d are whole in one table, e in another."""
    lines = (folder / "images.csv").read_bytes().splitlines(keepends=True)
    line = {each.split(b",")[0].decode(): each for each in lines}
    (folder / "images.csv").unlink()
    (folder / "images-1.csv").write_bytes(line["file"] + line["b.png"] + line["d.png"])
    (folder / "images-0.csv.partial").write_bytes(line["file"] + line["e.png"] + line["g.png"][:-20])
    video = folder / "c.mp4.csv"
    content = video.read_bytes()
    video.unlink()
    video.with_name("c.mp4.csv.partial").write_bytes(content[: len(content) // 2])


def test_two_processes_share_files_out_and_continue(files):
    output = on_two()
    whole = rows(files)
    assert {name for name, _ in whole} == FILES
    assert len(whole) == 5 + 2 * 12
    assert "landmarks of 29 faces in 29 frames" in output

    interrupt(files)
    output = on_two()
    same(rows(files), whole)
    assert (
        int(re.search(r"(\d) of 7 files were predicted before", output)[1]) >= 2
    )  # a and b: the last of a part may lack faces
    untouched = (files / "images.csv").stat().st_mtime_ns
    run("predict", *WORDS)
    assert (files / "images.csv").stat().st_mtime_ns == untouched

    interrupt(files)
    run("predict", *WORDS[:-2])
    same(rows(files), whole)
