"""The surface of a neutral head, and where the landmarks are on it.

Centimetres in the head's frame: x to the image's right, y down, z away from the camera, so the nose points to -z.
The eyes lie at y = 0. The surface is written over a flat chart (s, y): ``s`` is the arc of an ellipse round the head at
height y, so a landmark that is given where a frontal photograph shows it has one place on the surface.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from datamodules.crop import Floats
from datamodules.markup import WFLW_98

EYE = np.array([3.05, 0.0])  # centre of an eye, mirrored for the other one
MOUTH = 6.95  # height of the line between the lips


def _profile(*knots: tuple[float, float]) -> Floats:
    """A smooth curve through (y, value) knots, tabulated every 0.05 cm from -13 to 13."""
    y, value = np.array(knots).T
    dense = np.interp(np.linspace(-14, 14, 561), y, value)
    kernel = np.exp(-(np.linspace(-1, 1, 41) ** 2) / 0.16)
    return np.convolve(dense, kernel / kernel.sum(), mode="same")[20:-20]


# Cross-section of the head at height y: half width, depth of its widest place, how far forward its middle is without
# the nose; and how far the nose stands out, and half how wide it is.
_HALF_WIDTH = _profile(
    (-13, 0), (-12.6, 1.0), (-12.2, 3.0), (-11.4, 4.6), (-10, 5.9), (-8, 6.8), (-5.5, 7.4), (-3, 7.5), (0, 7.25),
    (2, 7.0), (4, 6.65), (6, 6.1), (7.5, 5.5), (9, 4.6), (10, 3.75), (10.7, 2.95), (11.2, 2.15), (11.5, 1.4),
    (11.75, 0.3), (13, 0.1),
)  # fmt: skip
_WIDEST = _profile(
    (-13, -1), (0, -0.6), (4, 0.4), (6, 1.4), (7.5, 2.6), (9, 4.6), (10, 6.0), (11, 7.4), (11.6, 8.2), (13, 8.6),
)  # fmt: skip
_FRONT = _profile(
    (-13, -1), (-12.5, 1.2), (-12.0, 3.4), (-11, 5.6), (-9.5, 7.5), (-8, 8.5), (-6, 9.3), (-4, 9.7), (-2, 9.75),
    (-0.5, 9.2), (1, 8.9), (3, 9.0), (5, 9.5), (6.5, 9.85), (7.5, 9.8), (8.8, 9.4), (10, 9.7), (10.8, 9.6), (11.5, 8.9),
    (13, 8.6),
)  # fmt: skip
_NOSE = _profile(
    (-3, 0), (-1.6, 0.12), (-0.6, 0.35), (0.6, 0.8), (2.2, 1.7), (3.2, 2.45), (3.95, 2.85), (4.45, 2.2), (4.95, 0.75),
    (5.4, 0), (13, 0),
)  # fmt: skip
_NOSE_WIDTH = _profile((-13, 1.0), (-1, 0.95), (0.5, 0.75), (2.5, 0.9), (3.8, 1.12), (5, 1.2), (13, 1.2))


def _at(curve: Floats, y: Floats) -> Floats:
    return np.interp(y, np.linspace(-13, 13, len(curve)), curve)


def half_width(y: Floats) -> Floats:
    """Half the head's width (...) at heights y (...): what a frontal outline shows."""
    return _at(_HALF_WIDTH, y)


def bell(d: Floats, width: float | Floats) -> Floats:
    """1 where ``d`` is 0, 0.37 where it is ``width``, falling as a Gaussian."""
    return np.exp(-((d / width) ** 2))


def ramp(v: Floats, start: float, stop: float) -> Floats:
    """0 up to ``start``, 1 from ``stop``, smooth between."""
    t = np.clip((v - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def surface(s: Floats, y: Floats) -> Floats:
    """Points (..., 3) of the neutral head at places (...) of the chart."""
    return _raised(s, y, lambda x, a, y: _cheeks(a, y) + _middle(x, a, y))


def bare_surface(s: Floats, y: Floats) -> Floats:
    """As `surface`, of a head without nose and lips: its outline has no second bump behind them."""
    return _raised(s, y, lambda x, a, y: _cheeks(a, y))


def _raised(s: Floats, y: Floats, relief: Callable[[Floats, Floats, Floats], Floats]) -> Floats:
    width = half_width(y)
    angle = s / np.maximum(width, 0.05)
    x, a = width * np.sin(angle), np.abs(width * np.sin(angle))
    cosine = np.cos(angle)
    middle = _at(_WIDEST, y)
    depth = np.where(cosine > 0, (_at(_FRONT, y) - middle) * np.abs(cosine) ** 0.82, 8.5 * cosine)
    forward = middle + depth + np.where(cosine > 0, relief(x, a, y), 0.0)
    return np.stack([x, y + 0 * x, -forward], axis=-1)


def _middle(x: Floats, a: Floats, y: Floats) -> Floats:
    """Nose and lips: what stands forward of a face that has none, in cm."""
    nose = _at(_NOSE, y) * np.exp(-(np.abs(x / _at(_NOSE_WIDTH, y)) ** 2.0))
    wings = 0.95 * bell(a - 1.35, 0.55) * bell(y - 4.2, 0.72)
    fold = -0.10 * bell(a - 1.95 - 0.38 * (y - 4.6), 0.3) * ramp(y, 4.0, 5.0) * ramp(-y, -8.0, -6.6)
    across = np.clip(1 - (a / 2.9) ** 2, 0, 1)
    lips = bell(a, 1.9) * (0.55 * bell(y - 6.45, 0.5) + 0.62 * bell(y - 7.6, 0.55))
    slit = -0.32 * np.sqrt(across) * bell(y - MOUTH, 0.2)
    philtrum = bell(y - 5.7, 0.55) * (-0.09 * bell(x, 0.3) + 0.07 * bell(a - 0.5, 0.25))
    return nose + wings + fold + lips + slit + philtrum


def _cheeks(a: Floats, y: Floats) -> Floats:
    """Eye sockets, brows, cheekbones and chin: what stands forward of a smooth ellipse, in cm."""
    sockets = -0.85 * bell(a - 2.75, 1.75) * bell(y - 0.15, 1.15) - 0.25 * bell(a - 1.5, 0.6) * bell(y + 0.1, 0.9)
    lids = 0.5 * bell(a - EYE[0], 1.35) * bell(y - 0.05, 0.85)
    brow = 0.28 * bell(a - 2.7, 2.0) * bell(y + 1.75, 0.75)
    cheekbone = 0.35 * bell(a - 4.5, 1.9) * bell(y - 2.7, 1.7)
    hollow = -0.3 * bell(a - 4.6, 1.7) * bell(y - 6.3, 1.9)
    chin = 0.4 * bell(a, 1.7) * bell(y - 10.3, 0.9) - 0.28 * bell(a, 2.0) * bell(y - 8.75, 0.5)
    return sockets + lids + brow + cheekbone + hollow + chin


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
