"""What is painted on the head of `mesh`: masks of lips, brows, make-up and beard, fine relief, shadows in hollows.

Painted once a process, without colour; a face's own colours come in when it is drawn.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.mesh import (
    CHART_ORIGIN,
    EAR_TILE,
    EYES,
    INNER_LIPS,
    NECK_TILE,
    OUTER_LIPS,
    TEXELS,
    TEXTURE_SHAPE,
    closed_curve,
    texel,
)
from datamodules.face_generator.shape import EYE, half_width, landmark_chart, surface

Bytes = NDArray[np.uint8]
SUPER = 4  # masks are drawn this much larger and averaged down
CHART_ROWS = 346


@dataclass(frozen=True)
class Textures:
    """Maps (H, W, 4) over the texture of `mesh`, 0 to 255 for 0 to 1 unless said.

    Args:
        paint: lips, brows, lid line, light that reaches hollows.
        relief: normal in the head's frame along x and y minus the mesh's own (127 is 0, 254 is 1), shine, uneven colour.
        age: beard, moustache, freckles, wrinkles (normal along y, 127 is 0).
        makeup: eye shadow, blush, and two that are empty.
        noise: (512, 512) smooth noise that repeats, mean 128.
        clouds: (512, 512, 3) the same for each colour.
        grain: (512, 512, 3) independent noise, mean 128, standard deviation 32.
        strands: (512, 512) hair strands running down, repeating, mean 128.
    """

    paint: Bytes
    relief: Bytes
    age: Bytes
    makeup: Bytes
    noise: Bytes
    clouds: Bytes
    grain: Bytes
    strands: Bytes

    @property
    def layers(self) -> tuple[Bytes, Bytes, Bytes, Bytes]:
        """The maps over the head's texture, 16 channels in all."""
        return self.paint, self.relief, self.age, self.makeup


def _bytes(*layers: Floats) -> Bytes:
    return np.clip(np.stack(layers, axis=-1) * 255 + 0.5, 0, 255).astype(np.uint8)


def _bell(d: Floats, width: float | Floats) -> Floats:
    return np.exp(-((d / width) ** 2))


@cache
def textures() -> Textures:
    """All maps."""
    rng = np.random.default_rng(98)
    v, u = np.mgrid[: TEXTURE_SHAPE[0], : TEXTURE_SHAPE[1]]
    s, y = u / TEXELS + CHART_ORIGIN[0], np.minimum(v, CHART_ROWS) / TEXELS + CHART_ORIGIN[1]
    width = np.maximum(half_width(y), 0.05)
    x = width * np.sin(np.clip(s / width, -np.pi / 2, np.pi / 2))
    a = np.abs(x)
    front = np.cos(np.clip(s / width, -np.pi, np.pi)) > 0
    skin = front & (v < CHART_ROWS)
    marks = landmark_chart()

    lips = _filled([closed_curve(marks[list(OUTER_LIPS)], 6)])
    inside = _filled([closed_curve(marks[list(INNER_LIPS)], 6)])
    lips = np.maximum(lips, inside)
    brow = _brows(marks, rng)
    lid = _lid_lines(marks)
    blush = _bell(a - 4.2, 1.7) * _bell(y - 3.3 + 0.3 * (a - 4.2), 1.2) * skin

    jaw = 1 / (1 + np.exp(-(y - 5.6 - 0.9 * np.cos(a) * 0 - 1.2 * _bell(a - 3.2, 1.6) + 2.8 * np.clip((a - 4.4) / 2, 0, 1)) / 0.35))
    beard = jaw * (1 - 0.9 * _bell(x, 1.5) * _bell(y - 8.75, 0.35)) * (v < CHART_ROWS) * (np.abs(s / width) < 1.75)
    moustache = _bell(a - 0.9, 1.7) * _bell(y - 5.8, 0.5) * (a < 3.2) * skin
    shadow = _bell(a - EYE[0] - 0.15, 1.75) * _bell(y + 0.75, 0.62) * skin
    freckles = _freckles(rng, s.shape) * _bell(a - 2.8, 2.6) * _bell(y - 2.2, 2.2)
    noise = _smooth_noise(rng, 512)
    uneven = cv2.resize(noise, (0, 0), fx=1, fy=1)[: s.shape[0], : s.shape[1]]

    beard = np.clip(np.maximum(beard, moustache) * (0.5 + uneven / 220), 0, 1) * (1 - lips)
    relief, hollow = _relief(s, y)
    nostril = _bell(a - 0.66, 0.34) * _bell(y - 4.78 + 0.25 * (a - 0.66), 0.2)
    wing = 0.55 * _bell(np.hypot(a - 1.35, (y - 4.25) * 0.9) - 0.62, 0.13) * (a > 1.2)
    corner = 0.5 * _bell(a - 2.62, 0.35) * _bell(y - 7.0, 0.22)
    dark = np.clip(nostril * 1.1 + wing + corner, 0, 1) * skin
    tile = np.zeros_like(s)
    tile[_slice(EAR_TILE)] = _ear_shadow(*tile[_slice(EAR_TILE)].shape)
    row = np.linspace(0, 1, int(NECK_TILE[3]))[:, None]
    tile[_slice(NECK_TILE)] = 0.62 * np.exp(-(row / 0.45) ** 2)
    light = np.where(v < CHART_ROWS, hollow, 1 - tile)
    light = light * (1 - 0.55 * (v < CHART_ROWS) * (np.abs(s / width) < np.pi) * _bell(y - 11.7, 0.5) * 0)

    wrinkles = _wrinkles(x, a, y) * skin
    shine = (0.35 + 0.5 * _bell(x, 1.2) * _bell(y - 2.5, 3) + 0.4 * _bell(x, 4) * _bell(y + 4.5, 2) + 0.2 * _bell(a - 4, 1.5) * _bell(y - 2.5, 1.3)
             + 0.3 * _bell(x, 1.5) * _bell(y - 10.3, 0.8) + 0.6 * lips * _bell(y - 7.75, 0.35)) * skin  # fmt: skip
    return Textures(
        paint=_bytes(lips, brow, lid, light * (1 - 0.8 * dark)),
        relief=_bytes(0.498 + relief[..., 0] / 2, 0.498 + relief[..., 1] / 2, np.clip(shine, 0, 1), uneven / 255),
        age=_bytes(beard, moustache * (1 - lips), freckles, 0.498 + wrinkles / 2),
        makeup=_bytes(shadow, blush, 0 * blush, 0 * blush),
        noise=noise.astype(np.uint8),
        clouds=np.repeat(noise.astype(np.uint8)[..., None], 3, axis=2),
        grain=np.clip(128 + 32 * rng.standard_normal((512, 512, 1)) + 12 * rng.standard_normal((512, 512, 3)), 0, 255).astype(np.uint8),
        strands=_strands(rng),
    )


