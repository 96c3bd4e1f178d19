"""One face before its camera: where points in front of it are in the picture, and where light comes from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.parameters import FaceParameters
from datamodules.face_generator.shape import PIVOT, rotation, view

TORSO = np.array([0.3, 0.15, 0.25])  # share of the head's yaw, pitch and roll that the shoulders follow


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

    def place(self, points: Floats, torso: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """Pixels (P, 2) and distances (P,) of points (P, 3) in the head's frame; ``torso`` is the shoulders' share."""
        away = points - PIVOT
        turned = away @ self.turn.T
        if np.any(torso):
            turned += np.reshape(torso, (-1, 1)) * (away @ self.torso.T - turned)
        places, depth = view(turned[None], self.face.angles[None], self.face.camera[None])
        return places[0] * self.size - 0.5, depth[0]
