"""Faces over time: who is who."""

import numpy as np
import pytest
import torch

from datamodules.crop import BOX_CONVENTIONS
from lightning_modules.video.filters import MovingAverage
from lightning_modules.video.finding import REFINED
from lightning_modules.video.following import MISSED, PATIENCE, Follower
from tests.lightning_modules.video.squares import Corners, boxes, picture
from tests.lightning_modules.video.stubborn import (
    Says,
    Stubborn,
    at,
    bright,
    followed,
    identities,
    stubborn,
    usual_face,
)


@pytest.fixture
def follower():
    return Follower(Corners().eval(), BOX_CONVENTIONS["landmarks-1.2"], 64)


def test_a_face_is_followed_without_a_detector(follower):
    faces = follower(picture(at(20)), boxes((15, 38, 66, 85)))  # a loose box
    for step in range(1, 30):
        faces = follower(picture(at(20 + 3 * step)), None)
        (face,) = faces
        assert face.identity == 0
        expected = np.array([[20 + 3 * step, 40], [60 + 3 * step, 40], [60 + 3 * step, 80], [20 + 3 * step, 80]])
        np.testing.assert_allclose(face.landmarks, expected, atol=1.0)
    np.testing.assert_allclose(face.confidence, 0.5)


def test_a_detected_face_is_cut_out_again_by_its_landmarks(follower):
    (face,) = follower.alone(picture(at(50)), boxes((40, 30, 105, 95)))
    assert follower.module.calls == REFINED + 1
    np.testing.assert_allclose(face.box, (50, 40, 90, 80), atol=1.0)
    (rough,) = follower.alone(picture(at(50)), boxes((40, 30, 105, 95)), refined=0)
    np.testing.assert_array_equal(rough.box, (40, 30, 105, 95))
    assert follower.alone(picture(), boxes()) == []


def test_identities_stay_where_detections_change_their_order(follower):
    one, two = at(10, 10), at(120, 80)
    first = {f.identity: f.box for f in follower(picture(one, two), boxes(one, two))}
    again = {f.identity: f.box for f in follower(picture(one, two), boxes(two, one))}
    assert set(first) == set(again) == {0, 1}
    for name in first:
        np.testing.assert_allclose(again[name], first[name], atol=1.0)


def test_a_new_face_has_a_new_number(follower):
    one, two = at(10, 10), at(120, 80)
    follower(picture(one), boxes(one))
    assert [f.identity for f in follower(picture(one, two), None)] == [0]  # nobody has looked
    assert [f.identity for f in follower(picture(one, two), boxes(one, two))] == [0, 1]


class Drift(Corners):
    """Finds a face as large as the last one, 8 of 64 pixels to the right of it, whatever is shown."""

    def forward(self, image):
        found = super().forward(image)
        corners = 31.5 + 64 / 1.2 / 2 * torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
        return found._replace(landmarks=(corners + torch.tensor([8.0, 0])).expand_as(found.landmarks))


def test_a_face_that_leaves_the_picture_is_lost():
    follower = Follower(Drift().eval(), BOX_CONVENTIONS["landmarks-1.2"], 64)
    seen = [follower(picture(), boxes(at(20)) if step == 0 else None) for step in range(40)]
    there = [bool(faces) for faces in seen]
    assert there[:10] == [True] * 10
    assert there[-5:] == [False] * 5
    last = seen[there.index(False) - 1][0].box
    assert last[0] < 199.5 - 0.3 * (last[2] - last[0]) < last[2]  # 30 % of it were still in the picture


def test_a_face_that_shrinks_at_once_is_lost(follower):
    follower(picture(at(50)), boxes(at(50)))
    assert follower(picture((65, 55, 80, 70)), None) == []


def test_a_face_that_detections_miss_is_lost_and_back_as_itself(follower):
    follower(picture(at(50)), boxes(at(50)))
    for miss in range(1, MISSED + 1):
        assert bool(follower(picture(at(50)), boxes())) == (miss < MISSED)
    (face,) = follower(picture(at(56)), boxes(at(56)))
    assert face.identity == 0
    for _ in range(MISSED):
        follower(picture(at(56)), boxes())
    for _ in range(PATIENCE + 1):
        follower(picture(), None)
    assert [f.identity for f in follower(picture(at(56)), boxes(at(56)))] == [1]


def test_far_away_or_much_larger_it_is_another_face(follower):
    follower(picture(at(10, 10)), boxes(at(10, 10)))
    for _ in range(MISSED):
        follower(picture(), boxes())
    assert [f.identity for f in follower(picture(at(140, 100)), boxes(at(140, 100)))] == [1]
    large = (0, 0, 110, 110)
    assert [f.identity for f in follower(picture(large), boxes(large))][-1] == 2