def _slice(tile: Floats) -> tuple[slice, slice]:
    x, y, w, h = (int(v) for v in tile)
    return slice(y, y + h), slice(x, x + w)


def _filled(curves: list[Floats]) -> Floats:
    """Mask 0 to 1 of areas within closed curves (n, 2) of the chart."""
    big = np.zeros((TEXTURE_SHAPE[0] * SUPER, TEXTURE_SHAPE[1] * SUPER), np.uint8)
    points = [np.round(((texel(c) + 0.5) * SUPER - 0.5) * 16).astype(np.int32) for c in curves]
    cv2.fillPoly(big, points, 255, cv2.LINE_AA, 4)
    return cv2.resize(big, TEXTURE_SHAPE[::-1], interpolation=cv2.INTER_AREA) / 255


def _lines(paths: list[Floats], thickness: float) -> Floats:
    """Mask 0 to 1 of open paths (n, 2) of the chart, ``thickness`` in cm."""
    big = np.zeros((TEXTURE_SHAPE[0] * SUPER, TEXTURE_SHAPE[1] * SUPER), np.uint8)
    points = [np.round(((texel(c) + 0.5) * SUPER - 0.5) * 16).astype(np.int32) for c in paths]
    cv2.polylines(big, points, False, 255, max(1, round(thickness * TEXELS * SUPER)), cv2.LINE_AA, 4)
    return cv2.resize(big, TEXTURE_SHAPE[::-1], interpolation=cv2.INTER_AREA) / 255


def _brows(marks: Floats, rng: np.random.Generator) -> Floats:
    """Dense short hairs within the brows' landmarks, thinner towards the nose."""
    area = _filled([closed_curve(marks[list(brow)], 4) for brow in (range(33, 42), range(42, 51))])
    strokes = []
    for side, upper, lower in ((-1, [37, 36, 35, 34, 33], [38, 39, 40, 41, 33]), (1, [42, 43, 44, 45, 46], [50, 49, 48, 47, 46])):
        for t in np.sort(rng.uniform(0, 1, 130)):
            grid = np.linspace(0, 1, 5)
            top, low = (np.array([np.interp(t, grid, marks[row][:, i]) for i in (0, 1)]) for row in (upper, lower))
            start = low + (top - low) * rng.uniform(-0.1, 0.9)
            lean = np.array([side * (0.12 + 0.5 * t), -0.42 + 0.5 * t])
            strokes.append(np.stack([start, start + lean * rng.uniform(0.5, 1.1)]))
    hairs = _lines(strokes, 0.05)
    soft = cv2.GaussianBlur(area, (0, 0), 1.2)
    return np.clip((0.55 * area + 0.75 * hairs) * np.clip(soft * 1.25, 0, 1), 0, 1)


