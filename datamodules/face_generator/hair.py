"""Hair: a shell round the skull, closed by the length of its strands and cut out for the face."""

from functools import cache

import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.parameters import FaceParameters
from datamodules.face_generator.raster import (
    Canvas,
    Ints,
    Pixels,
    corner_values,
    paint,
    rasterise,
    sampled,
    smooth_normals,
)
from datamodules.face_generator.shot import Shot
from datamodules.face_generator.texture import textures

COLUMNS, CAP, CURTAIN = 33, 7, 4  # columns round the head, rows over the skull, rows hanging below it
CENTRE = np.array([0.0, -2.6, 0.9])  # of the ellipsoid that envelops the skull
RADII = np.array([7.55, 9.7, 10.3])
SPREAD = np.array([0.75, 1.25, 0.55])  # how volume adds to the radii
HAIRLINE, TEMPLES, LENGTH, PARTING, VOLUME, WAVES, FRINGE, BALD = range(8)


@cache
def _grid() -> tuple[Floats, Ints]:
    """Angles round the head (COLUMNS,) and the shell's triangles (T, 3)."""
    angle = np.linspace(-np.pi, np.pi, COLUMNS)
    index = np.arange((CAP + CURTAIN) * COLUMNS).reshape(CAP + CURTAIN, COLUMNS)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return angle, np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def _shell(face: FaceParameters) -> tuple[Floats, Floats]:
    """Vertices (V, 3) of the shell in the head's frame, and each one's angle and height (V, 2) on it."""
    angle, _ = _grid()
    volume = face.hairdo[VOLUME]
    polar = np.linspace(0.02, np.pi / 2, CAP)[:, None]
    ring = np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], axis=-1)
    back = np.where(np.cos(angle) < 0, 0.93, 1.0)[:, None]
    cap = CENTRE + (RADII + SPREAD * volume) * (
        np.sin(polar)[..., None] * ring * back + np.cos(polar)[..., None] * [0, -1, 0]
    )
    fall = np.linspace(0, 1, CURTAIN + 1)[1:, None] * (_end(face) + 3.5 * (np.cos(angle) < 0.2) - CENTRE[1])
    curtain = np.repeat(cap[-1][None], CURTAIN, axis=0)
    curtain[..., 1] += fall
    curtain[..., 0] *= 1 + 0.1 * volume * np.sin(np.pi * np.clip(fall / 14, 0, 1))
    vertices = np.concatenate([cap, curtain])
    vertices[..., 0] *= 1 + 0.045 * face.identity[0]
    chart = np.stack([np.broadcast_to(angle, vertices.shape[:2]), vertices[..., 1]], axis=-1)
    return vertices.reshape(-1, 3), chart.reshape(-1, 2)


def _end(face: FaceParameters) -> float:
    return max(float(face.hairdo[LENGTH]), -2.0)


def _margin(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """How far (K,) in cm places on the shell lie within the hair: negative in the window for the face."""
    hairline, temples, _, parting, volume, _, fringe, _ = face.hairdo
    side = _end(face)
    front = hairline - 0.25 * volume + 3.9 * fringe
    middle = front + 0.5 * fringe
    turned = np.abs(angle)
    edge = np.interp(
        turned * (180 / np.pi),
        [0, 22, 44, 56, 64, 72, 100, 180],
        [front, middle, middle + 1.2 + 0.6 * temples, hairline + 2.8, max(-2.0, min(side, 1.2)), side, side, side + 3.5],
    )
    return edge + (0.9 * parting * (1 + fringe)) * np.sin(angle) * (turned < 1.05) - height


def cover(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """How much hair (K,) there is at angles (K,) round the head, 0 at the nose, and heights (K,) in cm, 0 to 1."""
    if face.hairdo[BALD]:
        return np.zeros_like(angle)
    fringe = face.hairdo[FRINGE]
    tips = np.take(textures().strands[40], (angle * 120).astype(np.int64) & 511) / 255 - 0.5
    return np.clip((_margin(face, angle, height) + tips * (1.2 + 1.5 * fringe)) / (0.5 + 0.4 * fringe) + 0.5, 0, 1)


def back_hair(canvas: Canvas, shot: Shot) -> None:
    """Draw the far inside of the shell, which shows beside the neck, on a canvas (S, S, 3)."""
    face = shot.face
    if face.hairdo[BALD] or face.hairdo[LENGTH] < 4:
        return
    vertices, chart = _shell(face)
    flipped = _grid()[1][:, ::-1]
    places, depth = shot.place(vertices)
    pixels = rasterise(places, depth, flipped, shot.size)
    angle, height = pixels.of(corner_values(chart, flipped))
    strand = 0.15 + 0.5 * _strand(face, angle, height)
    own = np.square(face.hair) * (face.sky + 0.12 * face.key)
    paint(canvas, pixels.at, own.astype(np.float32)[:, None] * strand)


def front_hair(canvas: Canvas, shot: Shot, depths: Floats) -> None:
    """Draw the near side of the shell where it is not behind the head, whose distances are ``depths`` (S * S,)."""
    face = shot.face
    if face.hairdo[BALD]:
        return
    vertices, chart = _shell(face)
    triangles = _grid()[1]
    margin = _margin(face, chart[:, 0], chart[:, 1])
    triangles = triangles[margin[triangles].max(axis=1) > -1.5]
    places, depth = shot.place(vertices)
    pixels = rasterise(places, depth, triangles, shot.size)
    angle, height, away = pixels.of(corner_values(np.concatenate([chart, depth[:, None]], axis=1), triangles))
    alpha = cover(face, angle, height).astype(np.float32)
    shown = np.flatnonzero((alpha > 0.01) & (away < np.take(depths, pixels.at) + 1.0))
    pixels, angle, height, alpha = pixels.where(shown), angle[shown], height[shown], alpha[shown]
    paint(canvas, pixels.at, _lit(shot, pixels, vertices, triangles, _strand(face, angle, height)), alpha)


def _strand(face: FaceParameters, angle: Floats, height: Floats) -> Floats:
    """Brightness (K,) of the strands at angles and heights (K,), 0 to 1."""
    wave = np.float32(face.hairdo[WAVES] * 9) * np.sin(height * np.float32(1.6) + 3 * np.sin(2 * angle))
    across = angle * np.float32(78) + (250 + wave)
    return sampled(textures().strands, across % 510, (height * 9 + 200) % 510)[:, 0] * np.float32(1 / 255)


def _lit(shot: Shot, pixels: Pixels, vertices: Floats, triangles: Ints, strand: Floats) -> Floats:
    """Linear colour (3, K) of hair."""
    face = shot.face
    normals = smooth_normals(vertices, _grid()[1])
    lamp, half = pixels.of(corner_values(normals @ np.stack([shot.light, shot.half], axis=1), triangles))
    diffuse = np.clip((lamp + np.float32(0.25)) / np.float32(1.25), 0, 1)
    band = np.clip(half + np.float32(0.12) * (strand - np.float32(0.5)), 0, 1) ** 14 * strand
    body = np.float32(0.35) + np.float32(1.1) * strand
    own, key, sky = (v.astype(np.float32) for v in (np.square(face.hair), face.key, face.sky))
    shine = key * (np.float32(0.03) + np.float32(0.35) * own)
    return np.stack([own[i] * body * (diffuse * key[i] + np.float32(0.8) * sky[i]) + band * shine[i] for i in range(3)])
