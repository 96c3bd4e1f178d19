"""Things in front of a generated face, as outlines: they are drawn from them, and hide the landmarks within them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.camera import Shot
from datamodules.face_generator.deformation import deformations
from datamodules.face_generator.parameters import OCCLUDERS, FaceParameters
from datamodules.face_generator.raster import Canvas
from datamodules.face_generator.scene import fixed, seen
from datamodules.face_generator.surface import half_width, surface
from datamodules.face_generator.texture import textures

SILHOUETTE = 256  # pixels a side at which landmarks are looked up


@dataclass(frozen=True)
class Outline:
    """A closed outline (n, 2) in pixels, filled with an sRGB colour (3,).

    ``sheen`` is the contrast of light and shade across it, 0 for none. Below an ``opacity`` of 0.5 it hides nothing.
    """

    corners: Floats
    colour: Floats
    sheen: float = 0.0
    opacity: float = 1.0


def outlines(shot: Shot) -> list[Outline]:
    """What is in front of this face, farthest first."""
    glasses = _frames(shot, shot.face.cover * 0.35, 0.22) if shot.face.glasses else ()
    return [*glasses, *_obstacle(shot)]


def _obstacle(shot: Shot) -> Iterable[Outline]:
    """What is in front of this face but clear glasses, which hide nothing."""
    shapes = {
        "sunglasses": _sunglasses,
        "mask": _mask,
        "hand": _hand,
        "object": _object,
        "strand": _strand,
        "scarf": _scarf,
    }
    kind = OCCLUDERS[int(shot.face.occluder)]
    return shapes[kind](shot) if kind in shapes else ()


def hidden(face: FaceParameters, places: Floats) -> NDArray[np.bool_]:
    """Which landmarks (98,) at ``places`` (98, 2), 0 to 1 across the canvas, an occluder hides from view."""
    covered = np.zeros(len(places), bool)
    if not face.occluder:
        return covered
    silhouette = np.zeros((SILHOUETTE, SILHOUETTE), np.uint8)
    for outline in _obstacle(Shot(face, SILHOUETTE)):
        if outline.opacity >= 0.5:
            cv2.fillPoly(silhouette, [_fixed(outline.corners, SILHOUETTE)], 1, cv2.LINE_8, 4)
    column, row = np.clip(np.round(places * SILHOUETTE - 0.5), 0, SILHOUETTE - 1).astype(int).T
    return silhouette[row, column] > 0


def occlude(canvas: Canvas, shot: Shot) -> None:
    """Draw what is in front of the face on a canvas (S, S, 3)."""
    size, face = shot.size, shot.face
    lamp = face.sky + 0.55 * face.key * max(0.2, -float(face.light[2]))
    for outline in outlines(shot):
        points = _fixed(outline.corners, size)
        colour = seen(outline.colour, lamp)
        if outline.opacity == 1 and outline.sheen == 0:
            cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA, 4)
            continue
        x0, y0 = np.clip(points.min(axis=0) // 16 - 1, 0, size).tolist()
        x1, y1 = np.clip(points.max(axis=0) // 16 + 2, 0, size).tolist()
        if x0 >= x1 or y0 >= y1:
            continue
        _fill(canvas[y0:y1, x0:x1], points - np.array([x0, y0], np.int32) * 16, colour, outline, face.light)


_GREYS = np.arange(256)[:, None, None]


def _fill(
    area: Canvas, points: NDArray[np.int32], colour: tuple[float, float, float], outline: Outline, light: Floats
) -> None:
    """Fill an outline within a part (h, w, 3) of the canvas, lighter towards the lamp.

    Shade and grain are stretched over the whole of it, also where it is out of the picture: they move with it.
    """
    height, width = area.shape[:2]
    slope = 35 * (np.array([[-1, 1], [-1, 1]]) * light[0] + np.array([[-1, -1], [1, 1]]) * light[1])
    grain = _stretched(textures().noise[40:140, 60:160], points / 16, width, height)
    plane = _stretched(np.clip(127 + slope, 0, 255).astype(np.uint8), points / 16, width, height)
    shade = cv2.addWeighted(plane, 1.0, grain, 0.15, -19)
    tones = np.clip(1 + (_GREYS - 127) / 100 * outline.sheen, 0.1, 3) * colour
    lit = cv2.LUT(cv2.merge([shade, shade, shade]), np.minimum(tones, 255).astype(np.uint8))
    below = area.copy()
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_8, 4)
    cv2.fillPoly(area, [points], colour, cv2.LINE_AA, 4)
    cv2.copyTo(lit, mask, area)
    if outline.opacity < 1:
        cv2.addWeighted(area, outline.opacity, below, 1 - outline.opacity, 0, dst=area)


def _stretched(patch: Canvas, corners: Floats, width: int, height: int) -> Canvas:
    """A square patch as it is seen in ``width`` x ``height`` pixels, when stretched over the box of corners (n, 2)."""
    start = corners.min(axis=0)
    scale = len(patch) / np.maximum(corners.max(axis=0) - start, 1)
    back = np.concatenate([np.diag(scale), ((0.5 - start) * scale - 0.5)[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(patch, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _fixed(corners: Floats, size: int) -> NDArray[np.int32]:
    """Corners in sixteenths of a pixel, kept near the canvas."""
    return fixed(np.clip(corners, -2 * size, 3 * size))


def _on_head(shot: Shot, points: Floats) -> Floats:
    return shot.place(points)[0]


def _held(shot: Shot, points: Floats) -> Floats:
    """Pixels (P, 2) of points (P, 2) in cm beside the face, of something that may move past it."""
    return shot.beside(points + shot.face.passage)


def _capsule(start: Floats, end: Floats, first: float, last: float) -> Floats:
    """Outline (20, 2) round a segment with radii ``first`` and ``last`` at its ends."""
    along = np.arctan2(*(end - start)[::-1])
    a = np.linspace(np.pi / 2, 3 * np.pi / 2, 10)
    arcs = [np.stack([np.cos(along + t), np.sin(along + t)], axis=1) for t in (a, a + np.pi)]
    return np.concatenate([start + first * arcs[0], end + last * arcs[1]])


def _rounded(width: float, height: float, power: float, n: int = 28) -> Floats:
    """A superellipse (n, 2): power 2 is an ellipse, larger is squarer."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    return np.stack(
        [width * np.sign(c) * np.abs(c) ** (2 / power), height * np.sign(s) * np.abs(s) ** (2 / power)], axis=1
    )


