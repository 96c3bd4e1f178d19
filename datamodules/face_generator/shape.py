"""A head in three dimensions: a neutral surface, how identity and expression deform it, and a camera that looks at it.

Centimetres in the head's frame: x to the image's right, y down, z away from the camera, so the nose points to -z.
The eyes lie at y = 0. The surface is written over a flat chart (s, y): ``s`` is the arc of an ellipse round the head at
height y, so a landmark that is given where a frontal photograph shows it has one place on the surface.
"""

from functools import cache

import numpy as np

from datamodules.crop import Floats
from datamodules.markup import WFLW_98

EYE = np.array([3.05, 0.0])  # centre of an eye, mirrored for the other one
MOUTH = 6.95  # height of the line between the lips

IDENTITY = (
    "width", "length", "jaw_width", "cheeks", "chin_length", "chin_forward", "eye_spacing", "eye_size", "eye_tilt",
    "nose_length", "nose_width", "nose_forward", "bridge", "mouth_width", "upper_lip", "lower_lip", "mouth_height",
    "brow_height", "brow_thickness", "brow_tilt", "brow_arch", "flatness", "skew", "mouth_skew",
)  # fmt: skip
EXPRESSION = (
    "jaw_open", "smile_left", "smile_right", "frown", "pucker", "stretch", "snarl", "lips_part", "brow_inner",
    "brow_outer", "brow_furrow", "squint", "blink_left", "blink_right", "mouth_shift", "jaw_shift",
)  # fmt: skip


def _profile(*knots: tuple[float, float]) -> Floats:
    """A smooth curve through (y, value) knots, tabulated every 0.05 cm from -13 to 13."""
    y, value = np.array(knots).T
    dense = np.interp(np.linspace(-14, 14, 561), y, value)
    kernel = np.exp(-(np.linspace(-1, 1, 41) ** 2) / 0.16)
    return np.convolve(dense, kernel / kernel.sum(), mode="same")[20:-20]


# Cross-section of the head at height y: half width, depth of its widest place, and how far forward its middle is.
_HALF_WIDTH = _profile(
    (-13, 0), (-12.6, 1.0), (-12.2, 3.0), (-11.4, 4.6), (-10, 5.9), (-8, 6.8), (-5.5, 7.4), (-3, 7.5), (0, 7.25), (2, 7.0), (4, 6.65),
    (6, 6.1), (7.5, 5.5), (9, 4.6), (10, 3.75), (10.7, 2.95), (11.2, 2.15), (11.5, 1.4), (11.75, 0.3), (13, 0.1),
)  # fmt: skip
_WIDEST = _profile((-13, -1), (0, -0.6), (4, 0.4), (6, 1.4), (7.5, 2.6), (9, 4.6), (10, 6.0), (11, 7.4), (11.6, 8.2), (13, 8.6))
_FRONT = _profile(
    (-13, -1), (-12.5, 1.2), (-12.0, 3.4), (-11, 5.6), (-9.5, 7.5), (-8, 8.5), (-6, 9.3), (-4, 9.7), (-2, 9.75), (-0.5, 9.2), (1, 8.9), (3, 9.0),
    (5, 9.5), (6.5, 9.85), (7.5, 9.8), (8.8, 9.4), (10, 9.7), (10.8, 9.6), (11.5, 8.9), (13, 8.6),
)  # fmt: skip
_NOSE = _profile((-3, 0), (-1.6, 0.12), (-0.6, 0.35), (0.6, 0.8), (2.2, 1.7), (3.2, 2.45), (3.95, 2.85), (4.45, 2.2), (4.95, 0.75), (5.4, 0), (13, 0))
_NOSE_WIDTH = _profile((-13, 1.0), (-1, 0.95), (0.5, 0.75), (2.5, 0.9), (3.8, 1.12), (5, 1.2), (13, 1.2))


def _at(curve: Floats, y: Floats) -> Floats:
    return np.interp(y, np.linspace(-13, 13, len(curve)), curve)


def half_width(y: Floats) -> Floats:
    """Half the head's width (...) at heights y (...): what a frontal outline shows."""
    return _at(_HALF_WIDTH, y)


def _bell(d: Floats, width: float | Floats) -> Floats:
    return np.exp(-((d / width) ** 2))


