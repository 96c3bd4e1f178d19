"""Faces over time where boxes are given, or lie otherwise about a face than its few landmarks."""

import numpy as np
import pytest

from datamodules.box_margins import margins, mean_face, widened
from lightning_modules.video.finding import REFINED
from lightning_modules.video.following import MISSED
from tests.lightning_modules.video.squares import boxes, picture
from tests.lightning_modules.video.stubborn import Stubborn, at, identities, stubborn

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
