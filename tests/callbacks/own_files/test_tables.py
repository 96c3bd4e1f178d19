"""Tables of landmarks: what is written is read again, and an interruption costs the last frame at most."""

import csv
import json

import numpy as np
import pytest

from callbacks.own_files import tables
from callbacks.own_files.tables import LandmarkTable
from lightning_modules.video.following import Face


def face(number, shift=0.0):
    points = np.array([[1.0, 2.0], [3.5, 4.25], [5.0, 0.125]]) + shift
    return Face(number, np.array([1.0, 0.0, 5.0, 4.5]), points, np.array([0.5, 0.25, 0.75]))


@pytest.fixture(params=["csv", "jsonl"])
def table(request, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FLUSHED", 1)
    return LandmarkTable(tmp_path / f"out/clip.{request.param}", 3)


def write(table, name="clip.mp4", frames=4, first=0):
    table.open()
    for frame in range(first, frames):
        table.write(name, frame, frame / 25, [face(0, frame), face(3)] if frame != 1 else [])


def test_frames_come_back_as_they_were_written(table):
    write(table)
    table.close(finished=True)
    found = dict(table.faces("clip.mp4"))
    assert list(found) == [0, 1, 2, 3]
    assert found[1] == []
    assert [each.identity for each in found[2]] == [0, 3]
    np.testing.assert_allclose(found[2][0].landmarks, face(0, 2).landmarks, atol=1e-3)
    np.testing.assert_allclose(found[2][1].box, [1, 0, 5, 4.5])
    assert found[2][0].confidence.mean() == pytest.approx(0.5)
    assert list(table.faces("other.mp4")) == []


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_what_broke_off_goes_on_with_its_last_frame(table, cut):
    write(table)
    table.close(finished=False)
    whole = table.partial.read_bytes()
    table.partial.write_bytes(whole[:-cut])
    count = table.begun().get("clip.mp4", 0)
    assert 1 <= count <= 3
    assert table.begun() == {"clip.mp4": count}  # asking takes nothing away
    assert table.partial.read_bytes() == whole[:-cut]
    assert [frame for frame, _ in table.faces("clip.mp4")] == list(range(count))
    write(table, first=count)
    table.close(finished=True)
    assert table.path.read_bytes() == whole
    assert not table.partial.exists()


def test_photographs_of_one_table_are_counted_each(table):
    table.open()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        table.write(name, 0, 0.0, [face(0)])
    table.close(finished=False)
    assert table.begun() == {"a.jpg": 1, "b.jpg": 1}


def test_a_table_ends_with_its_last_whole_frame(table):
    """Where the file that broke off cannot be read any more."""
    write(table)
    table.close(finished=False)
    table.close(finished=True)
    assert [frame for frame, _ in table.faces("clip.mp4")] == [0, 1, 2]
    assert not table.partial.exists()
    write(table, frames=6)  # a finished one that is begun again
    table.close(finished=True)
    assert [frame for frame, _ in table.faces("clip.mp4")] == list(range(6))


def test_a_name_may_have_a_comma(table):
    write(table, name='one, "two".mp4')
    table.close(finished=False)
    assert table.begun() == {'one, "two".mp4': 3}


def test_a_finished_table_is_opened_again_for_new_files(table):
    write(table)
    table.close(finished=True)
    table.reopen({"clip.mp4"})
    assert table.path.is_file()
    table.reopen({"clip.mp4", "new.jpg"})
    assert not table.path.is_file()
    assert table.begun() == {"clip.mp4": 3}


def test_columns_are_named(tmp_path):
    table = LandmarkTable(tmp_path / "a.csv", 3)
    write(table, frames=2)
    table.close(finished=True)
    with table.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] | {"seconds": "", "x0": ""} == {
        "file": "clip.mp4", "frame": "0", "seconds": "", "face": "0", "left": "1.000", "top": "0.000", "right": "5.000",
        "bottom": "4.500", "confidence": "0.500", "x0": "", "y0": "2.000", "x1": "3.500", "y1": "4.250", "x2": "5.000",
        "y2": "0.125",
    }  # fmt: skip
    assert (rows[2]["frame"], rows[2]["face"]) == ("1", "")
    lines = LandmarkTable(tmp_path / "a.jsonl", 3)
    write(lines, frames=2)
    lines.close(finished=True)
    row = json.loads(lines.path.read_text().splitlines()[0])
    assert row["confidence"] == [0.5, 0.25, 0.75]
    assert row["landmarks"][1] == [3.5, 4.25]
