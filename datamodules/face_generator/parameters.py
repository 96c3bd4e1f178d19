"""Everything a generated face depends on.

Parameters are arrays with one row a face, so a row is a face, and rows that change slowly are a video.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.deformation import EXPRESSION

Domain = Literal["photo", "infrared"]
SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
HAIRLINE, TEMPLES, LENGTH, PARTING, VOLUME, WAVES, FRINGE, DENSITY, CURLS = range(9)  # columns of a hairdo
OCCLUDERS = ("none", "sunglasses", "mask", "hand", "object", "strand", "scarf")


@dataclass(frozen=True)
class FaceParameters:
    """M faces (or one, without the leading axis). Lengths in cm, colours as sRGB from 0 to 1, angles in radians.

    Args:
        identity: (M, 24) standard deviations, named by `deformation.IDENTITY`.
        expression: (M, 16) 1 is full extent, named by `deformation.EXPRESSION`.
        gaze: (M, 2) how far the pupils are off the eyes' centres.
        angles: (M, 3) yaw to the image's right, pitch down, roll clockwise.
        camera: (M, 4) distance in cm, then scale (canvas sides a cm) and place x, y (canvas sides) of the head.
        skin, lips, brow, iris, hair, shadow, blush, clothes: (M, 3) colours.
        makeup: (M, 4) amounts from 0 to 1 of lipstick, eye shadow, blush, lid line.
        surface: (M, 5) amounts of beard, moustache, freckles, wrinkles, shine.
        hairdo: (M, 9) height of the hairline in cm, how far it recedes at the temples and long hair falls forward (0 to
            1), height down to which hair hangs in cm, parting (-1 to 1), volume (about 1), waves (0 to 1), fringe (0 to
            1), density (0 is bald), curls (0 to 1).
        glasses: (M,) wears clear glasses.
        light: (M, 3) unit vector to the lamp in the camera's frame.
        key, sky: (M, 3) strength of the lamp and of the light from everywhere.
        occluder: (M,) index into `OCCLUDERS`; ``place`` (M, 6) where it is and how large, and the shape of glasses;
            ``passage`` (M, 2) how far a hand or an object is moved from there in cm; ``cover`` (M, 3) its colour.
        blur: (M,) sigma in canvas sides; ``motion`` (M, 2) the camera's path in canvas sides.
        grain: (M,) noise of the sensor; ``contrast``, ``saturation`` (M,) 1 unchanged.
        scene: (M,) seed of background and clothes; ``exposure`` (M,) seed of the grain, another one for each frame.
        infrared: (M,) 0 a colour photograph, 1 a grey image lit from the camera.
        box: (M, 4) how loose the provided box is at each edge, 0 to 1.
    """

    identity: Floats
    expression: Floats
    gaze: Floats
    angles: Floats
    camera: Floats
    skin: Floats
    lips: Floats
    brow: Floats
    iris: Floats
    hair: Floats
    shadow: Floats
    blush: Floats
    clothes: Floats
    makeup: Floats
    surface: Floats
    hairdo: Floats
    glasses: NDArray[np.bool_]
    light: Floats
    key: Floats
    sky: Floats
    occluder: NDArray[np.int64]
    place: Floats
    passage: Floats
    cover: Floats
    blur: Floats
    motion: Floats
    grain: Floats
    contrast: Floats
    saturation: Floats
    scene: NDArray[np.int64]
    exposure: NDArray[np.int64]
    infrared: Floats
    box: Floats

    def __len__(self) -> int:
        return len(self.gaze)

    def __getitem__(self, rows: int | slice | NDArray[np.int64]) -> "FaceParameters":
        """Some of the faces; one without the leading axis for an int."""
        return FaceParameters(*(column[rows] for column in vars(self).values()))


def subsets(faces: FaceParameters) -> NDArray[np.bool_]:
    """Which of the six `SUBSETS` each face belongs to (M, 6); thresholds give about WFLW's shares."""
    yaw, pitch = np.abs(np.rad2deg(faces.angles[:, :2])).T
    strong = [EXPRESSION.index(n) for n in ("jaw_open", "snarl", "pucker", "frown", "mouth_shift", "brow_inner")]
    return np.stack([
        (yaw > 40) | (pitch > 24),
        faces.expression[:, strong].max(axis=1) > 0.68,
        faces.sky[:, 1] < 0.275,
        faces.makeup[:, 0] > 0.5,
        faces.occluder > 0,
        (faces.blur > 0.005) | (np.linalg.norm(faces.motion, axis=1) > 0.005),
    ], axis=1)  # fmt: skip
