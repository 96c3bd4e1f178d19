"""The table of all photographs: parts of several processes, joined whenever they were left."""

import csv

import numpy as np
import pytest

from callbacks.own_files.stills import StillsTable
from lightning_modules.video.following import Face


@pytest.fixture(params=["csv", "jsonl"])
def stills(request, tmp_path):
    return StillsTable(tmp_path, request.param, 2)


def write(table, *names, finished=True):
    table.open()
    for name in names:
        table.write(name, 0, 0.0, [Face(i, np.zeros(4), np.ones((2, 2)), np.ones(2)) for i in range(2)])
    table.close(finished)


def names(stills):
    return [name for name, _, lines in stills.whole.frames() if len(lines) == 2]


def files(stills):
    return sorted(path.name for path in stills.folder.iterdir())


def test_parts_become_one_table(stills):
    write(stills.part(0, 2), "a", "c")
    write(stills.part(1, 2), "b")
    stills.join(set())
    assert names(stills) == ["a", "c", "b"]
    assert files(stills) == [f"images.{stills.suffix}"]
    stills.join({"a", "b", "c"})
    assert names(stills) == ["a", "c", "b"]
    if stills.suffix == "csv":
        with stills.whole.path.open(newline="") as file:
            assert {len(row) for row in csv.reader(file)} == {13}


def test_parts_of_an_interruption_count_with_the_table_before(stills):
    write(stills.part(0, 1), "a", "b", "c", finished=False)  # of c not all faces may be there
    write(stills.part(0, 3), "d", "e", finished=False)
    write(stills.part(2, 3), "f")
    before = stills.found()
    assert before == {"a", "b"}
    stills.join({"a", "b", "c", "d", "e", "f"})
    assert files(stills) == [f"images.{stills.suffix}.partial"]
    assert {"a", "b", "d"} <= stills.found() <= {"a", "b", "d", "f"}
    write(stills.part(0, 2), *sorted({"c", "e", "f"} - stills.found()))
    stills.join(set())
    assert sorted(names(stills)) == ["a", "b", "c", "d", "e", "f"]
    assert files(stills) == [f"images.{stills.suffix}"]


def test_joining_that_was_interrupted_doubles_nothing(stills):
    write(stills.part(0, 1), "a", "b")
    write(stills.part(0, 2), "b", "a")
    write(stills.part(1, 2), "c")
    stills.join({"a", "b", "c"})
    assert sorted(names(stills)) == ["a", "b", "c"]
    assert files(stills) == [f"images.{stills.suffix}"]


def test_other_files_of_the_folder_are_left_alone(stills):
    other = stills.folder / f"images-of-mine.{stills.suffix}"
    other.write_text("mine")
    write(stills.part(1, 2), "a")
    stills.join({"a"})
    assert files(stills) == sorted([other.name, f"images.{stills.suffix}"])


def test_without_photographs_there_is_no_table(stills):
    stills.join(set())
    assert files(stills) == []
