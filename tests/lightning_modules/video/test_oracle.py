"""The oracle looks again: faces that come late, leave, or are others after a cut. A face is a bright square."""

import numpy as np
import pytest
import torch

from datamodules.box_margins import margins, mean_face, widened
from datamodules.crop import box_convention
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.oracle import Oracle
from tests.lightning_modules.video.squares import Corners, boxes, picture
from tests.lightning_modules.video.stubborn import Stubborn

HERE, THERE, LARGE = (20, 30, 60, 70), (140, 90, 180, 130), (120, 20, 196, 96)


@pytest.fixture
def oracle():
    """Of two members that say the same."""
    return Oracle(Ensemble([Corners(), Corners()]), box_convention("landmarks-1.2"), 64)


def shown(oracle, faces, every=1, detections=None, given=False):
    """Show frames with these faces (None is none); every n-th comes with them, or with ``detections``, as boxes."""
    for number, face in enumerate(faces):
        found = [face] if face else []
        if detections and number in detections:
            found = detections[number]
        with torch.inference_mode():
            oracle(picture(*([face] if face else [])), boxes(*found) if number % every == 0 else None, given)
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


# Boxes are those that the members know: crops that are cut otherwise show a `Stubborn` member nothing


def stubborn(markup=None, learned=None, scale=1.2, box="landmarks-1.2"):
    members = [Stubborn(scale), Stubborn(scale)]
    for member in members:
        member.markup, member.box_margins = markup, learned
    return Oracle(Ensemble(members), box_convention(box), 64)


WAY = [(60 + 2 * t, 50, 90 + 2 * t, 80) for t in range(12)]


def sides(oracle):
    return np.array(oracle.ensemble.members[0].sides)


@pytest.mark.parametrize("given", [False, True])
def test_crops_are_made_of_boxes_like_the_training_s(given):
    """Rectangles that lie a fifth of the face's side out at each edge; given boxes are such, detections are tight."""
    learned = np.full(4, 0.2)
    oracle = stubborn(learned=learned.tolist(), scale=1.5, box="provided-1.0")  # crops of 1.4 sides, as usual about
    looks = {t: [widened(np.array(face, float), learned) if given else face] for t, face in enumerate(WAY)}
    frames = shown(oracle, WAY, every=3, detections=looks, given=given)
    assert not missing(frames)
    for frame, face in zip(frames, WAY, strict=True):
        assert_at(frame, face)
        np.testing.assert_allclose(frame.box, widened(np.array(face, float), learned), atol=1)
    np.testing.assert_allclose(sides(oracle)[-6:], 1.2 / 1.4, atol=0.05)


def test_few_landmarks_are_found_in_their_share_of_the_detection():
    """Which is twice as large, so that their boxes alone would never be the detection's."""
    mean = mean_face("celeba-5")
    by = margins(mean.tight, mean.detected)
    looks = {t: [widened(np.array(face, float), by)] for t, face in enumerate(WAY)}
    oracle = stubborn("celeba-5", scale=1.35)
    frames = shown(oracle, WAY, detections=looks)
    assert not missing(frames)
    for frame, face in zip(frames, WAY, strict=True):
        assert_at(frame, face)
    np.testing.assert_allclose(sides(oracle), 1, atol=0.12)
    assert len(sides(oracle)) < 3 * len(WAY) + 8  # begun once


def test_whole_images_are_one_face_each():
    oracle = Oracle(Ensemble([Corners(), Corners()]), box_convention("image"), 64)
    frames = shown(oracle, WAY, detections={t: [(-0.5, -0.5, 199.5, 159.5)] for t in range(12)}, given=True)
    for frame, face in zip(frames, WAY, strict=True):
        np.testing.assert_allclose(frame.landmarks[[0, 2]].ravel(), face, atol=3.5)
        np.testing.assert_array_equal(frame.box, (-0.5, -0.5, 199.5, 159.5))


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_a_face_that_is_no_number_has_no_frame():
    class Diverged(Corners):
        def forward(self, image):
            found = super().forward(image)
            return found._replace(landmarks=found.landmarks * float("nan"))

    for given in (False, True):
        oracle = Oracle(Ensemble([Diverged(), Diverged()]), box_convention("landmarks-1.2"), 64)
        assert missing(shown(oracle, [HERE] * 2, given=given)) == [0, 1]
