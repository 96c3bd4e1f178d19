"""Faces over time: who is who, who is lost, and how little a detector is needed."""

import numpy as np
import pytest
import torch

from datamodules.box_margins import margins, mean_face, widened
from datamodules.crop import BOX_CONVENTIONS
from lightning_modules.video.filters import MovingAverage
from lightning_modules.video.finding import REFINED
from lightning_modules.video.following import MISSED, PATIENCE, Follower
from tests.lightning_modules.video.squares import Corners, boxes, picture
from tests.lightning_modules.video.stubborn import Eye, Says, Stubborn, bright


@pytest.fixture
def follower():
    return Follower(Corners().eval(), BOX_CONVENTIONS["landmarks-1.2"], 64)


def at(x, y=40, side=40):
    return (x, y, x + side, y + side)


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


def stubborn(detector=None, smoothing=None, module=None):
    chosen = module or Stubborn()
    return Follower(chosen.eval(), BOX_CONVENTIONS["landmarks-1.2"], 64, smoothing, detector=detector)


def followed(follower, pictures, every=10):
    """The faces of each of these pictures, of which every n-th comes with detections."""
    return [follower(image, bright(image) if t % every == 0 else None) for t, image in enumerate(pictures)]


def identities(frames):
    return [[face.identity for face in faces] for faces in frames]


def test_a_face_that_has_left_is_looked_for_at_once():
    clip = [picture(at(50))] * 11 + [picture()] * 30
    assert identities(followed(stubborn(bright), clip)) == [[0]] * 22 + [[]] * 19  # looks at 20, 21 and 22
    assert identities(followed(stubborn(), clip)) == [[0]] * 40 + [[]]  # at 20, 30 and 40


def test_a_detector_is_asked_only_while_a_face_is_in_doubt():
    eye = Eye()
    follower = stubborn(eye)
    follower(picture(at(50)), boxes(at(50)))
    for _ in range(5):
        follower(picture(at(50)), None)
    assert eye.looks == 0
    follower(picture(at(50)), boxes())
    eye.faces = (at(50),)  # it blinked
    for _ in range(5):
        assert len(follower(picture(at(50)), None)) == 1
    assert eye.looks == 1


def test_looks_that_come_anyway_are_not_doubled():
    eye = Eye()
    follower = stubborn(eye)
    follower(picture(at(50)), boxes(at(50)))
    shown = [bool(follower(picture(), boxes())) for _ in range(MISSED)]
    assert shown == [True] * (MISSED - 1) + [False]
    assert eye.looks == 0


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


def looks_after(follower, frames):
    """In which of these many frames without a face the detector looks; counted from 1."""
    eye, found = follower.detector, []
    for number in range(1, frames + 1):
        before = eye.looks
        follower(picture(), None)
        found += [number] * (eye.looks - before)
    return found


def test_a_face_that_looks_have_given_up_is_looked_for_less_and_less():
    """Missed by the look before these frames and two of them; then 4, 8, 16 and 32 frames later, and never again."""
    follower = stubborn(Eye())
    follower(picture(at(50)), boxes(at(50)))
    follower(picture(), boxes())
    assert looks_after(follower, 500) == [1, 2, 6, 10, 18, 34]


def test_several_lost_at_once_are_looked_for_together():
    one, two = at(20), at(120)
    follower = stubborn(Eye())
    follower(picture(one, two), boxes(one, two))
    follower(picture(), boxes())
    assert looks_after(follower, 500) == [1, 2, 6, 10, 18, 34]


@pytest.mark.parametrize(("hidden", "back"), [(3, 106), (5, 106), (12, 118), (30, 134)])
def test_a_face_that_was_hidden_is_back_before_the_next_scheduled_look(hidden, back):
    """Every hundredth frame is such a look; the one that it is hidden from loses it two frames later."""
    clip = [picture(at(50))] * 100 + [picture()] * hidden + [picture(at(52))] * 80
    frames = identities(followed(stubborn(bright), clip, every=100))
    assert frames == [[0]] * 102 + [[]] * (back - 102) + [[0]] * (len(clip) - back)


def test_where_no_face_has_been_nobody_looks():
    assert looks_after(stubborn(Eye()), 200) == []


def test_a_face_twice_as_large_beside_a_missed_one_is_another():
    follower = stubborn(bright)
    follower(picture(at(20, 60, 30)), boxes(at(20, 60, 30)))
    large = at(45, 40, 70)
    assert [f.identity for f in follower(picture(large), boxes(large))] == [0, 1]


class Blinks(Corners):
    """Says a face three times as large, once, when it is told to."""

    blinks = False

    def track(self, frame, state):
        found = self(frame)
        if self.blinks:
            found.landmarks[:] = 3 * (found.landmarks - 31.5) + 31.5
        self.blinks = False
        return found, state


def test_a_face_lost_between_looks_is_looked_for_at_once():
    follower = stubborn(bright, module=Blinks())
    follower(picture(at(50)), boxes(at(50)))
    follower.module.blinks = True
    assert follower(picture(at(52)), None) == []
    assert identities([follower(picture(at(54)), None)]) == [[0]]
    waits = stubborn(None, module=Blinks())
    waits(picture(at(50)), boxes(at(50)))
    waits.module.blinks = True
    assert identities(waits(picture(at(52)), None) for _ in range(5)) == [[]] * 5


