"""Faces of photographs, and boxes: of detections, of landmarks, of training."""

import numpy as np
import pytest

from datamodules.box_margins import margins, mean_face, widened
from datamodules.crop import BOX_CONVENTIONS
from lightning_modules.video.finding import MOST, REFINED, Finder
from lightning_modules.video.following import Follower
from tests.lightning_modules.video.squares import Corners, boxes, picture
from tests.lightning_modules.video.stubborn import Says, Stubborn

FACE = (60, 50, 100, 90)
LOOSE = (45, 40, 115, 105)


def follower(module, convention="landmarks-1.2"):
    return Follower(module.eval(), BOX_CONVENTIONS[convention], 64)


def in_image(box):
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


@pytest.mark.parametrize(
    "wild",
    [{"grown": 3.0}, {"moved": 0.8}, {"moved": 0.6}, {"grown": 0.45}, {"moved": float("nan")}],
    ids=["explodes", "leaves", "wanders", "vanishes", "not a number"],
)
@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("right", [1, REFINED], ids=["at once", "at last"])
def test_landmarks_that_make_no_face_are_those_of_the_detection(wild, right):
    """Found right in the first crops; then whatever is said leads elsewhere."""
    module = Says(right, **wild)
    module.markup = "wflw-98"
    (face,) = follower(module).alone(picture(FACE), boxes(FACE))
    assert np.isfinite(face.box).all()
    side = 40
    assert (np.abs(face.box - FACE) < 0.1 * side).all()


def test_landmarks_come_from_the_detection_where_the_last_are_wild():
    module = Says(right=0, grown=3.0)
    module.markup = "wflw-98"
    (face,) = follower(module).alone(picture(FACE), boxes(FACE))
    np.testing.assert_array_equal(face.box, FACE)
    np.testing.assert_allclose(face.landmarks.mean(axis=0), (80, 70), atol=0.5)
    assert np.ptp(face.landmarks[:, 0]) == pytest.approx(3 * 40, abs=0.5)  # of a crop of the detection itself


@pytest.mark.parametrize("right", [0, REFINED])
def test_few_landmarks_that_make_no_face_are_those_of_their_share_of_the_detection(right):
    detection = (40, 30, 120, 115)
    share = five_points_in(detection)
    module = Says(right, moved=1.2)
    module.markup = "celeba-5"
    nearby = picture((share + 4).round().astype(int))  # the first landmarks lead a little away
    (face,) = follower(module).alone(nearby, boxes(detection))
    np.testing.assert_allclose(face.box, share)
    if not right:
        settled = follower(module).finder.settled(nearby, boxes(detection))
        np.testing.assert_allclose(settled, share[None])
    size = (share[2:] - share[:2]).max()
    np.testing.assert_allclose(face.landmarks.mean(axis=0), (share[:2] + share[2:]) / 2 + [1.2 * size, 0], atol=0.5)


def test_two_detections_that_end_on_one_face_are_one_face():
    seen, halves = picture((60, 50, 99, 89)), boxes((52, 46, 92, 86), (70, 54, 110, 94))
    faces = follower(Corners()).alone(seen, halves)
    (face,) = faces
    assert face.identity == 0
    np.testing.assert_allclose(face.landmarks, in_image((60, 50, 99, 89)), atol=1.5)
    given = follower(Corners()).alone(seen, halves, refined=0)
    assert [each.identity for each in given] == [0, 1]  # whoever gives boxes means each of them


def test_of_three_the_third_is_numbered_after_the_first():
    seen = picture((20, 50, 59, 89), (140, 50, 179, 89))
    detected = boxes((12, 46, 52, 86), (30, 54, 70, 94), (140, 50, 179, 89))
    faces = follower(Corners()).alone(seen, detected)
    assert [face.identity for face in faces] == [0, 1]
    np.testing.assert_allclose(faces[1].landmarks, in_image((140, 50, 179, 89)), atol=1.0)


def test_a_face_that_is_no_face_of_a_photograph_leaves_the_others_alone():
    module = Says(right=0, grown=0.02)
    module.markup = "wflw-98"
    assert len(follower(module).alone(picture(FACE), boxes(FACE, (10, 10, 40, 40)))) == 2


