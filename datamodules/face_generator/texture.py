"""What is painted on the head: masks of lips, brows, make-up and beard, fine relief, shadows in hollows; and noise.

Painted once a process, without colour; a face's own colours come in when it is drawn.
"""

from collections.abc import Iterable
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
from datamodules.face_generator.surface import EYE, bell, half_width, landmark_chart, surface

Bytes = NDArray[np.uint8]
SUPER = 4  # masks are drawn this much larger and averaged down
CHART_ROWS = 346  # the rows of the texture that show the chart; the tiles lie below
NOISE = 512  # side of the noise textures


@dataclass(frozen=True)
class Textures:
    """Maps (H, W, 4) over the texture of `mesh`, 0 to 255 for 0 to 1 unless said, and noise.

    Args:
        paint: lips, brows, lid line, light that reaches hollows.
        relief: normal in the head's frame along x and y less the mesh's own (127 is 0, 254 is 1), shine, uneven colour.
        age: beard, moustache, freckles, wrinkles (normal along y, 127 is 0).
        makeup: eye shadow, blush, and two that are empty.
        noise: (512, 512) smooth noise that repeats, mean 128; ``clouds`` (512, 512, 3) is the same in grey.
        strands: (512, 512) hair strands running down, repeating, mean 128.
        grain: (512, 512, 3) independent noise, mean 128, standard deviation 32.
    """

    paint: Bytes
    relief: Bytes
    age: Bytes
    makeup: Bytes
    noise: Bytes
    clouds: Bytes
    strands: Bytes
    grain: Bytes


@cache
def textures() -> Textures:
    """All maps, painted once a process."""
    rng = np.random.default_rng(98)
    v, u = np.mgrid[: TEXTURE_SHAPE[0], : TEXTURE_SHAPE[1]]
    s, y = u / TEXELS + CHART_ORIGIN[0], np.minimum(v, CHART_ROWS) / TEXELS + CHART_ORIGIN[1]
    angle = s / np.maximum(half_width(y), 0.05)
    a = np.abs(half_width(y) * np.sin(np.clip(angle, -np.pi / 2, np.pi / 2)))  # distance from the midline
    skin = (np.cos(np.clip(angle, -np.pi, np.pi)) > 0) & (v < CHART_ROWS)
    noise = _noise(rng, ((24, 24, 1.0), (10, 10, 0.8), (4, 4, 0.6), (1.6, 1.6, 0.5)))
    uneven = noise[: TEXTURE_SHAPE[0], : TEXTURE_SHAPE[1]] / 255

    marks = landmark_chart()
    lips = _filled(closed_curve(marks[list(part)], 6) for part in (OUTER_LIPS, INNER_LIPS))
    normal, hollow = _relief(s, y, angle)
    light = np.where(v < CHART_ROWS, hollow * (1 - 0.8 * _dark_corners(a, y) * skin), _tile_light())
    beard, moustache = _beard(a, y)
    beard *= (v < CHART_ROWS) * (np.abs(angle) < 1.75) * (0.5 + 1.16 * uneven) * (1 - lips)
    freckles = _freckles(rng) * bell(a - 2.8, 2.6) * bell(y - 2.2, 2.2)
    shadow = bell(a - EYE[0] - 0.15, 1.75) * bell(y + 0.75, 0.62) * skin
    blush = bell(a - 4.2, 1.7) * bell(y - 3.3 + 0.3 * (a - 4.2), 1.2) * skin
    grain = 32 * rng.standard_normal((NOISE, NOISE, 1)) + 12 * rng.standard_normal((NOISE, NOISE, 3))
    return Textures(
        paint=_bytes(lips, _brows(marks, rng), _lid_lines(marks), light),
        relief=_bytes(0.498 + normal[..., 0] / 2, 0.498 + normal[..., 1] / 2, _shine(a, y, lips) * skin, uneven),
        age=_bytes(beard, moustache * skin * (1 - lips), freckles, 0.498 + _wrinkles(a, y) * skin / 2),
        makeup=_bytes(shadow, blush, 0 * blush, 0 * blush),
        noise=noise.astype(np.uint8),
        clouds=np.repeat(noise.astype(np.uint8)[..., None], 3, axis=2),
        strands=_noise(rng, ((1.0, 60, 1.0), (3.0, 90, 0.9), (9.0, 120, 0.7))).astype(np.uint8),
        grain=np.clip(128 + grain, 0, 255).astype(np.uint8),
    )


