"""How identity and expression move the points of the neutral head: fields, added up with a coefficient each."""

import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.surface import EYE, MOUTH, bell, ramp

IDENTITY = (
    "width", "length", "jaw_width", "cheeks", "chin_length", "chin_forward", "eye_spacing", "eye_size", "eye_tilt",
    "nose_length", "nose_width", "nose_forward", "bridge", "mouth_width", "upper_lip", "lower_lip", "mouth_height",
    "brow_height", "brow_thickness", "brow_tilt", "brow_arch", "flatness", "skew", "mouth_skew",
)  # fmt: skip
EXPRESSION = (
    "jaw_open", "smile_left", "smile_right", "frown", "pucker", "stretch", "snarl", "lips_part", "brow_inner",
    "brow_outer", "brow_furrow", "squint", "blink_left", "blink_right", "mouth_shift", "jaw_shift",
)  # fmt: skip
BROW_LINE = ((1.3, 2.45, 3.55, 4.55, 5.35), (-1.95, -2.25, -2.32, -2.08, -1.5))  # |x| and y along the middle of a brow
UPPER_LID = ((1.62, 2.25, 3.1, 3.92, 4.5), (0.16, -0.42, -0.62, -0.46, -0.08))
LOWER_LID = ((1.62, 2.3, 3.1, 3.9, 4.5), (0.16, 0.4, 0.47, 0.3, -0.08))


def deformations(points: Floats) -> tuple[Floats, Floats]:
    """How each coefficient moves points (P, 3) of the neutral head: (24, P, 3) identity, (16, P, 3) expression, in cm.

    An identity coefficient is in standard deviations. An expression coefficient is 1 at its full extent; 0 is neutral.
    """
    identity, expression = _identity(points), _expression(points)
    return np.stack([identity[name] for name in IDENTITY]), np.stack([expression[name] for name in EXPRESSION])


def _move(where: Floats, dx: Floats | float = 0.0, dy: Floats | float = 0.0, forward: Floats | float = 0.0) -> Floats:
    """Displacements (P, 3) in proportion to ``where`` (P,)."""
    return np.stack([dx * where, dy * where, -forward * where], axis=-1)


def _identity(points: Floats) -> dict[str, Floats]:
    x, y, z = points.T
    a, side = np.abs(x), np.tanh(x / 0.4)
    front = ramp(-z, -1.0, 4.0)  # the back of the head stays
    eye = bell(a - EYE[0], 2.0) * bell(y, 1.1) * front
    orbit = bell(a - EYE[0], 2.6) * bell(y + 0.7, 2.2) * front
    nose = ramp(y, -0.5, 4.2) * ramp(-y, -6.3, -5.0) * bell(x, 2.1) * front
    mouth = bell(x, 4.2) * bell(y - MOUTH, 2.2) * front
    corner = bell(a - 2.6, 1.5) * bell(y - MOUTH, 1.4) * front
    brow = bell(a - 3.0, 3.2) * bell(y + 2.0, 1.2) * front
    chin = ramp(y, 7.8, 11.2) * front
    return {
        "width": _move(np.ones_like(x), dx=0.045 * x),
        "length": _move(np.ones_like(x), dy=0.045 * y),
        "jaw_width": _move(front, dx=0.085 * x * bell(y - 9, 3.5)),
        "cheeks": _move(
            front, dx=0.05 * x * bell(y - 5, 3) * ramp(a, 2.5, 5), forward=0.2 * bell(a - 4, 2) * bell(y - 5.5, 2.2)
        ),
        "chin_length": _move(chin, dy=0.3),
        "chin_forward": _move(chin, forward=0.3),
        "eye_spacing": _move(orbit, dx=0.15 * side),
        "eye_size": _move(eye, dx=0.06 * (a - EYE[0]) * side, dy=0.16 * y),
        "eye_tilt": _move(eye, dy=-0.13 * (a - EYE[0]) / 1.45),
        "nose_length": _move(nose, dy=0.28),
        "nose_width": _move(front, dx=0.17 * side * bell(a - 1.3, 1.0) * bell(y - 4.3, 1.2)),
        "nose_forward": _move(nose, forward=0.28 * bell(x, 1.3)),
        "bridge": _move(front, forward=0.2 * bell(x, 1.0) * bell(y - 0.8, 1.8)),
        "mouth_width": _move(corner, dx=0.2 * side),
        "upper_lip": _move(front, dy=-0.1 * bell(x, 2.2) * bell(y - 6.2, 0.45)),
        "lower_lip": _move(front, dy=0.12 * bell(x, 2.0) * bell(y - 8.05, 0.5)),
        "mouth_height": _move(mouth, dy=0.2),
        "brow_height": _move(brow, dy=-0.17),
        "brow_thickness": _move(brow, dy=0.075 * np.tanh((y - np.interp(a, *BROW_LINE)) / 0.15)),
        "brow_tilt": _move(brow, dy=-0.14 * (a - 3) / 2),
        "brow_arch": _move(brow, dy=-0.14 * (bell(a - 3.6, 1.3) - 0.5)),
        "flatness": _move(front, forward=-0.3 * bell(x, 3.5) * bell(y - 3, 6)),
        "skew": _move(front, dx=0.16 * ramp(y, 1, 11)),
        "mouth_skew": _move(front, dy=0.05 * x * bell(y - MOUTH, 2.5)),
    }


