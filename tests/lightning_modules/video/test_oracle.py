"""The oracle looks again: faces that come late, leave, or are others after a cut. A face is a bright square."""

import numpy as np
import pytest
import torch

from datamodules.crop import box_convention
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.oracle import Oracle
from tests.lightning_modules.video.squares import Corners, boxes, picture

HERE, THERE, LARGE = (20, 30, 60, 70), (140, 90, 180, 130), (120, 20, 196, 96)


@pytest.fixture
def oracle():
    """Of two members that say the same."""
    return Oracle(Ensemble([Corners(), Corners()]), box_convention("landmarks-1.2"), 64)


def shown(oracle, faces, every=1, detections=None):
    """Show frames with these faces (None is none); every n-th comes with them, or with ``detections``, as boxes."""
    for number, face in enumerate(faces):
        found = [face] if face else []
        if detections and number in detections:
            found = detections[number]
        with torch.inference_mode():
            oracle(picture(*([face] if face else [])), boxes(*found) if number % every == 0 else None)
    return oracle.frames


def missing(frames):
    return [number for number, frame in enumerate(frames) if frame is None]


def assert_at(frame, face):
    np.testing.assert_allclose([*frame.landmarks.min(axis=0), *frame.landmarks.max(axis=0)], face, atol=1)


def test_frames_before_the_first_detection_have_no_face(oracle):
    frames = shown(oracle, [None] * 10 + [HERE] * 5, every=5)
    assert missing(frames) == list(range(10))
    assert_at(frames[10], HERE)


def test_a_face_that_is_another_after_a_cut_is_begun_again(oracle):
    frames = shown(oracle, [HERE] * 10 + [THERE] * 10, every=5)
    assert not missing(frames)
    for number in (0, 9):
        assert_at(frames[number], HERE)
    for number in (10, 19):
        assert_at(frames[number], THERE)


@pytest.mark.parametrize("order", [1, -1])
def test_it_is_begun_again_from_the_detection_nearest_in_place_and_size(oracle, order):
    near, far, other_size = (80, 30, 120, 70), THERE, (70, 90, 82, 102)
    frames = shown(oracle, [HERE, near], detections={1: [far, other_size, near][::order]})
    assert_at(frames[1], near)


def test_a_detection_that_overlaps_changes_nothing(oracle):
    """The box stays that of the landmarks, though another detection is surer."""
    frames = shown(oracle, [HERE, HERE], detections={1: [THERE, (25, 35, 65, 75)]})
    assert_at(frames[1], HERE)
    np.testing.assert_allclose(frames[1].box, frames[0].box, atol=1)


def test_a_face_that_leaves_is_lost_after_three_looks_from_the_first_on(oracle):
    """What was found since the first look that missed it is of no face."""
    frames = shown(oracle, [HERE] * 8 + [None] * 8, every=2)
    assert missing(frames) == list(range(8, 16))
    oracle.restart()
    frames = shown(oracle, [HERE] * 8 + [None] * 8 + [THERE] * 4, every=2)
    assert missing(frames) == list(range(8, 16))
    assert_at(frames[16], THERE)


def test_looks_that_miss_a_face_twice_do_not_lose_it(oracle):
    frames = shown(oracle, [HERE] * 12, detections={3: [], 4: [], 8: [], 9: []})
    assert not missing(frames)
    assert_at(frames[11], HERE)


def test_a_video_begins_without_what_was_before(oracle):
    shown(oracle, [HERE] * 3, detections={2: []})
    oracle.restart()
    assert missing(shown(oracle, [None] * 2 + [LARGE] * 3)) == [0, 1]
    assert_at(oracle.frames[4], LARGE)


def test_landmarks_that_make_no_face_are_none(oracle, monkeypatch):
    """Of a network that diverged, and all in one place."""
    for value in (float("nan"), 7.0):
        monkeypatch.setattr(Oracle, "_opinion", lambda *_, value=value: (np.full((4, 2), value), 0.0))
        assert missing(shown(oracle, [HERE] * 2)) == [0, 1]
        oracle.restart()
