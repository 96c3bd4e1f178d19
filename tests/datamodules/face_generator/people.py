"""Faces for the tests: a plain one, facing the camera, of which a test changes what it is about."""

from dataclasses import replace

import numpy as np

from datamodules.face_generator.deformation import EXPRESSION
from datamodules.face_generator.sampling import sample_parameters


def plain(count=1, **changes):
    """``count`` times the same average person: lips closed, sharp picture, even light, nothing in front."""
    one = sample_parameters((0, 0), np.zeros(count, np.int64), "photo")
    expression = np.zeros((count, len(EXPRESSION)))
    expression[:, EXPRESSION.index("lips_part")] = -1
    bare = {
        "identity": one.identity * 0,
        "expression": expression,
        "gaze": one.gaze * 0,
        "angles": one.angles * 0,
        "camera": np.tile([150.0, 0.0345, 0.5, 0.5], (count, 1)),
        "skin": np.tile([0.87, 0.69, 0.56], (count, 1)),
        "brow": np.tile([0.1, 0.07, 0.05], (count, 1)),
        "iris": np.tile([0.16, 0.09, 0.05], (count, 1)),
        "hair": np.tile([0.1, 0.08, 0.07], (count, 1)),
        "hairdo": np.tile([-7.0, 0.5, -2.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0], (count, 1)),  # bald
        "surface": one.surface * 0,
        "makeup": one.makeup * 0,
        "light": np.tile([0.0, -0.5, -np.sqrt(0.75)], (count, 1)),
        "key": np.ones((count, 3)),
        "sky": np.full((count, 3), 0.4),
        "occluder": one.occluder * 0,
        "glasses": one.glasses & False,
        "blur": one.blur * 0,
        "motion": one.motion * 0,
        "grain": one.grain * 0,
        "contrast": one.contrast * 0 + 1,
        "saturation": one.saturation * 0 + 1,
    }
    return replace(one, **(bare | changes))


def doing(count=1, **coefficients):
    """Expressions (count, 16) with closed lips, changed by name."""
    out = plain(count).expression
    for name, value in coefficients.items():
        out[:, EXPRESSION.index(name)] = value
    return out


def turned(yaw=0.0, pitch=0.0, roll=0.0):
    """Angles (M, 3) of angles in degrees, each a number or (M,)."""
    return np.deg2rad(np.stack(np.broadcast_arrays(np.atleast_1d(yaw), pitch, roll), axis=-1))
