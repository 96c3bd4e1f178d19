"""The camera before a head: how the head is turned, where its points are in the picture, and where light comes from.

Places in a picture are from 0 to 1 across the canvas, or pixels of a canvas of a given side.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.parameters import FaceParameters

PIVOT = np.array([0.0, 5.0, -1.0])  # the head turns about the top of the neck
ANCHOR = np.array([0.0, 4.3, -4.5])  # the place within the face that the camera is aimed at
TORSO = np.array([0.3, 0.15, 0.25])  # share of the head's yaw, pitch and roll that the shoulders follow


def rotation(angles: Floats) -> Floats:
    """Rotation matrices (M, 3, 3) of yaw, pitch and roll (M, 3) in radians, applied in this order.

    Positive yaw turns the face to the image's right, positive pitch down, positive roll clockwise as one sees it.
    """
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles).T, np.sin(angles).T
    one, zero = np.ones_like(cy), np.zeros_like(cy)
    yaw = np.array([[cy, zero, -sy], [zero, one, zero], [sy, zero, cy]])
    pitch = np.array([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    roll = np.array([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])
    return np.einsum("ijm,jkm,klm->mil", roll, pitch, yaw)


def project(points: Floats, angles: Floats, camera: Floats) -> Floats:
    """Perspective views (M, P, 2), from 0 to 1, of points (M, P, 3) of heads turned by ``angles`` (M, 3).

    ``camera`` (M, 4) is as in `FaceParameters`. A point at the camera's distance is shown at the camera's scale.
    """
    turn = rotation(angles)
    aimed = np.einsum("mij,mpj->mpi", turn, points - PIVOT) - (turn @ (ANCHOR - PIVOT))[:, None]
    distance, scale = camera[:, :1], camera[:, 1:2]
    depth = np.maximum(distance + aimed[..., 2], 1.0)
    return camera[:, None, 2:] + aimed[..., :2] * (distance * scale / depth)[..., None]


def viewpoint(angles: Floats, camera: Floats) -> Floats:
    """Where the camera is (M, 3), in the head's frame."""
    back = np.einsum("mji,j->mi", rotation(angles), np.array([0, 0, -1.0]))
    return ANCHOR + back * camera[:, :1]


@dataclass(frozen=True)
class Shot:
    """A face and the side in pixels of the picture taken of it."""

    face: FaceParameters
    size: int

    @cached_property
    def turn(self) -> Floats:
        """Rotation (3, 3) of the head."""
        return rotation(self.face.angles[None])[0]

    @cached_property
    def torso(self) -> Floats:
        """Rotation (3, 3) of the shoulders."""
        return rotation(self.face.angles[None] * TORSO)[0]

    @cached_property
    def light(self) -> Floats:
        """Unit vector (3,) to the lamp in the head's frame."""
        return self.face.light @ self.turn

    @cached_property
    def half(self) -> Floats:
        """Unit normal (3,) in the head's frame of a mirror that shows the lamp to the camera."""
        between = self.light - self.turn[2]
        return between / np.linalg.norm(between)

    @property
    def up(self) -> Floats:
        """Unit vector (3,) to the sky in the head's frame."""
        return -self.turn[1]

    @cached_property
    def _aim(self) -> Floats:
        """Where the camera is aimed (3,), seen from the pivot, with the camera's distance taken off."""
        return self.turn @ (ANCHOR - PIVOT) - [0, 0, self.face.camera[0]]

    def place(self, points: Floats, torso: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """Pixels (P, 2) and distances (P,) of points (P, 3) in the head's frame; ``torso`` is the shoulders' share.

        As `project`, for one face.
        """
        away = points - PIVOT
        turned = away @ self.turn.T
        if np.any(torso):
            turned += np.reshape(torso, (-1, 1)) * (away @ self.torso.T - turned)
        turned -= self._aim
        distance, scale, x, y = self.face.camera
        depth = np.maximum(turned[:, 2], 1.0)
        places = turned[:, :2] * (distance * scale * self.size / depth)[:, None]
        places += [x * self.size - 0.5, y * self.size - 0.5]
        return places, depth

    def beside(self, points: Floats) -> Floats:
        """Pixels (P, 2) of points (P, 2) in cm on a plane that rolls with the face but is not turned away."""
        cos, sin = np.cos(self.face.angles[2]), np.sin(self.face.angles[2])
        rolled = points @ np.array([[cos, sin], [-sin, cos]])
        return (self.face.camera[2:] + self.face.camera[1] * rolled) * self.size - 0.5
