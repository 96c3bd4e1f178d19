import numpy as np
import pytest

from datamodules.face_generator.camera import ANCHOR, PIVOT, Shot, project, rotation, viewpoint
from tests.datamodules.face_generator.people import plain, turned

NOSE, LEFT = np.array([0.0, 0, -1]), np.array([-1.0, 0, 0])


@pytest.mark.parametrize(
    ("angles", "point", "expected"),
    [
        ({"yaw": 90}, NOSE, (1, 0, 0)),  # a face turned to the image's right
        ({"pitch": 90}, NOSE, (0, 1, 0)),  # looking down
        ({"roll": 90}, LEFT, (0, -1, 0)),  # clockwise: what was left comes up
        ({"yaw": 90, "roll": 90}, NOSE, (0, 1, 0)),  # yaw first, then roll
    ],
)
def test_rotation_by_hand(angles, point, expected):
    np.testing.assert_allclose(rotation(turned(**angles))[0] @ point, expected, atol=1e-12)


def test_projection_by_hand():
    camera = np.array([[100.0, 0.03, 0.5, 0.4]])
    points = np.stack([ANCHOR, ANCHOR + np.array([2, 1, 0]), ANCHOR + np.array([2, 1, 100])])
    # In the anchor's plane a cm is 0.03 canvas sides; twice as far from the camera it is half of that.
    expected = [(0.5, 0.4), (0.56, 0.43), (0.53, 0.415)]
    np.testing.assert_allclose(project(points[None], np.zeros((1, 3)), camera)[0], expected, atol=1e-12)


def test_one_face_is_projected_as_many_are():
    face = plain(angles=turned(30, -10, 20), camera=np.array([[60.0, 0.03, 0.52, 0.47]]))[0]
    points = np.random.default_rng(0).normal(0, 5, (50, 3))
    places, depth = Shot(face, 200).place(points)
    np.testing.assert_allclose(places, project(points[None], face.angles[None], face.camera[None])[0] * 200 - 0.5)
    aim = Shot(face, 200).place(ANCHOR[None])[1]
    np.testing.assert_allclose(aim, 60.0)
    turn = rotation(face.angles[None])[0]
    np.testing.assert_allclose(depth, 60 + ((points - ANCHOR) @ turn.T)[:, 2])


def test_points_on_a_line_of_sight_share_a_pixel():
    angles, camera = turned(40, 15, -5), np.array([[80.0, 0.03, 0.5, 0.5]])
    eye, point = viewpoint(angles, camera)[0], PIVOT + np.array([3, 1, -6])
    near = point + 0.3 * (eye - point)
    places = project(np.stack([point, near])[None], angles, camera)[0]
    np.testing.assert_allclose(places[0], places[1], atol=1e-12)
