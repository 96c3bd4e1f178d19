from dataclasses import replace

import numpy as np
import pytest

from datamodules.crop import landmark_box
from datamodules.face_generator.deformation import EXPRESSION, IDENTITY
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.occluders import OCCLUDERS
from datamodules.face_generator.sampling import sample_parameters
from datamodules.markup import WFLW_98
from tests.datamodules.face_generator.people import doing, plain, turned

FLIP = list(WFLW_98.flip)
SKEWED = ("skew", "mouth_skew")


def points(faces):
    return landmarks(faces)[0]


def visible(faces):
    return landmarks(faces)[1]


@pytest.mark.parametrize("name", [None, *(n for n in IDENTITY if n not in SKEWED)])
def test_a_person_facing_the_camera_is_symmetric(name):
    identity = plain().identity
    if name:
        identity[:, IDENTITY.index(name)] = 2
    face = points(plain(identity=identity))[0]
    np.testing.assert_allclose(face[FLIP] * [-1, 1] + [1, 0], face, atol=1e-6)


def test_a_smile_on_the_left_mirrors_one_on_the_right():
    left, right = points(plain(expression=doing(smile_left=1)))[0], points(plain(expression=doing(smile_right=1)))[0]
    np.testing.assert_allclose(left[FLIP] * [-1, 1] + [1, 0], right, atol=1e-6)
    neutral = points(plain())[0]
    assert left[76, 1] < neutral[76, 1] - 0.01
    assert left[82, 1] == pytest.approx(neutral[82, 1], abs=0.002)


def test_expressions_do_what_they_are_called():
    neutral = points(plain())[0]
    inner_gap, lid_gap = neutral[94, 1] - neutral[90, 1], neutral[66, 1] - neutral[62, 1]
    opened = points(plain(expression=doing(jaw_open=1)))[0]
    assert opened[94, 1] - opened[90, 1] > 0.07
    assert inner_gap < 0.003
    shut = points(plain(expression=doing(blink_left=1)))[0]
    assert shut[66, 1] - shut[62, 1] < 0.15 * lid_gap
    assert shut[74, 1] - shut[70, 1] == pytest.approx(neutral[74, 1] - neutral[70, 1], rel=0.02)
    raised = points(plain(expression=doing(brow_inner=1, brow_outer=1)))[0]
    assert (raised[33:51, 1] < neutral[33:51, 1] - 0.005).all()


def test_landmarks_have_their_places():
    face = points(plain())[0]
    assert face[60, 0] < face[64, 0] < face[51, 0] < face[68, 0] < face[72, 0]  # eye corners from left to right
    assert face[35, 1] < face[62, 1] < face[96, 1] < face[66, 1] < face[57, 1] < face[79, 1] < face[85, 1] < face[16, 1]
    assert face[0, 0] == face[:, 0].min()
    assert np.linalg.norm(face[72] - face[60]) == pytest.approx(9.0 * 0.0345, rel=0.05)  # nine cm between the corners


def test_a_turned_head_hides_its_far_side():
    frontal, right = visible(plain())[0], visible(plain(angles=turned(55)))[0]
    assert frontal.all()
    far, near = [*range(20, 32), 45, 46], [*range(15), 33, 34, 60, 61]
    assert right[far].mean() < 0.2
    assert right[near].all()
    left = visible(plain(angles=turned(-55)))[0]
    np.testing.assert_array_equal(left, right[FLIP])


def test_the_far_jaw_lies_on_the_outline():
    face = points(plain(angles=turned(50)))[0]
    inner = [*range(33, 51), *range(60, 96)]
    for landmark in range(18, 31):
        level = np.abs(face[inner, 1] - face[landmark, 1]) < 0.01
        assert (face[inner][level, 0] <= face[landmark, 0] + 0.012).all()


def test_a_video_moves_smoothly():
    steps = 61
    yaw, opening = np.linspace(-60, 60, steps), np.linspace(0, 1, steps)
    places, seen = landmarks(plain(steps, angles=turned(yaw), expression=doing(steps, jaw_open=opening)))
    step = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    # Two degrees move a point 12 cm off the axis by 0.4 cm, of 0.0345 canvas sides each, and the jaw moves besides.
    assert 0.008 < step.max() < 0.025
    assert step[seen[1:] & seen[:-1]].max() < 0.017


def test_the_jaw_slides_over_the_outline_without_a_jump():
    """Of people who turn by a quarter of a degree at a time, laughing or shouting; nose and lips stand out beside."""
    people = sample_parameters((4, 0), np.arange(12), "photo")
    yaw = np.arange(-80, 80.1, 0.25)
    for row in range(len(people)):
        shouts = doing(len(yaw), jaw_open=1.1, snarl=0.6, stretch=0.7) if row % 2 else None
        one = people[np.full(len(yaw), row)]
        angles = np.concatenate([np.deg2rad(yaw)[:, None], one.angles[:, 1:]], axis=1)
        changed = replace(one, angles=angles, occluder=one.occluder * 0)
        changed = changed if shouts is None else replace(changed, expression=shouts)
        step = np.linalg.norm(np.diff(points(changed)[:, :33], axis=0), axis=-1)
        assert step.max() < 0.006  # canvas sides; the distance between the eyes is 0.3


def test_clear_glasses_hide_nothing_also_while_an_object_is_near():
    far = {"occluder": np.array([OCCLUDERS.index("object")]), "passage": np.array([[0.0, 60.0]])}
    assert visible(plain(glasses=np.array([True]), **far)).all()


def test_closed_eyes_hide_their_pupils():
    assert not visible(plain(expression=doing(blink_left=1)))[0, 96]
    assert visible(plain(expression=doing(blink_left=1)))[0, 97]


@pytest.mark.parametrize(
    ("name", "covered", "free"),
    [("sunglasses", [60, 64, 68, 72, 96, 97], [16, 54, 85]), ("mask", [16, 57, 79, 85], [60, 96, 35])],
)
def test_occluders_hide_what_is_under_them(name, covered, free):
    place = np.full((1, 6), 0.5)
    seen = visible(plain(occluder=np.array([OCCLUDERS.index(name)]), place=place))[0]
    assert not seen[covered].any()
    assert seen[free].all()


def test_a_fringe_hides_brows_and_long_hair_the_ears_end_of_the_jaw():
    hairdo = np.array([[-6.5, 1.0, 15.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]])
    seen = visible(plain(hairdo=hairdo))[0]
    assert seen[[34, 35, 36, 43, 44, 45]].mean() < 0.4  # strands end unevenly
    assert not seen[[0, 1, 31, 32]].any()
    assert seen[[16, 54, 96, 97]].all()


@pytest.mark.parametrize("domain", ["photo", "infrared"])
def test_random_faces_lie_within_their_pictures(domain):
    faces = sample_parameters((3, 0), np.arange(1500), domain)
    places = points(faces)
    assert np.isfinite(places).all()
    assert places.min() > 0.01
    assert places.max() < 0.99
    box = landmark_box(places)
    assert 0.35 < np.median((box[:, 2:] - box[:, :2]).max(axis=1)) < 0.6
    assert np.linalg.norm(places[:, 60] - places[:, 72], axis=1).min() > 0.02


def test_expression_names_are_in_the_order_of_their_fields():
    assert len(set(EXPRESSION)) == 16
    for name, moved in (("jaw_shift", 16), ("mouth_shift", 85)):
        face = points(plain(expression=doing(**{name: 1})))[0]
        assert face[moved, 0] > points(plain())[0][moved, 0] + 0.01