def _lid_lines(marks: Floats) -> Floats:
    """Lashes along both lids and the crease above the upper one."""
    upper, lower, crease = [], [], []
    for eye, order in ((EYES[0], (0, 1, 2, 3, 4)), (EYES[1], (4, 3, 2, 1, 0))):
        contour = closed_curve(marks[list(eye)], 6)
        upper.append(contour[:25])
        lower.append(contour[24:])
        line = closed_curve(marks[list(eye)], 6)[:25]
        crease.append(line + np.stack([0 * line[:, 0], -0.34 * np.sin(np.linspace(0.25, np.pi - 0.1, 25))[:: 1 if order[0] == 0 else -1]], -1))
    return np.clip(0.95 * _lines(upper, 0.13) + 0.35 * _lines(lower, 0.07) + 0.42 * cv2.GaussianBlur(_lines(crease, 0.09), (0, 0), 0.8), 0, 1)


def _freckles(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    dots = (rng.random(shape) < 0.025) * rng.uniform(0.4, 1.0, shape)
    return np.clip(cv2.GaussianBlur(dots, (0, 0), 0.75) * 3.2, 0, 1)


def _smooth_noise(rng: np.random.Generator, size: int) -> Floats:
    """Noise of several scales, 0 to 255, which repeats."""
    total = np.zeros((size, size))
    for sigma, weight in ((24, 1.0), (10, 0.8), (4, 0.6), (1.6, 0.5)):
        layer = rng.standard_normal((size, size))
        wave = np.fft.fftfreq(size)
        smooth = np.exp(-2 * (np.pi * sigma) ** 2 * (wave[:, None] ** 2 + wave**2))
        layer = np.fft.ifft2(np.fft.fft2(layer) * smooth).real
        total += weight * layer / layer.std()
    return np.clip(128 + 40 * total / total.std(), 0, 255)


def _strands(rng: np.random.Generator) -> Bytes:
    """Hair running down: noise that is fine across and long along."""
    size = 512
    wave = np.fft.fftfreq(size)
    total = np.zeros((size, size))
    for across, along, weight in ((1.0, 60, 1.0), (3.0, 90, 0.9), (9.0, 120, 0.7)):
        layer = np.fft.fft2(rng.standard_normal((size, size)))
        layer = np.fft.ifft2(layer * np.exp(-2 * np.pi**2 * ((along * wave[:, None]) ** 2 + (across * wave) ** 2))).real
        total += weight * layer / layer.std()
    return np.clip(128 + 45 * total / total.std(), 0, 255).astype(np.uint8)


def _relief(s: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Fine normals (H, W, 3), what the mesh is too coarse for, and the light that reaches each place (H, W)."""
    points = surface(s, y)
    du, dv = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normal = np.cross(dv, du)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    normal = normal * np.where(normal[..., 2:] > 0, -1, 1) * 1.0
    fine = normal - cv2.GaussianBlur(normal, (0, 0), 0.4 * TEXELS)
    forward = -points[..., 2]
    light = np.ones_like(y)
    for sigma, strength in ((0.25, 0.9), (0.7, 0.42), (1.5, 0.16)):
        light *= np.exp(-strength * np.clip(cv2.GaussianBlur(forward, (0, 0), sigma * TEXELS) - forward, -0.1, 1.2))
    rim = np.abs(s) / np.maximum(half_width(y), 0.05)
    inside = np.clip((1.5 - rim) / 0.3, 0, 1) * np.clip((11.2 - y) / 0.5, 0, 1)
    return fine * inside[..., None], 1 + (np.clip(light, 0.25, 1.08) - 1) * inside - 0.08 * inside


def _wrinkles(x: Floats, a: Floats, y: Floats) -> Floats:
    """Offset of the normal along y by forehead lines, crow's feet, and lines from nose to mouth, at full age."""
    lines = np.zeros_like(x)
    for height in (-6.2, -5.2, -4.3):
        d = y - height - 0.06 * np.sin(2.2 * x + height) + 0.012 * x**2
        lines += 0.35 * d / 0.12 * _bell(d, 0.14) * _bell(x, 3.6)
    for slope in (-0.35, 0.0, 0.4):
        d = (y - 0.15 - slope * (a - 4.6)) / np.hypot(1, slope)
        lines += 0.3 * d / 0.08 * _bell(d, 0.1) * np.clip((a - 4.75) / 0.2, 0, 1) * np.clip((6.1 - a) / 0.5, 0, 1)
    d = (a - 1.95 - 0.38 * (y - 4.6)) / 1.1
    lines += 0.5 * d / 0.14 * _bell(d, 0.2) * np.clip((y - 4.5) / 0.5, 0, 1) * np.clip((7.6 - y) / 0.8, 0, 1)
    d = y - 0.95 - 0.1 * (a - EYE[0]) ** 2
    lines += 0.22 * d / 0.14 * _bell(d, 0.18) * _bell(a - EYE[0], 1.3)
    return np.clip(lines, -1, 1)


def _ear_shadow(height: int, width: int) -> Floats:
    v, u = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    hollow = 0.65 * _bell(np.hypot((u - 0.42) * 1.1, v - 0.5), 0.2)
    groove = 0.4 * _bell(np.hypot((u - 0.4) * 1.15, v - 0.42) - 0.33, 0.05) * (u > 0.3)
    return np.clip(hollow + groove + 0.25 * (1 - u), 0, 0.8)
