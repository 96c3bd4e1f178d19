"""Hair: a shell round the skull, closed by the length of its strands and cut out for the face."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.camera import Shot
from datamodules.face_generator.parameters import CURLS, DENSITY, FRINGE, LENGTH, VOLUME, WAVES, FaceParameters
from datamodules.face_generator.raster import Canvas, Ints, corner_mean, corner_values, paint, rasterise, sampled
from datamodules.face_generator.scene import fixed, seen
from datamodules.face_generator.texture import textures

COLUMNS, CAP, CURTAIN = 25, 6, 2  # columns round the head, rows over the skull, rows hanging below it
CENTRE = np.array([0.0, -2.6, 0.4])  # of the ellipsoid that envelops the skull
RADII = np.array([7.65, 10.2, 10.6])
SPREAD = np.array([0.75, 1.25, 0.55])  # how volume adds to the radii
Shell = tuple[Floats, Floats, Floats]  # vertices, their normals, angle and height
_FALL = np.linspace(0, 1, CURTAIN + 1)[1:, None]


@cache
def _grid() -> tuple[Floats, Floats, Ints, Ints]:
    """Angles round the head (COLUMNS,), directions (CAP + CURTAIN, COLUMNS, 3), triangles (T, 3) and quads (Q, 4)."""
    angle = np.linspace(-np.pi, np.pi, COLUMNS)
    polar = np.concatenate([np.linspace(0.02, np.pi / 2, CAP), np.full(CURTAIN, np.pi / 2)])[:, None]
    flat = np.where(np.cos(angle) < 0, 0.93, 1.0) * np.sin(polar)
    full = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.85  # as full in front as the face itself
    direction = np.stack([flat * np.sin(angle), -np.cos(polar) + 0 * angle, -flat * full], axis=-1)
    index = np.arange((CAP + CURTAIN) * COLUMNS).reshape(CAP + CURTAIN, COLUMNS)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return angle, direction, triangles, np.stack([a, b, c, d], axis=-1).reshape(-1, 4)


def hair_shell(face: FaceParameters) -> Shell:
    """Vertices (V, 3) of the shell in the head's frame, their normals (V, 3), and angle and height (V, 2) of each."""
    angle, direction, *_ = _grid()
    volume = face.hairdo[VOLUME]
    radii = RADII + SPREAD * volume
    vertices = CENTRE + radii * direction
    short = _shortness(face)  # short hair lies close to the head from the temples down
    level = direction[..., 1:2] ** 2
    vertices -= short * (1 - level) ** 2 * np.maximum(SPREAD * volume - 0.2, 0) * direction * [1, 0, 1]
    fall = _FALL * (_end(face) + 3.5 * short * (np.cos(angle) < 0.2) - CENTRE[1])
    vertices[CAP:, :, 1] += fall
    vertices[CAP:, :, 0] *= 1 + 0.1 * volume * np.sin(np.pi * np.clip(fall / 14, 0, 1))
    vertices[..., :2] *= 1 + 0.045 * face.identity[:2]  # as the head grows wider and longer
    normals = (direction / radii).reshape(-1, 3)
    normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))
    chart = np.stack([np.broadcast_to(angle, vertices.shape[:2]), vertices[..., 1]], axis=-1)
    return vertices.reshape(-1, 3), normals, chart.reshape(-1, 2)


def _end(face: FaceParameters) -> float:
    return max(float(face.hairdo[LENGTH]), -2.0)


def _shortness(face: FaceParameters) -> float:
    return min(max(1 - (_end(face) + 2) / 5, 0), 1)


_ANGLES = np.linspace(-np.pi, np.pi, 721)  # at which the lower edge of the hair is tabulated
_TIPS = (_ANGLES * 120).astype(np.int64) & 511  # where the tips' lengths are in the texture of strands
_AT_SIDES = 0.6 * np.clip(np.abs(_ANGLES) - 0.9, 0, 1)


def _edge(face: FaceParameters, angle: Floats) -> Floats:
    """Heights (K,) that hair reaches down to at angles (K,) round the head."""
    hairline, temples, _, parting, volume, _, fringe, _, _ = face.hairdo
    side, short = _end(face), _shortness(face)
    front = hairline - 0.25 * volume + 3.9 * fringe
    middle = front + 0.5 * fringe
    forward = 16 * min(max(temples, 0), 1) * (1 - short)  # degrees by which long hair falls in front
    turned = np.abs(angle)
    stops = np.array([
        (0, front), (22, middle), (44 - forward / 3, middle + 1.2 + 0.6 * temples), (56 - forward / 2, hairline + 2.8),
        (64 - forward, max(-2.0, min(side, 1.2))), (72 - forward, side), (100, side), (180, side + 3.5 * short),
    ])  # fmt: skip
    edge = np.interp(turned * (180 / np.pi), stops[:, 0], stops[:, 1])
    return edge + (0.9 * parting * (1 + fringe)) * np.sin(angle) * (turned < 1.05)