def _expression(points: Floats) -> dict[str, Floats]:
    x, y, z = points.T
    a, side, depth = np.abs(x), np.tanh(x / 0.4), -z
    front = ramp(depth, -1.0, 4.0)
    left, right = front * (1 - side) / 2, front * (1 + side) / 2
    corner = bell(a - 2.6, 1.5) * bell(y - MOUTH, 1.4)
    upper, lower = bell(y - 6.6, 0.75) * (y < MOUTH), bell(y - 7.4, 0.95) * (y > MOUTH)
    forehead = bell(y + 1.9, 1.5) * (y < -0.8)
    jaw = _jaw_share(a, y, depth)
    fall, lid = _lid_travel(a, y)
    under_eye = bell(a - EYE[0], 2.0) * bell(y, 1.1) * (y > 0.1)
    smile = {
        "dx": side * 0.5 * corner,
        "dy": -0.6 * corner - 0.22 * bell(a - 4, 1.6) * bell(y - 3.6, 1.6) - 0.1 * under_eye,
        "forward": -0.3 * corner + 0.25 * bell(a - 3.9, 1.5) * bell(y - 3.9, 1.4),
    }
    inner = bell(a - 1.5, 1.2) * bell(y + 1.8, 1.2)
    return {
        "jaw_open": _move(front, dy=0.36 * jaw * np.maximum(depth - 1, 0), forward=-0.12 * jaw * (y - 2)),
        "smile_left": _move(left, **smile),
        "smile_right": _move(right, **smile),
        "frown": _move(front, dx=-0.1 * side * corner, dy=0.45 * corner - 0.12 * bell(x, 1.6) * lower),
        "pucker": _move(
            front,
            dx=-0.36 * x * bell(a, 3.2) * bell(y - MOUTH, 1.3),
            forward=0.55 * bell(x, 2.2) * bell(y - MOUTH, 1.2),
        ),
        "stretch": _move(front, dx=0.5 * side * corner, dy=0.22 * corner),
        "snarl": _move(front, dy=-0.42 * bell(x, 2.6) * upper - 0.2 * bell(a - 1.3, 1) * bell(y - 4.3, 1)),
        "lips_part": _move(front * np.clip(1 - (a / 2.5) ** 2, 0, 1), dy=0.45 * lower - 0.13 * upper),
        "brow_inner": _move(front * forehead, dy=-0.6 * bell(a - 1.6, 1.7)),
        "brow_outer": _move(front * forehead, dy=-0.55 * bell(a - 4.4, 2.0)),
        "brow_furrow": _move(front, dx=-0.28 * side * inner, dy=0.35 * inner * (y < -0.8)),
        "squint": _move(front, dy=-0.22 * under_eye + 0.16 * fall * lid),
        "blink_left": _move(left, dy=fall * lid),
        "blink_right": _move(right, dy=fall * lid),
        "mouth_shift": _move(front, dx=0.5 * bell(x, 4.2) * bell(y - MOUTH, 2.2)),
        "jaw_shift": _move(front, dx=0.6 * ramp(y, 5.5, 10)),
    }


def _jaw_share(a: Floats, y: Floats, depth: Floats) -> Floats:
    """How much each point follows the jaw, which turns about a joint below the ear: the lips part along an ellipse."""
    lens = np.sqrt(np.clip(1 - (a / 2.66) ** 2, 0, 1)) / 2
    below = 0.5 + lens + (0.5 - lens) * ramp(y, MOUTH, 9.6)
    above = (0.5 - lens) * ramp(y, 4.4, MOUTH)
    lips = np.where(y > MOUTH + 0.02, below, above) * ramp(depth, -0.5, 3.0)
    return np.where((a > 2.6) | (y > 8.5) | (y < 5.5), ramp(y, 4.2, 9.6), lips)


def _lid_travel(a: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How far the upper lid falls to close the eye at distance ``a`` from the midline, and the share a point takes."""
    upper, lower = np.interp(a, *UPPER_LID), np.interp(a, *LOWER_LID)
    above = np.exp(-np.maximum(upper - y, 0) / 0.4) * (y <= (upper + lower) / 2 + 1e-3)
    return lower - upper, np.where(above > 0, 0.92 * above, -0.08 * np.exp(-np.maximum(y - lower, 0) / 0.3))