def test_a_face_that_stays_lost_is_not_looked_for_for_ever():
    eye = Eye()
    follower = stubborn(eye, module=Blinks())
    follower(picture(at(50)), boxes(at(50)))
    follower.module.blinks = True
    assert follower(picture(), None) == []
    assert looks_after(follower, 500) == [1, 2, 3, 5, 9, 17, 33]


def test_a_face_at_the_edge_of_the_picture_does_not_keep_the_detector_busy():
    """It is detected, but less than a third of it can be seen."""
    eye = Eye(at(190))
    follower = stubborn(eye, module=Says())
    follower(picture(), boxes(at(170)))
    for shift in range(200):
        follower(picture(), boxes(at(190)) if shift == 0 else None)
    assert eye.looks <= MISSED + 4


# Few landmarks in a large face


def around(face, by):
    return boxes(widened(np.array(face, float), np.array(by)))


def known_margins():
    mean = mean_face("celeba-5")
    return margins(mean.tight, mean.detected)


@pytest.mark.parametrize("markup", ["celeba-5", "mine", None])
@pytest.mark.parametrize("every", [1, 10])
def test_few_landmarks_are_followed(markup, every):
    """A face's detection is twice as large as the box of its five landmarks, and lies higher."""
    # Of a markup that is not known the network has to find the landmarks in the detection
    module = Stubborn(1.35 if markup == "celeba-5" else 3)
    module.markup = markup
    follower = stubborn(module=module)
    places = [at(60 + t, 50, 30) for t in range(45)]
    frames = [
        follower(picture(place), around(place, known_margins()) if t % every == 0 else None)
        for t, place in enumerate(places)
    ]
    assert identities(frames) == [[0]] * 45
    for (face,), place in zip(frames, places, strict=True):
        np.testing.assert_allclose(face.box, place, atol=1.0)


@pytest.mark.parametrize("markup", ["celeba-5", "mine"])
def test_few_landmarks_come_back_as_themselves(markup):
    module = Stubborn(3)
    module.markup = markup
    follower = stubborn(module=module)
    place = at(60, 50, 30)
    follower(picture(place), around(place, known_margins()))
    for _ in range(MISSED):
        follower(picture(), boxes())
    (face,) = follower(picture(at(85, 50, 30)), around(at(85, 50, 30), known_margins()))
    assert face.identity == 0


@pytest.mark.parametrize("markup", ["celeba-5", "mine"])
def test_few_landmarks_go_on_after_an_interruption(markup):
    """What is kept in tables has no detections."""
    module = Stubborn(3)
    module.markup = markup
    follower = stubborn(module=module)
    place = at(60, 50, 30)
    faces = follower(picture(place), around(place, known_margins()))
    follower.resume(faces, 1)
    follower(picture(place), None)
    for look in range(1, MISSED + 2):
        module.calls = 0
        faces = follower(picture(place), around(place, known_margins()))
        assert warm(faces) == {0: look}
        # Where its markup is not known, what a detection looks like is learned from the first one
        assert module.calls == (1 + REFINED if markup == "mine" and look == 1 else 1)


# Boxes that are given


def warm(faces):
    """Frames that each face has gone on for, by its identity."""
    return {face.identity: int(face.confidence[0]) for face in faces}


def test_given_faces_begin_cold_after_frames_without():
    follower = stubborn()
    for t in range(11):
        assert warm(follower.given(picture(at(50)), boxes(at(50)), [0])) == {0: t}
    assert follower.given(picture(at(50)), boxes(), []) == []
    assert warm(follower.given(picture(at(50)), boxes(at(50)), [0])) == {0: 0}


def test_given_boxes_without_names_are_of_the_faces_that_they_overlap():
    follower = stubborn()
    one, two = at(20), at(120)
    assert warm(follower.given(picture(one, two), boxes(one, two), None)) == {0: 0, 1: 0}
    one, two = at(28), at(112)
    faces = follower.given(picture(one, two), boxes(two, one), None)  # in another order
    assert [face.identity for face in faces] == [1, 0]
    np.testing.assert_allclose(faces[0].landmarks[0], (112, 40), atol=1.0)
    assert warm(faces) == {0: 1, 1: 1}
    assert warm(follower.given(picture(two), boxes(two), None)) == {1: 2}
    assert warm(follower.given(picture(one, two), boxes(one, two), None)) == {2: 0, 1: 3}
    assert follower.given(picture(), boxes(), None) == []
    assert warm(follower.given(picture(two), boxes(two), None)) == {3: 0}


def test_given_boxes_go_on_after_an_interruption():
    follower = stubborn(module=Stubborn(10))
    loose = boxes((-30, -10, 120, 140))  # of another size than the landmarks in them
    faces = follower.given(picture(at(20)), loose, None)
    follower.resume(faces, 1)
    assert warm(follower.given(picture(at(20)), loose, None)) == {0: 0}
    assert warm(follower.given(picture(at(20), at(130)), boxes(at(150), loose[0]), None)) == {1: 0, 0: 1}