def cover(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """How much hair (K,) there is at angles (K,) round the head, 0 at the nose, and heights (K,) in cm, 0 to 1."""
    fringe, density, curls = face.hairdo[[FRINGE, DENSITY, CURLS]]
    tips = textures().strands[40, _TIPS] / 255 - 0.5
    edge = _edge(face, _ANGLES) + tips * (0.5 + 2.2 * fringe + _AT_SIDES)
    sharpness = 1 / (0.6 + 0.6 * curls + 0.8 * (1 - density))
    nearest = (angle * (360 / np.pi) + 360.5).astype(np.int64)
    inside = (edge * sharpness + 0.5).astype(np.float32).take(nearest) - height * np.float32(sharpness)
    return np.minimum(np.maximum(inside, 0), 1) * np.float32(density)


def hides(face: FaceParameters, points: Floats, sight: Floats) -> NDArray[np.bool_]:
    """Which points (K, 3) of the head hair hides from a camera in the directions ``sight`` (K, 3)."""
    if not face.hairdo[DENSITY]:
        return np.zeros(len(points), bool)
    radii = (RADII + SPREAD * face.hairdo[VOLUME]) * [1 + 0.045 * face.identity[0], 1 + 0.045 * face.identity[1], 1]
    start, step = (points - CENTRE) / radii, sight / radii
    kept = np.where(start[:, 1:2] < 0, 1.0, np.array([1.0, 0.0, 1.0]))  # below its middle the shell hangs straight
    a, b, c = (step**2 * kept).sum(1), (start * step * kept).sum(1), (start**2 * kept).sum(1) - 1
    reach = (np.sqrt(np.maximum(b * b - a * c, 0)) - b) / a
    x, y, z = (start + reach[:, None] * step).T
    angle = np.arctan2(x, np.sign(-z) * np.abs(z) ** (1 / 0.85))
    return (c < 0) & (cover(face, angle, CENTRE[1] + y * radii[1]) > 0.5)


def back_hair(canvas: Canvas, shot: Shot, shell: Shell) -> None:
    """Draw the far inside of long hair, which shows beside face and neck, on a canvas (S, S, 3)."""
    face = shot.face
    if not face.hairdo[DENSITY] or face.hairdo[LENGTH] < 4:
        return
    vertices, _, chart = shell
    places, _ = shot.place(vertices)
    quads = _grid()[3]
    quads = quads[(_edge(face, chart[:, 0]) - chart[:, 1])[quads].min(axis=1) > -0.5]
    corners = fixed(places)[quads]
    a, b, c = (corners[:, i].astype(np.int64) for i in (0, 1, 2))
    away = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    shade = 0.35 + 0.4 * textures().strands[7, quads * 7 & 511].mean(axis=1) / 255
    colours = shade[:, None] * np.array(seen(face.hair, face.sky + 0.12 * face.key))
    for quad, colour in zip(corners[away], colours[away].tolist(), strict=True):
        cv2.fillConvexPoly(canvas, quad, colour, cv2.LINE_8, 4)


def front_hair(canvas: Canvas, shot: Shot, shell: Shell, depths: Floats) -> None:
    """Draw the near side of the shell where it is not behind the head, whose distances are ``depths`` (S * S,)."""
    face = shot.face
    if not face.hairdo[DENSITY]:
        return
    vertices, normals, chart = shell
    triangles = _grid()[2]
    margin = _edge(face, chart[:, 0]) - chart[:, 1]
    triangles = triangles[margin[triangles].max(axis=1) > -1.5]
    places, depth = shot.place(vertices)
    pixels = rasterise(places, depth, triangles, shot.size)
    angle, height = pixels.of(corner_values(chart, triangles))
    away = corner_mean(depth, triangles).take(pixels.triangle)
    alpha = cover(face, angle, height)
    shown = np.flatnonzero((alpha > 0.01) & (away < np.take(depths, pixels.at) + 4))
    pixels, angle, height, alpha = pixels.where(shown), angle[shown], height[shown], alpha[shown]
    lit = pixels.of(corner_values(normals @ np.stack([shot.light, shot.half], axis=1), triangles))
    paint(canvas, pixels.at, _coloured(face, _strand(face, angle, height), *lit), alpha)


def _strand(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """Brightness (K,) of the strands at angles and heights (K,), 0 to 1."""
    maps, waves, curls = textures(), np.float32(face.hairdo[WAVES] * 9), np.float32(face.hairdo[CURLS] / 255)
    across = angle * np.float32(78)
    if waves > 0.5:
        across += waves * np.sin(height * np.float32(1.6) + 3 * np.sin(2 * angle))
    straight = sampled(maps.strands, across, height * np.float32(9))[:, 0] * (np.float32(1 / 255) - curls)
    if not curls:
        return straight
    return straight + curls * sampled(maps.noise, angle * np.float32(260), height * np.float32(34))[:, 0]


def _coloured(face: FaceParameters, strand: Floats, lamp: Floats, half: Floats) -> Floats:
    """Linear colour (3, K) of hair from its strands and the cosines (K,) of lamp and mirror direction."""
    diffuse = np.maximum((lamp + np.float32(0.25)) / np.float32(1.25), 0)
    band = np.maximum(half + np.float32(0.12) * (strand - np.float32(0.5)), 0)
    band = np.square(np.square(np.square(band))) * np.square(np.square(band)) * strand
    body = np.float32(0.35) + np.float32(1.1) * strand
    own, key, sky = (v.astype(np.float32) for v in (np.square(face.hair), face.key, face.sky))
    shine = key * (np.float32(0.03) + np.float32(0.35) * own)
    return np.stack([own[i] * body * (diffuse * key[i] + np.float32(0.8) * sky[i]) + band * shine[i] for i in range(3)])


def conceals(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """1 for places (V,) of the scalp that lie so deep under the hair that they need not be drawn, else 0."""
    if face.hairdo[DENSITY] < 1:
        return np.zeros(len(angle))
    return ((_edge(face, angle) - height > 2.5) & (height < -3)).astype(float)