def _lenses(face: FaceParameters) -> list[Floats]:
    """The two rims (28, 3) of glasses in the head's frame."""
    width, height, power = 2.35 + 0.5 * face.place[0], 1.55 + 0.9 * face.place[1], 2.2 + 2.3 * face.place[2]
    out = []
    for side in (-1, 1):
        x, y = (_rounded(width, height, power) * (side, 1) + (side * 3.25, 0.45)).T
        out.append(np.stack([x, y, -(10.5 - 0.075 * x**2)], axis=1))
    return out


_BRIDGE = np.array([
    (-0.95, 0.1, -10.4), (0, -0.25, -10.7), (0.95, 0.1, -10.4),
    (0.95, 0.35, -10.4), (0, 0, -10.7), (-0.95, 0.35, -10.4),
])  # fmt: skip


def _frames(shot: Shot, colour: Floats, thickness: float) -> Iterator[Outline]:
    """Rims, bridge and temples of glasses."""
    face = shot.face
    rims = _lenses(face)
    for rim in rims:
        outer = _on_head(shot, np.concatenate([rim, rim[:1]]))
        centre = outer.mean(axis=0)
        inner = centre + (outer - centre) * (1 - thickness / 2.2)
        yield Outline(np.concatenate([outer, inner[::-1]]), colour)
    yield Outline(_on_head(shot, _BRIDGE), colour)
    for side in (-1, 1):
        reach = abs(rims[1][:, 0]).max()
        temple = np.array([(reach, 0.0, -7.6), (7.7, 0.3, 0.0), (7.7, 0.62, 0.0), (reach, 0.32, -7.6)])
        yield from _band(shot, temple, side, colour)


def _band(shot: Shot, corners: Floats, side: int, colour: Floats) -> Iterator[Outline]:
    """A band from something before the face to the right (1) or left (-1) ear, while its outer face (4, 3) shows."""
    (x0, y0), (x1, y1), (x2, y2), _ = _on_head(shot, corners * (side, 1, 1)).tolist()
    if side * ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) > 0:
        yield Outline(_on_head(shot, corners * (side, 1, 1)), colour)