def test_two_that_come_to_lie_on_one_face_are_one(follower):
    one, two = at(20), at(66)
    follower(picture(one, two), boxes(one, two))
    merged = [len(follower(picture((20 + step, 40, 66 + 40 - step, 80)), None)) for step in range(12)]
    assert merged[-1] == 1
    assert [f.identity for f in follower(picture(at(45)), None)] == [0]


def test_given_boxes_are_used_as_they_are(follower):
    faces = follower.given(picture(at(50)), boxes((45, 35, 95, 85)), [7])
    assert [f.identity for f in faces] == [7]
    np.testing.assert_array_equal(faces[0].box, (45, 35, 95, 85))
    assert follower.given(picture(at(50)), boxes(), []) == []
    faces = follower.given(picture(at(50), at(120)), boxes((115, 35, 165, 85), (45, 35, 95, 85)), [3, 7])
    assert [f.identity for f in faces] == [3, 7]
    np.testing.assert_allclose(faces[0].landmarks[0], (120, 40), atol=1.0)


def test_smoothing_is_of_each_face_and_the_crop_is_not_smoothed():
    still, moving = at(10, 10), at(100, 90)
    follower = Follower(Corners().eval(), BOX_CONVENTIONS["landmarks-1.2"], 64, MovingAverage(0.5))
    follower(picture(still, moving), boxes(still, moving))
    faces = follower(picture(still, at(104, 90)), None)
    np.testing.assert_allclose(faces[0].landmarks[0], (10, 10), atol=1.0)
    np.testing.assert_allclose(faces[1].landmarks[0], (102, 90), atol=1.0)
    np.testing.assert_allclose(faces[1].box[:2], (104, 90), atol=1.0)


def test_another_video_begins_anew_and_one_that_broke_off_goes_on(follower):
    faces = follower(picture(at(50)), boxes(at(50)))
    follower.restart()
    assert follower(picture(at(50)), None) == []
    follower.resume(faces, 4)
    assert [f.identity for f in follower(picture(at(52)), None)] == [0]
    assert [f.identity for f in follower(picture(at(52), at(130)), boxes(at(52), at(130)))] == [0, 4]


# A network says a face in every crop


@pytest.mark.parametrize("step", [12, 20, 30, 36])
def test_a_face_that_moves_fast_goes_on_at_its_detection(step):
    """By a third to nine tenths of its size, between two looks; what was kept of it is of another place."""
    clip = [picture(at(20))] * 10 + [picture(at(20 + step))] * 15
    follower = stubborn(bright, MovingAverage(0.5), Says())  # the network would stay where it is
    follower.module.track = Stubborn.track.__get__(follower.module)
    frames = followed(follower, clip)
    assert identities(frames) == [[0]] * 25
    close = step < 14  # they overlap by more than a half: for the network to see
    age = [int(faces[0].confidence[0]) for faces in frames]
    assert age == (list(range(25)) if close else [*range(10), *range(15)])
    if not close:
        np.testing.assert_allclose(frames[10][0].landmarks[0], (20 + step, 40), atol=1.0)


def test_two_that_jump_together_do_not_change_places():
    one, two = at(10, 20, 30), at(100, 90, 30)
    follower = stubborn(bright)
    follower(picture(one, two), boxes(one, two))
    one, two = at(35, 20, 30), at(125, 90, 30)
    faces = {f.identity: f.box for f in follower(picture(one, two), boxes(two, one))}
    np.testing.assert_allclose(faces[0], one, atol=1.0)
    np.testing.assert_allclose(faces[1], two, atol=1.0)


def test_after_a_cut_nothing_stays_where_the_face_was():
    clip = [picture(at(10, 10))] * 10 + [picture(at(140, 110))] * 15
    frames = identities(followed(stubborn(bright), clip))
    assert frames[9:13] == [[0], [0, 1], [0, 1], [1]]
    assert frames[13:] == [[1]] * 12


def test_landmarks_drawn_to_a_face_that_is_followed_begin_no_other():
    follower = stubborn(module=Corners())
    follower(picture(at(50)), boxes(at(50)))
    beside = at(75, 52)  # a detection of nothing, whose crop shows some of the face
    assert identities([follower(picture(at(50)), boxes(at(50), beside))]) == [[0]]
    new = picture(at(50), at(140, 100))
    assert identities([follower(new, boxes(at(50), at(140, 100)))]) == [[0, 1]]


class Usual(Stubborn):
    """Finds the usual face in every crop."""

    def forward(self, image):
        found = super().forward(image)
        return found._replace(landmarks=usual_face(image.shape[-1]).expand_as(found.landmarks))


@pytest.mark.parametrize("apart", [30, 25, 20, 15])
def test_faces_cheek_to_cheek_are_two(apart):
    """Their boxes, 40 wide, overlap by up to 0.45 of their union."""
    one, two = at(50), at(50 + apart)
    follower = stubborn(module=Usual())
    assert identities([follower(picture(one), boxes(one))]) == [[0]]
    assert identities(follower(picture(one, two), boxes(one, two)) for _ in range(3)) == [[0, 1]] * 3