def test_boxes_that_have_not_settled_are_cut_out_once_more():
    """Each pass halves what is wrong; the boxes that stay are not looked at again."""

    class Halfway(Corners):
        counts = ()

        def forward(self, image):
            self.counts = (*self.counts, len(image))
            found = super().forward(image)
            whole = (image.shape[-1] - 1) * np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
            return found._replace(landmarks=(found.landmarks + found.landmarks.new_tensor(whole)) / 2)

    near, far = (20, 50, 60, 90), (120, 50, 140, 70)
    module = Halfway()
    finder = Finder(module.eval(), BOX_CONVENTIONS["provided-1.0"], 64)
    settled = finder.settled(picture(near, far), boxes((18, 48, 62, 92), (95, 25, 165, 95)))
    assert module.counts[:REFINED] == (2,) * REFINED
    assert module.counts[REFINED] == 1
    assert len(module.counts) <= MOST
    np.testing.assert_allclose(settled[0], near, atol=2.0)
    np.testing.assert_allclose(settled[1], far, atol=5.0)


def five_points_in(detection):
    mean = mean_face("celeba-5")
    return widened(np.array(detection, float), margins(mean.detected, mean.tight))


def test_the_first_crop_of_few_landmarks_is_of_their_size():
    """A network that has seen crops of its own few landmarks finds nothing in one twice as large."""
    detection = (40, 30, 120, 115)
    face = five_points_in(detection)
    assert 1.7 < 85 / (face[2:] - face[:2]).max() < 2.2
    module = Stubborn()
    module.markup = "celeba-5"
    (found,) = follower(module).alone(picture(face.round().astype(int)), boxes(detection))
    np.testing.assert_allclose(module.sides, 1, atol=0.1)
    np.testing.assert_allclose(found.landmarks, in_image(face.round()), atol=1.0)


def test_crops_are_made_of_the_boxes_that_training_had():
    """A rectangle that a dataset brings, half a face larger at the top and a quarter at the sides."""
    module = Stubborn(scale=1.1)
    module.box_margins = [0.25, 0.5, 0.25, 0.0]
    convention = BOX_CONVENTIONS["provided-1.0"]
    finder = Finder(module.eval(), convention, 60)
    affines, _ = finder.crops(picture(FACE), finder.as_trained(boxes(FACE)))
    np.testing.assert_allclose(affines[0] @ (-0.5, -0.5, 1), (50, 30), atol=1e-9)
    np.testing.assert_allclose(affines[0] @ (59.5, 59.5, 1), (110, 90), atol=1e-9)
    large = Corners()
    large.box_margins = module.box_margins
    faces = follower(large, "provided-1.0")
    (alone,) = faces.alone(picture(FACE), boxes(LOOSE))
    np.testing.assert_allclose(alone.landmarks, in_image(FACE), atol=1.0)


@pytest.mark.parametrize(
    ("trained", "now", "kept"),
    [
        ("provided-1.2", "provided-1.3", True),  # the same rectangle, enlarged otherwise
        ("provided-1.2", "landmarks-1.2", False),  # another one
        ("landmarks-1.2", "landmarks-1.5", True),  # of some of the annotated landmarks
        ("landmarks-1.2", "provided-1.2", True),
        (None, "landmarks-1.2", True),
    ],
)
def test_another_box_is_without_the_margins_of_the_training_s(trained, now, kept):
    module = Corners()
    module.box_margins, module.trained_box = [0.25, 0.5, 0.25, 0.0], trained
    finder = Finder(module.eval(), BOX_CONVENTIONS[now], 60)
    affines, _ = finder.crops(picture(FACE), finder.as_trained(boxes(FACE)))
    box = widened(np.array(FACE, float), np.array(module.box_margins)) if kept else np.array(FACE, float)
    side = float(now.rpartition("-")[2]) * (box[2:] - box[:2]).max()
    middle = (box[:2] + box[2:]) / 2
    np.testing.assert_allclose(affines[0] @ (-0.5, -0.5, 1), middle - side / 2, atol=1e-9)
    np.testing.assert_allclose(affines[0] @ (59.5, 59.5, 1), middle + side / 2, atol=1e-9)


def test_followed_faces_are_cut_out_by_training_s_boxes_and_given_boxes_are_such():
    module = Stubborn(scale=10)
    module.box_margins = [0.1, 0.1, 0.1, 0.1]  # provided-1.0 is then the usual face
    tracked = follower(module, "provided-1.0")
    tracked(picture(FACE), boxes(FACE))
    module.sides.clear()
    for step in range(1, 5):
        tracked(picture((60 + step, 50, 100 + step, 90)), None)
    np.testing.assert_allclose(module.sides, 1, atol=0.05)
    module.sides.clear()
    tracked.given(picture(FACE), boxes(widened(np.array(FACE, float), np.full(4, 0.1))), [0])
    tracked.alone(picture(FACE), boxes(widened(np.array(FACE, float), np.full(4, 0.1))), refined=0)
    np.testing.assert_allclose(module.sides, 1, atol=0.05)