def _sunglasses(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    dark = np.array([0.09, 0.08, 0.08]) + 0.12 * face.cover
    yield from _frames(shot, dark * 0.6, 0.25)
    for rim in _lenses(face):
        corners = _on_head(shot, rim)
        yield Outline(corners, dark, sheen=0.9)
        glare = corners[[2, 6, 10, 8]] * 0.55 + corners.mean(axis=0) * 0.45
        yield Outline(glare, np.array([0.75, 0.8, 0.85]), opacity=0.16)


@cache
def _lower_face() -> tuple[Floats, Floats, Floats]:
    """Points (P, 3) over nose, cheeks and chin, somewhat outside the skin, with their deformations."""
    y, share = np.meshgrid(np.linspace(2.2, 11.6, 12), np.linspace(-1, 1, 13), indexing="ij")
    keep = y > 2.2 + 1.6 * np.abs(share)
    y, share = y[keep], share[keep]
    points = surface(share * 1.5 * half_width(y), y)
    moves = deformations(points)
    outward = points - np.array([0, 5.0, -2.0])
    points = points + 0.5 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    return points, *moves


def _mask(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    neutral, identity, expression = _lower_face()
    moved = neutral + np.tensordot(face.identity, identity, 1) + np.tensordot(face.expression, expression, 1)
    colour = np.array([(0.93, 0.94, 0.95), (0.55, 0.75, 0.85), (0.12, 0.12, 0.13)])[int(face.place[0] * 2.999)]
    for side in (-1, 1):
        for y0, y1 in ((4.4, 0.0), (8.0, 3.4)):
            strap = np.array([(6.4, y0, -3.0), (7.3, y1, 0.3), (7.3, y1 + 0.3, 0.3), (6.4, y0 + 0.3, -3.0)])
            yield from _band(shot, strap, side, colour * 0.92)
    hull = cv2.convexHull(_on_head(shot, moved).astype(np.float32))[:, 0].astype(float)
    yield Outline(hull, colour, sheen=0.35)
    for level in (5.4, 7.0, 8.6):
        arc = np.linspace(-1.15, 1.15, 9)
        points = np.stack([6.0 * np.sin(arc), level + 0.5 * np.cos(arc), -2.5 - 7.9 * np.cos(arc)], axis=1)
        fold = _on_head(shot, np.concatenate([points, points[::-1] + np.array([0, 0.16, 0])]))
        yield Outline(fold, colour * 0.9)


def _scarf(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    yaw = float(face.angles[0])
    arc = np.linspace(max(-2.0, -1.6 - yaw), min(2.0, 1.6 - yaw), 17)  # the part that faces the camera
    top = 7.6 + 3.0 * face.place[1]
    ring = np.stack(
        [9.2 * np.sin(arc), top + 1.0 * np.cos(2 * arc + face.place[0]), -(1.5 + 9.6 * np.cos(arc))], axis=1
    )
    low = np.stack([9.8 * np.sin(arc), 17 + 0 * arc, -(0.5 + 8.0 * np.cos(arc))], axis=1)
    yield Outline(_on_head(shot, np.concatenate([ring, low[::-1]])), face.cover, sheen=0.7)
    for step in (0.22, 0.5, 0.75):
        fold = ring + step * (low - ring)
        band = np.concatenate([fold, fold[::-1] + np.array([0, 0.35, 0])])
        yield Outline(_on_head(shot, band), face.cover * 0.82)


def _hand(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    side = 1.0 if face.place[0] > 0.5 else -1.0
    wrist = np.array([side * (5.5 + 3 * face.place[1]), 13.0 + 2 * face.place[2]])
    reach = np.array([side * (-1.0 + 5.0 * face.place[3]), 2.0 + 5.5 * face.place[4]])  # where the middle knuckle is
    forward = (reach - wrist) / np.linalg.norm(reach - wrist)
    across = np.array([-forward[1], forward[0]]) * side
    skin = face.skin * [0.98, 0.93, 0.92]
    yield Outline(_held(shot, _capsule(wrist - 22 * forward, wrist + 2 * forward, 3.0, 3.3)), skin * 0.94, sheen=0.5)
    parts = [(_capsule(wrist + 2 * forward, reach - 1.2 * forward, 3.4, 3.9))]
    thumb = wrist + 3 * forward + 3.2 * across
    parts.append(_capsule(thumb, thumb + 4.2 * forward + 2.4 * across, 1.25, 0.85))
    for finger, (length, spread) in enumerate(((6.2, -0.16), (7.2, -0.05), (6.7, 0.05), (5.2, 0.16))):
        base = reach + across * (1.5 - finger) * 1.85 - 1.0 * forward
        tip = base + length * (0.6 + 0.4 * face.place[5]) * (forward - spread * 1.2 * across)
        parts.append(_capsule(base, tip, 1.02, 0.78))
    for part in parts:
        centre = part.mean(axis=0)
        yield Outline(_held(shot, part), skin * 0.66)
        yield Outline(_held(shot, centre + (part - centre) * (0.93, 0.96)), skin, sheen=0.45)


def _object(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    p = face.place
    centre = np.array([(p[0] - 0.5) * 13, 1.0 + 8.5 * p[1]])
    turn = (p[2] - 0.5) * 1.6
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def at(points: Floats) -> Floats:
        return _held(shot, centre + points @ spin)

    colour = face.cover
    kind = int(p[3] * 3.999)
    if kind == 0:  # a cup
        body = np.array([(-3.2, -4), (3.2, -4), (2.5, 5), (-2.5, 5)])
        yield Outline(at(body), colour, sheen=0.8)
        yield Outline(at(_rounded(3.2, 0.8, 2) + np.array((0, -4))), colour * 0.6)
        yield Outline(at(body * (1.0, 0.35) + (0, 1)), 1 - 0.6 * colour)
    elif kind == 1:  # a telephone
        yield Outline(at(_rounded(3.4, 6.8, 8)), np.array([0.06, 0.06, 0.07]) + 0.15 * colour, sheen=0.6)
        yield Outline(at(_rounded(1.2, 1.4, 5) + np.array((-1.6, -4.6))), np.array([0.02, 0.02, 0.02]))
        yield Outline(at(_rounded(0.5, 0.5, 2) + np.array((-1.6, -4.6))), np.array([0.35, 0.38, 0.42]))
    elif kind == 2:  # a microphone
        grip = _capsule(np.array([0.0, 2.0]), np.array([0.5, 16.0]), 1.2, 1.0)
        yield Outline(at(grip), np.array([0.12, 0.12, 0.12]), sheen=0.9)
        yield Outline(at(_rounded(2.4, 2.9, 2)), 0.25 + 0.35 * colour, sheen=1.0)
        yield Outline(at(_rounded(2.4, 0.5, 3) + np.array((0, 1.6))), np.array([0.5, 0.5, 0.5]))
    else:  # a sheet or book held up
        page = _rounded(5.5, 4.2, 12) * (1, 0.6 + 0.5 * p[4])
        yield Outline(at(page), 0.35 + 0.65 * colour, sheen=0.3)
        for line in np.linspace(-0.6, 0.6, 5):
            yield Outline(at(page * (0.8, 0.03) + (0, line * 4.2 * (0.6 + 0.5 * p[4]))), 0.5 * colour)


def _strand(shot: Shot) -> Iterator[Outline]:
    face = shot.face
    p = face.place
    side = 1.0 if p[0] > 0.5 else -1.0
    t = np.linspace(0, 1, 10)
    for lock in range(9):
        start = np.array([side * (-1.2 + 0.45 * lock + 2 * p[1]), -8.0])
        end = np.array([side * (2.0 + 0.6 * lock), 1.0 + 8 * p[2] + 1.3 * np.sin(2.4 * lock + 9 * p[3])])
        bulge = side * (1.5 + p[4]) * np.sin(np.pi * t)
        middle = start + t[:, None] * (end - start) + np.stack([bulge, 0 * t], axis=1)
        width = (0.55 * (1 - t) ** 0.7 + 0.04)[:, None] * [1.0, 0]
        lift = 5.0 + 4.6 * np.cos(np.clip(middle[:, :1] / 7.4, -1.2, 1.2))
        points = np.concatenate([np.concatenate([m, -lift], axis=1) for m in (middle - width, (middle + width))])
        points[10:] = points[10:][::-1]
        yield Outline(_on_head(shot, points), face.hair * (1.2 - 0.45 * (lock % 3) / 2))