def _ramp(v: Floats, start: float, stop: float) -> Floats:
    t = np.clip((v - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def surface(s: Floats, y: Floats) -> Floats:
    """Points (..., 3) of the neutral head at places (...) of the chart."""
    width = half_width(y)
    angle = s / np.maximum(width, 0.05)
    x, a = width * np.sin(angle), np.abs(width * np.sin(angle))
    cosine = np.cos(angle)
    middle = _at(_WIDEST, y)
    depth = np.where(cosine > 0, (_at(_FRONT, y) - middle) * np.abs(cosine) ** 0.82, 8.5 * cosine)
    forward = middle + depth + np.where(cosine > 0, _relief(x, a, y), 0.0)
    return np.stack([x, y + 0 * x, -forward], axis=-1)


def _relief(x: Floats, a: Floats, y: Floats) -> Floats:
    """Nose, eye sockets, cheekbones, lips and chin: what stands forward of a smooth ellipse, in cm."""
    nose = _at(_NOSE, y) * np.exp(-(np.abs(x / _at(_NOSE_WIDTH, y)) ** 2.0))
    wings = 0.95 * _bell(a - 1.35, 0.55) * _bell(y - 4.2, 0.72)
    sockets = -0.85 * _bell(a - 2.75, 1.75) * _bell(y - 0.15, 1.15) - 0.25 * _bell(a - 1.5, 0.6) * _bell(y + 0.1, 0.9)
    lids = 0.5 * _bell(a - EYE[0], 1.35) * _bell(y - 0.05, 0.85)
    brow = 0.28 * _bell(a - 2.7, 2.0) * _bell(y + 1.75, 0.75)
    cheekbone = 0.35 * _bell(a - 4.5, 1.9) * _bell(y - 2.7, 1.7)
    hollow = -0.3 * _bell(a - 4.6, 1.7) * _bell(y - 6.3, 1.9)
    fold = -0.10 * _bell(a - 1.95 - 0.38 * (y - 4.6), 0.3) * _ramp(y, 4.0, 5.0) * _ramp(-y, -8.0, -6.6)
    across = np.clip(1 - (a / 2.9) ** 2, 0, 1)
    lips = _bell(a, 1.9) * (0.55 * _bell(y - 6.45, 0.5) + 0.62 * _bell(y - 7.6, 0.55))
    slit = -0.32 * np.sqrt(across) * _bell(y - MOUTH, 0.2)
    philtrum = _bell(y - 5.7, 0.55) * (-0.09 * _bell(x, 0.3) + 0.07 * _bell(a - 0.5, 0.25))
    chin = 0.4 * _bell(x, 1.7) * _bell(y - 10.3, 0.9) - 0.28 * _bell(x, 2.0) * _bell(y - 8.75, 0.5)
    return nose + wings + sockets + lids + brow + cheekbone + hollow + fold + lips + slit + philtrum + chin


def chart(points: Floats) -> Floats:
    """Places (..., 2) in the chart of points (..., 2) of a frontal view."""
    x, y = points[..., 0], points[..., 1]
    width = half_width(y)
    return np.stack([width * np.arcsin(np.clip(x / width, -1, 1)), y], axis=-1)


@cache
def landmark_chart() -> Floats:
    """Places (98, 2) of the WFLW landmarks in the chart, without expression and with lips slightly apart."""
    frontal = np.full((98, 2), np.nan)
    y = np.linspace(-0.9, 11.62, 400)
    outline = np.stack([-half_width(y), y], axis=1)
    outline[-1, 0] = 0
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 17)
    frontal[:17] = np.stack([np.interp(at, length, outline[:, i]) for i in (0, 1)], axis=1)
    frontal[33:42] = [
        (-5.35, -1.45), (-4.55, -2.28), (-3.55, -2.62), (-2.45, -2.55), (-1.35, -2.25),
        (-1.3, -1.66), (-2.4, -1.95), (-3.5, -2.05), (-4.5, -1.9),
    ]  # fmt: skip
    frontal[51:55] = [(0, -0.1), (0, 1.2), (0, 2.5), (0, 3.75)]
    frontal[55:58] = [(-1.42, 4.72), (-0.75, 4.98), (0, 5.12)]
    frontal[60:68] = [
        (-4.5, -0.08), (-3.92, -0.46), (-3.1, -0.62), (-2.25, -0.42), (-1.62, 0.16),
        (-2.3, 0.4), (-3.1, 0.47), (-3.9, 0.3),
    ]  # fmt: skip
    frontal[76:80] = [(-2.62, 7.0), (-1.6, 6.5), (-0.55, 6.13), (0, 6.26)]
    frontal[85:88] = [(0, 8.12), (-0.95, 8.0), (-1.85, 7.6)]
    frontal[88:91] = [(-2.36, 7.0), (-1.1, 6.87), (0, 6.85)]
    frontal[94:96] = [(0, 7.1), (-1.1, 7.07)]
    frontal[96] = (-EYE[0], EYE[1])
    mirrored = frontal[list(WFLW_98.flip)] * (-1, 1)
    frontal = np.where(np.isnan(frontal), mirrored, frontal)
    places = chart(frontal)
    side = 0.985 * np.pi / 2 * half_width(frontal[:33, 1])  # the outline's points face sideways
    places[:33, 0] = np.sign(frontal[:33, 0]) * np.where(np.abs(frontal[:33, 0]) > 0.05, side, 0)
    return places


def deformations(points: Floats) -> tuple[Floats, Floats]:
    """How each coefficient moves points (P, 3) of the neutral head: (24, P, 3) identity, (16, P, 3) expression, in cm.

    An identity coefficient is in standard deviations. An expression coefficient is 1 at its full extent; 0 is neutral.
    """
    x, y, z = points.T
    a, side, forward = np.abs(x), np.tanh(x / 0.4), -z
    left, right = (1 - side) / 2, (1 + side) / 2
    zero = np.zeros_like(x)
    front = _ramp(forward, -1.0, 4.0)

    def move(dx: Floats = zero, dy: Floats = zero, forward: Floats = zero) -> Floats:
        return np.stack([dx, dy, -forward], axis=-1) * front[:, None]

    eye = _bell(a - EYE[0], 2.0) * _bell(y, 1.1)
    orbit = _bell(a - EYE[0], 2.6) * _bell(y + 0.7, 2.2)
    nose = _ramp(y, -0.5, 4.2) * _ramp(-y, -6.3, -5.0) * _bell(x, 2.1)
    mouth = _bell(x, 4.2) * _bell(y - MOUTH, 2.2)
    corner = _bell(a - 2.6, 1.5) * _bell(y - MOUTH, 1.4)
    brow = _bell(a - 3.0, 3.2) * _bell(y + 2.0, 1.2)
    brow_line = np.interp(a, [1.3, 2.45, 3.55, 4.55, 5.35], [-1.95, -2.25, -2.32, -2.08, -1.5])
    chin = _ramp(y, 7.8, 11.2)
    identity = np.stack([
        np.stack([0.045 * x, zero, zero], axis=-1),  # width
        np.stack([zero, 0.045 * y, zero], axis=-1),  # length
        move(dx=0.085 * x * _bell(y - 9, 3.5)),
        move(dx=0.05 * x * _bell(y - 5, 3) * _ramp(a, 2.5, 5), forward=0.2 * _bell(a - 4, 2) * _bell(y - 5.5, 2.2)),
        move(dy=0.3 * chin),
        move(forward=0.3 * chin),
        move(dx=0.15 * side * orbit),
        move(dx=0.06 * (a - EYE[0]) * side * eye, dy=0.16 * y * eye),
        move(dy=-0.13 * (a - EYE[0]) / 1.45 * eye),
        move(dy=0.28 * nose),
        move(dx=0.17 * side * _bell(a - 1.3, 1.0) * _bell(y - 4.3, 1.2)),
        move(forward=0.28 * nose * _bell(x, 1.3)),
        move(forward=0.2 * _bell(x, 1.0) * _bell(y - 0.8, 1.8)),
        move(dx=0.2 * side * corner),
        move(dy=-0.1 * _bell(x, 2.2) * _bell(y - 6.2, 0.45)),
        move(dy=0.12 * _bell(x, 2.0) * _bell(y - 8.05, 0.5)),
        move(dy=0.2 * mouth),
        move(dy=-0.17 * brow),
        move(dy=0.075 * np.tanh((y - brow_line) / 0.15) * brow),
        move(dy=-0.14 * (a - 3) / 2 * brow),
        move(dy=-0.14 * (_bell(a - 3.6, 1.3) - 0.5) * brow),
        move(forward=-0.3 * _bell(x, 3.5) * _bell(y - 3, 6)),
        move(dx=0.16 * _ramp(y, 1, 11)),
        move(dy=0.05 * x * _bell(y - MOUTH, 2.5)),
    ])  # fmt: skip

    # Opening the jaw turns the chin about the joint below the ear; the lips part along an ellipse.
    lens = np.sqrt(np.clip(1 - (a / 2.66) ** 2, 0, 1)) / 2
    below = 0.5 + lens + (0.5 - lens) * _ramp(y, MOUTH, 9.6)
    above = (0.5 - lens) * _ramp(y, 4.4, MOUTH)
    jaw = np.where(y > MOUTH + 0.02, below, above) * _ramp(forward, -0.5, 3.0)
    jaw = np.where((a > 2.6) | (y > 8.5) | (y < 5.5), _ramp(y, 4.2, 9.6), jaw)
    upper = _bell(y - 6.6, 0.75) * (y < MOUTH)
    lower = _bell(y - 7.4, 0.95) * (y > MOUTH)
    lips = np.clip(1 - (a / 2.5) ** 2, 0, 1)
    gap, lid = _lid_travel(a, y)
    smile = move(
        dx=side * 0.5 * corner,
        dy=-0.6 * corner - 0.22 * _bell(a - 4, 1.6) * _bell(y - 3.6, 1.6) - 0.1 * eye * (y > 0.2),
        forward=-0.3 * corner + 0.25 * _bell(a - 3.9, 1.5) * _bell(y - 3.9, 1.4),
    )
    blink = move(dy=gap * lid)
    expression = np.stack([
        move(dy=0.36 * jaw * np.maximum(forward - 1, 0), forward=-0.12 * jaw * (y - 2)),
        smile * left[:, None],
        smile * right[:, None],
        move(dx=-side * 0.1 * corner, dy=0.45 * corner - 0.12 * _bell(x, 1.6) * lower),
        move(dx=-x * 0.36 * _bell(a, 3.2) * _bell(y - MOUTH, 1.3), forward=0.55 * _bell(x, 2.2) * _bell(y - MOUTH, 1.2)),
        move(dx=side * 0.5 * corner, dy=0.22 * corner),
        move(dy=-0.42 * _bell(x, 2.6) * upper - 0.2 * _bell(a - 1.3, 1) * _bell(y - 4.3, 1)),
        move(dy=lips * (0.45 * lower - 0.13 * upper)),
        move(dy=-0.6 * _bell(a - 1.6, 1.7) * _bell(y + 1.9, 1.5) * (y < -0.8)),
        move(dy=-0.55 * _bell(a - 4.4, 2.0) * _bell(y + 1.9, 1.5) * (y < -0.8)),
        move(dx=-side * 0.28 * _bell(a - 1.5, 1.2) * _bell(y + 1.8, 1.2), dy=0.35 * _bell(a - 1.6, 1.5) * _bell(y + 1.8, 1.1) * (y < -0.8)),
        move(dy=-0.22 * eye * (y > 0.1) + 0.16 * gap * lid),
        blink * left[:, None],
        blink * right[:, None],
        move(dx=0.5 * mouth),
        move(dx=0.6 * _ramp(y, 5.5, 10)),
    ])  # fmt: skip
    return identity, expression


def _lid_travel(a: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How far the upper lid falls to close the eye at distance ``a`` from the midline, and the share a point takes."""
    upper = np.interp(a, [1.62, 2.25, 3.1, 3.92, 4.5], [0.16, -0.42, -0.62, -0.46, -0.08])
    lower = np.interp(a, [1.62, 2.3, 3.1, 3.9, 4.5], [0.16, 0.4, 0.47, 0.3, -0.08])
    middle = (upper + lower) / 2
    above = np.exp(-np.maximum(upper - y, 0) / 0.4) * (y <= middle + 1e-3)
    return lower - upper, np.where(above > 0, 0.92 * above, -0.08 * np.exp(-np.maximum(y - lower, 0) / 0.3))


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


PIVOT = np.array([0.0, 5.0, -1.0])  # the head turns about the top of the neck
ANCHOR = np.array([0.0, 4.3, -4.5])  # the place within the face that the camera is aimed at


def project(points: Floats, angles: Floats, camera: Floats) -> Floats:
    """Perspective views (M, P, 2) of points (M, P, 3) of heads turned by ``angles`` (M, 3) before ``camera`` (M, 4).

    From 0 to 1 across the canvas.
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
