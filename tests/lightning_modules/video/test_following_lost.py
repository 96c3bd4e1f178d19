"""Faces that are lost: when they are looked for, and how little a detector is needed."""

import pytest

from lightning_modules.video.following import MISSED
from tests.lightning_modules.video.squares import Corners, boxes, picture
from tests.lightning_modules.video.stubborn import Eye, Says, at, bright, followed, identities, stubborn


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
