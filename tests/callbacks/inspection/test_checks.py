"""The parts of an inspection: pictures are looked at once and not kept, and what each check counts."""

import tracemalloc

import numpy as np
import pytest

from callbacks.inspection.checks import Split, annotation_checks, count_checks
from callbacks.inspection.findings import FAILED, LOOK, Check, Finding
from callbacks.inspection.pictures import look_at
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import WFLW_98
from datamodules.wflw import WFLW
from tests.callbacks.inspection.inspecting import images
from tests.drawn_faces import write_csv


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_image_is_decoded_once_whatever_the_processes(num_workers, root):
    data = WFLW(root=root)
    dataset = data.dataset(data.load("train"))
    images(root, "train")[4].write_bytes(b"no image")
    steps = []
    pictures = look_at(dataset, num_workers, steps.append)
    assert steps[-1] == 12  # two faces each
    assert list(pictures.problem) == [8]
    assert np.flatnonzero(~pictures.readable).tolist() == [8, 9]
    assert set(zip(pictures.width[:8], pictures.height[:8], strict=True)) == {(170, 110)}
    assert (pictures.content[0::2] == pictures.content[1::2]).all()
    assert len(np.unique(pictures.content)) == 12


def test_memory_does_not_grow_with_the_images(tmp_path):
    data = CSVLandmarks(root=write_csv(tmp_path, train=40, test=1), markup="wflw-98")
    dataset = data.dataset(data.load("train"))
    large = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    dataset.read = lambda row: large + np.uint8(row)
    tracemalloc.start()
    look_at(dataset, 0, lambda done: None)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 6 * large.nbytes  # of 40 images


def test_faces_without_a_box_are_not_outside_of_it(root):
    faces = WFLW(root=root).load("train")
    faces.box[3] = np.nan
    faces.box[5] = (0, 0, 1, 1)
    named = {check.name: check.findings for check in annotation_checks(Split("train", faces, None), WFLW_98)}
    assert [finding.row for finding in named["faces mostly outside their box"]] == [5]
    assert named["faces partly outside their box"] == []


def test_a_check_knows_its_verdict():
    assert Check("faces", "train", 3, None).verdict == "ok"
    assert Check("faces", "train", 3, 3).verdict == "ok"
    assert Check("faces", "train", 2, 3).verdict == FAILED
    assert Check("some", "test", 1, 0, LOOK, [Finding("test", 0, "a", "b", "c")]).verdict == LOOK


COUNTS = {"train": {30: "one list", 20: "another"}, "test": {6: "as published"}}


@pytest.mark.parametrize(("train", "verdict", "expected"), [(25, "ok", 30), (15, "ok", 20), (16, FAILED, 30)])
def test_each_of_several_published_counts_is_right(train, verdict, expected):
    """The 5 validation faces are training faces too."""
    checks = {check.split: check for check in count_checks(COUNTS, {"train": train, "val": 5, "test": 6})}
    assert (checks["train"].found, checks["train"].expected, checks["train"].verdict) == (train + 5, expected, verdict)
    assert checks["val"].expected is None
    assert checks["test"].verdict == "ok"


def test_published_validation_faces_are_counted_by_themselves():
    counts = {"train": {20: "as published"}, "val": {5: "as published"}, "test": {}}
    checks = list(count_checks(counts, {"train": 20, "val": 4, "test": 6}))
    assert [check.verdict for check in checks] == ["ok", FAILED, "ok"]


def test_a_count_that_good_data_may_differ_in_is_to_be_looked_at():
    sizes = {"train": 25, "val": 5, "test": 7}
    checks = {check.split: check for check in count_checks(COUNTS, sizes, "videos", "some are gone")}
    assert {check.name for check in checks.values()} == {"videos"}
    assert [checks[split].verdict for split in sizes] == ["ok", "ok", LOOK]
    assert [[finding.text for finding in checks[split].findings] for split in sizes] == [[], [], ["some are gone"]]