@cache
def layers(shrink: int) -> tuple[Bytes, ...]:
    """The four maps over the head's texture, 16 channels in all, averaged over ``shrink`` x ``shrink`` texels."""
    maps = textures()
    width, height = TEXTURE_SHAPE[1] // shrink, TEXTURE_SHAPE[0] // shrink
    return tuple(
        np.asarray(cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        for layer in (maps.paint, maps.relief, maps.age, maps.makeup)
    )


def _bytes(*layers: Floats) -> Bytes:
    return np.clip(np.stack(layers, axis=-1) * 255 + 0.5, 0, 255).astype(np.uint8)


def _blurred(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float64)


def _enlarged(curves: Iterable[Floats]) -> tuple[Bytes, list[NDArray[np.int32]]]:
    """A large empty mask, and curves (n, 2) of the chart in sixteenths of its pixels."""
    points = [np.round(((texel(c) + 0.5) * SUPER - 0.5) * 16).astype(np.int32) for c in curves]
    return np.zeros((TEXTURE_SHAPE[0] * SUPER, TEXTURE_SHAPE[1] * SUPER), np.uint8), points


def _averaged(mask: Bytes) -> Floats:
    return np.asarray(cv2.resize(mask, TEXTURE_SHAPE[::-1], interpolation=cv2.INTER_AREA)) / 255


def _filled(curves: Iterable[Floats]) -> Floats:
    """Mask 0 to 1 of areas within closed curves (n, 2) of the chart."""
    mask, points = _enlarged(curves)
    for area in points:
        cv2.fillPoly(mask, [area], (255,), cv2.LINE_AA, 4)
    return _averaged(mask)


def _lines(paths: Iterable[Floats], thickness: float) -> Floats:
    """Mask 0 to 1 of open paths (n, 2) of the chart, ``thickness`` in cm."""
    mask, points = _enlarged(paths)
    cv2.polylines(mask, points, False, (255,), max(1, round(thickness * TEXELS * SUPER)), cv2.LINE_AA, 4)
    return _averaged(mask)


def _brows(marks: Floats, rng: np.random.Generator) -> Floats:
    """Dense short hairs within the brows' landmarks."""
    area = _filled(closed_curve(marks[list(brow)], 4) for brow in (range(33, 42), range(42, 51)))
    strokes, grid = [], np.linspace(0, 1, 5)
    for side, upper, lower in (
        (-1, [37, 36, 35, 34, 33], [38, 39, 40, 41, 33]),
        (1, [42, 43, 44, 45, 46], [50, 49, 48, 47, 46]),
    ):
        for t in rng.uniform(0, 1, 130):  # from the nose outwards
            top, low = (np.array([np.interp(t, grid, axis) for axis in marks[row].T]) for row in (upper, lower))
            start = low + (top - low) * rng.uniform(-0.1, 0.9)
            lean = np.array([side * (0.12 + 0.5 * t), -0.42 + 0.5 * t])
            strokes.append(np.stack([start, start + lean * rng.uniform(0.5, 1.1)]))
    return np.clip((0.55 * area + 0.75 * _lines(strokes, 0.05)) * np.clip(1.25 * _blurred(area, 1.2), 0, 1), 0, 1)


def _lid_lines(marks: Floats) -> Floats:
    """Lashes along both lids and the crease above the upper one."""
    contours = [closed_curve(marks[list(eye)], 6) for eye in EYES]
    arch = -0.34 * np.sin(np.linspace(0.25, np.pi - 0.1, 25))
    creases = [
        line[:25] + np.stack([0 * arch, h], axis=1) for line, h in zip(contours, (arch, arch[::-1]), strict=True)
    ]
    lashes = 0.95 * _lines((line[:25] for line in contours), 0.13) + 0.35 * _lines(
        (line[24:] for line in contours), 0.07
    )
    return np.clip(lashes + 0.42 * _blurred(_lines(creases, 0.09), 0.8), 0, 1)


def _freckles(rng: np.random.Generator) -> Floats:
    dots = (rng.random(TEXTURE_SHAPE) < 0.025) * rng.uniform(0.4, 1.0, TEXTURE_SHAPE)
    return np.clip(_blurred(dots, 0.75) * 3.2, 0, 1)


def _noise(rng: np.random.Generator, layers: tuple[tuple[float, float, float], ...]) -> Floats:
    """Repeating noise (512, 512), 0 to 255, of layers (smoothness across, down, weight) in pixels."""
    wave = 2 * np.pi * np.fft.fftfreq(NOISE)
    total = np.zeros((NOISE, NOISE))
    for across, down, weight in layers:
        smooth = np.exp(-((down * wave[:, None]) ** 2 + (across * wave) ** 2) / 2)
        layer = np.fft.ifft2(np.fft.fft2(rng.standard_normal((NOISE, NOISE))) * smooth).real
        total += weight * layer / layer.std()
    return np.clip(128 + 43 * total / total.std(), 0, 255)


def _relief(s: Floats, y: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Fine normals (H, W, 3), what the mesh is too coarse for, and the light that reaches each place (H, W)."""
    points = surface(s, y)
    normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    normal *= np.where(normal[..., 2:] > 0, -1, 1)
    fine = normal - _blurred(normal, 0.4 * TEXELS)
    forward, light = -points[..., 2], np.ones_like(y)
    for sigma, strength in ((0.25, 0.9), (0.7, 0.42), (1.5, 0.16)):
        light *= np.exp(-strength * np.clip(_blurred(forward, sigma * TEXELS) - forward, -0.1, 1.2))
    inside = np.clip((1.5 - np.abs(angle)) / 0.3, 0, 1) * np.clip((11.2 - y) / 0.5, 0, 1)
    return fine * inside[..., None], 1 + (np.clip(light, 0.25, 1.08) - 1.08) * inside


def _dark_corners(a: Floats, y: Floats) -> Floats:
    """Nostrils, the groove round them, and the corners of the mouth."""
    nostril = 1.1 * bell(a - 0.66, 0.34) * bell(y - 4.78 + 0.25 * (a - 0.66), 0.2)
    wing = 0.55 * bell(np.hypot(a - 1.35, (y - 4.25) * 0.9) - 0.62, 0.13) * (a > 1.2)
    return np.clip(nostril + wing + 0.5 * bell(a - 2.62, 0.35) * bell(y - 7.0, 0.22), 0, 1)


def _tile_light() -> Floats:
    """Light that reaches the neck below the jaw, and the hollows of an ear, in their tiles."""
    light = np.ones(TEXTURE_SHAPE)
    x, y, width, height = NECK_TILE
    light[y : y + height, x : x + width] -= 0.62 * bell(np.linspace(0, 1, height)[:, None], 0.45)
    x, y, width, height = EAR_TILE
    v, u = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    hollow = 0.65 * bell(np.hypot((u - 0.42) * 1.1, v - 0.5), 0.2)
    groove = 0.4 * bell(np.hypot((u - 0.4) * 1.15, v - 0.42) - 0.33, 0.05) * (u > 0.3)
    light[y : y + height, x : x + width] -= np.clip(hollow + groove + 0.25 * (1 - u), 0, 0.8)
    return light


def _beard(a: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A full beard, and its moustache alone."""
    moustache = bell(a - 0.9, 1.7) * bell(y - 5.8, 0.5) * (a < 3.2)
    start = 5.6 + 1.2 * bell(a - 3.2, 1.6) - 2.8 * np.clip((a - 4.4) / 2, 0, 1)  # where it begins on the cheek
    cheek = (1 - 0.9 * bell(a, 1.5) * bell(y - 8.75, 0.35)) / (1 + np.exp((start - y) / 0.35))
    return np.maximum(cheek, moustache), moustache


def _shine(a: Floats, y: Floats, lips: Floats) -> Floats:
    """How much the skin reflects: most on nose, forehead, cheekbones, chin and lower lip."""
    nose, forehead = 0.5 * bell(a, 1.2) * bell(y - 2.5, 3), 0.4 * bell(a, 4) * bell(y + 4.5, 2)
    cheek, chin = 0.2 * bell(a - 4, 1.5) * bell(y - 2.5, 1.3), 0.3 * bell(a, 1.5) * bell(y - 10.3, 0.8)
    return np.clip(0.35 + nose + forehead + cheek + chin + 0.6 * lips * bell(y - 7.75, 0.35), 0, 1)


def _wrinkles(a: Floats, y: Floats) -> Floats:
    """Offset of the normal along y by forehead lines, crow's feet, and lines from nose to mouth, at full age."""
    lines = np.zeros_like(a)
    for height in (-6.2, -5.2, -4.3):
        d = y - height - 0.06 * np.cos(2.2 * a + height) + 0.012 * a**2
        lines += 0.35 * d / 0.12 * bell(d, 0.14) * bell(a, 3.6)
    for slope in (-0.35, 0.0, 0.4):
        d = (y - 0.15 - slope * (a - 4.6)) / np.hypot(1, slope)
        lines += 0.3 * d / 0.08 * bell(d, 0.1) * np.clip((a - 4.75) / 0.2, 0, 1) * np.clip((6.1 - a) / 0.5, 0, 1)
    d = (a - 1.95 - 0.38 * (y - 4.6)) / 1.1
    lines += 0.5 * d / 0.14 * bell(d, 0.2) * np.clip((y - 4.5) / 0.5, 0, 1) * np.clip((7.6 - y) / 0.8, 0, 1)
    d = y - 0.95 - 0.1 * (a - EYE[0]) ** 2
    lines += 0.22 * d / 0.14 * bell(d, 0.18) * bell(a - EYE[0], 1.3)
    return np.clip(lines, -1, 1)
