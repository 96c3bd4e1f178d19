"""The head of `shape` as triangles: skin, eyes, mouth, teeth, ears and neck, with places in a texture.

The first 98 vertices are the WFLW landmarks, so what is painted there moves with them.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.shape import EXPRESSION, IDENTITY, deformations, half_width, landmark_chart, surface

Indices = NDArray[np.int64]

EYES = (tuple(range(60, 68)), tuple(range(68, 76)))
OUTER_LIPS, INNER_LIPS = tuple(range(76, 88)), tuple(range(88, 96))

# The texture: the skin's chart at 14 pixels a cm, below it the neck and the two ears.
TEXELS = 14
CHART_ORIGIN = np.array([-15.0, -12.8])
TEXTURE_SHAPE = (480, 420)
NECK_TILE = np.array([10.0, 360.0, 400.0, 40.0])  # x, y, width, height
EAR_TILE = np.array([10.0, 412.0, 44.0, 62.0])
class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    CAVITY = 3
    TEETH = 4


def texel(chart: Floats) -> Floats:
    """Texture pixels (..., 2) of places (..., 2) in the skin's chart."""
    return (chart - CHART_ORIGIN) * TEXELS


def closed_curve(points: Floats, per_edge: int) -> Floats:
    """A closed Catmull-Rom curve (n * per_edge, ...) through n points (n, ...), which are among the result."""
    t = np.arange(per_edge).reshape(-1, *[1] * (points.ndim - 1)) / per_edge
    before, after, last = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    out = [
        p + t * (b - a) / 2 + t**2 * (a - 2.5 * p + 2 * b - c / 2) + t**3 * (1.5 * (p - b) + (c - a) / 2)
        for a, p, b, c in zip(before, points, after, last, strict=True)
    ]
    return np.concatenate(out)


@dataclass(frozen=True)
class Mesh:
    """V vertices and T triangles of the neutral head.

    Args:
        neutral: (V, 3) in cm.
        identity: (24, V, 3) movement by each identity coefficient.
        expression: (16, V, 3) movement by each expression coefficient.
        angle: (V,) round the head, 0 at the nose; for the skin of the head, else NaN.
        torso: (V,) share of the torso's rotation, against the head's.
        triangles: (T, 3) vertices, clockwise as seen from outside.
        material: (T,) `Material`.
        faces: those of the triangles that normals are averaged over: skin without the crease below the jaw.
        layer: (T,) what is drawn over what, whatever their distance: the dark of the mouth, teeth, all else.
        texels: (2, 3, T) texture pixels of the corners; for eyes, mouth and teeth the renderer uses the vertices.
        lids: (2, 2, 9) vertices of upper and lower lid of each eye, from the image's left to right.
    """

    neutral: Floats
    identity: Floats
    expression: Floats
    angle: Floats
    torso: Floats
    triangles: Indices
    material: NDArray[np.int64]
    faces: Indices
    layer: Indices
    texels: Floats
    lids: Indices

    def deformed(self, identity: Floats, expression: Floats) -> Floats:
        """Vertices (V, 3) in the head's frame for identity (24,) and expression (16,)."""
        return self.neutral + np.tensordot(identity, self.identity, 1) + np.tensordot(expression, self.expression, 1)


@cache
def head() -> Mesh:
    """The head, built once a process."""
    chart = _skin_chart()
    skin = _skin_triangles(chart)
    vertices = [surface(chart[:, 0], chart[:, 1])]
    triangles, material, texels = [skin], [np.zeros(len(skin), int)], [texel(chart)[skin]]
    count = len(chart)

    lids = np.zeros((2, 2, 9), int)
    for eye, kind in enumerate((Material.LEFT_EYE, Material.RIGHT_EYE)):
        contour = _contour_vertices(EYES[eye])
        lids[eye] = contour[:9], np.roll(contour[::-1], 1)[:9]
        _append(triangles, material, texels, _grid_triangles(lids[eye]), kind)

    contour = _contour_vertices(INNER_LIPS)
    grid = np.stack([contour[:9], np.roll(contour[::-1], 1)[:9]])
    _append(triangles, material, texels, _grid_triangles(grid), Material.CAVITY)

    arch = np.linspace(-1, 1, 7)
    for top, bottom in ((6.15, 6.9), (7.1, 7.75)):
        rows = [np.stack([2.3 * np.sin(arch * 1.4), y + 0 * arch, -8.0 - 1.5 * np.cos(arch * 1.4)], -1) for y in (top, bottom)]
        vertices += rows
        _append(triangles, material, texels, _grid_triangles(count + np.arange(14).reshape(2, 7)), Material.TEETH)
        count += 14
    rigid = np.arange(count - 28, count)

    neck_start = count
    neck_grid, neck_vertices = _neck()
    vertices.append(neck_vertices)
    grid = count + neck_grid
    u = np.linspace(0, 1, grid.shape[1]) * NECK_TILE[2] + NECK_TILE[0]
    v = np.linspace(0, 1, grid.shape[0]) * NECK_TILE[3] + NECK_TILE[1]
    place = np.zeros((count + neck_vertices.shape[0], 2))
    place[grid] = np.stack(np.meshgrid(u, v), axis=-1)
    count += len(neck_vertices)
    neck = _grid_triangles(grid)
    under = _grid_triangles(np.stack([np.arange(0, 33, 2), grid[0]]))
    place_under = np.concatenate([texel(chart[:33]), place[33:]])
    place_under[:33:2] = place[grid[0]]
    for part, where in ((neck, place), (under, place_under)):
        _append(triangles, material, texels, part, Material.SKIN, where[part])

    ears = []
    for side in (-1, 1):
        fan, ear_vertices, ear_place = _ear(side)
        ears.append(fan + count)
        vertices.append(ear_vertices)
        _append(triangles, material, texels, fan + count, Material.SKIN, ear_place[fan])
        count += len(ear_vertices)

    neutral = np.concatenate(vertices)
    identity, expression = deformations(neutral)
    only_jaw = np.array([name in ("jaw_open", "jaw_shift") for name in EXPRESSION])
    kept = np.array([name in ("width", "length", "mouth_height") for name in IDENTITY])
    expression[np.ix_(~only_jaw, rigid)] = 0
    identity[np.ix_(~kept, rigid)] = 0
    angle = np.full(count, np.nan)
    angle[: len(chart)] = chart[:, 0] / half_width(chart[:, 1])
    torso = np.zeros(count)
    lower = np.arange(neck_start, neck_start + len(neck_vertices))
    torso[lower] = np.clip((neutral[lower, 1] - 9.5) / 6, 0, 1)
    triangle, kind = np.concatenate(triangles), np.concatenate(material)
    return Mesh(
        neutral=neutral,
        identity=identity,
        expression=expression,
        angle=angle,
        torso=torso,
        triangles=triangle,
        material=kind,
        faces=np.concatenate([skin, neck, *ears]),
        layer=np.select([kind == Material.CAVITY, kind == Material.TEETH], [0, 1], 2),
        texels=np.ascontiguousarray(np.concatenate(texels).transpose(2, 1, 0), np.float32),
        lids=lids,
    )


def _append(triangles: list, material: list, texels: list, new: Indices, kind: Material, place: Floats | None = None) -> None:
    triangles.append(new)
    material.append(np.full(len(new), int(kind)))
    texels.append(np.zeros((len(new), 3, 2)) if place is None else place)


def _grid_triangles(grid: Indices) -> Indices:
    """Two triangles a cell of a grid (R, C) of vertices whose rows run to the right and columns down."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


_CONTOURS = (*EYES, INNER_LIPS)


def _contour_vertices(landmarks: tuple[int, ...]) -> Indices:
    """Vertices round an eye or lip: its landmarks and one between each two, which follow the 98 in `_skin_chart`."""
    start = 98
    for contour in _CONTOURS:
        if contour == landmarks:
            break
        start += len(contour)
    return np.stack([np.array(landmarks), start + np.arange(len(landmarks))], axis=1).ravel()


def _skin_chart() -> Floats:
    """Places (S, 2) of the skin's vertices in the chart: landmarks, points between them along lids and lips, filling."""
    marks = landmark_chart()
    between = [closed_curve(marks[list(contour)], 2)[1::2] for contour in _CONTOURS]
    points = np.concatenate([marks[:96], marks[96:], *between])
    holes = [closed_curve(marks[list(contour)], 2) for contour in (*EYES, INNER_LIPS)]
    filling = []
    for spacing, inside in (
        (1.25, lambda s, y: (np.abs(s) < 4.6) & (y > -3.2) & (y < 10.6)),
        (2.2, lambda s, y: (np.abs(s / half_width(y)) < 1.45) & (y > -9) & (y < 11)),
        (3.2, lambda s, y: (np.abs(s / half_width(y)) < 2.05) & (y > -10.8) & (y < 8)),
    ):
        y, s = np.mgrid[-12 : 11.5 : spacing * 0.87, -15 : 15.01 : spacing]
        s = s + spacing / 2 * (np.arange(len(s))[:, None] % 2)
        s = s - s[:, [0, -1]].mean(axis=1, keepdims=True)  # each row symmetric
        candidates = np.stack([s[inside(s, y)], y[inside(s, y)]], axis=1)
        taken = np.concatenate([points[:96], points[98:], *filling])
        distance = np.linalg.norm(candidates[:, None] - taken, axis=-1).min(axis=1)
        free = distance > 0.52 * spacing
        for hole in holes:
            polygon = hole.astype(np.float32)
            free &= np.array([cv2.pointPolygonTest(polygon, (float(p[0]), float(p[1])), True) < -0.1 for p in candidates])
        filling.append(candidates[free])
    rim_y = np.linspace(-12.2, -1.5, 9)
    rim = np.stack([2.05 * half_width(rim_y), rim_y], axis=1)
    low = np.linspace(0, 6.5, 5)
    rim = np.concatenate([rim, np.stack([2.05 * half_width(low), low], axis=1)])
    crown = np.array([(0, -12.45), (0, -11.9), (-3.2, -11.4), (3.2, -11.4), (-1.6, -12.1), (1.6, -12.1)])
    return np.concatenate([points, *filling, crown, rim, rim * (-1, 1)])


def _skin_triangles(chart: Floats) -> Indices:
    """Delaunay triangles (T, 3) of the chart, with holes for eyes and mouth."""
    used = np.r_[0:96, 98 : len(chart)]  # the pupils lie in the holes
    net = cv2.Subdiv2D((-20, -20, 40, 40))
    net.insert(chart[used].astype(np.float32).tolist())
    corners = net.getTriangleList().reshape(-1, 3, 2)
    corners = corners[(np.abs(corners) < 18).all(axis=(1, 2))]
    distance = np.linalg.norm(corners[:, :, None] - chart[used], axis=-1)
    triangles = used[distance.argmin(axis=-1)]
    for contour in (*EYES, INNER_LIPS):
        triangles = triangles[~np.isin(triangles, _contour_vertices(contour)).all(axis=1)]
    place = chart[triangles]
    centre = place.mean(axis=1)
    triangles = triangles[np.abs(centre[:, 0]) < 2.06 * half_width(centre[:, 1])]
    below = (np.isin(triangles, range(33)).all(axis=1))  # slivers between points of the jaw's rim
    triangles = triangles[~below]
    a, b, c = np.moveaxis(chart[triangles], 1, 0)
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return np.where((turn > 0)[:, None], triangles, triangles[:, ::-1])


def _neck() -> tuple[Indices, Floats]:
    """A grid (3, 17) of vertices from below the jaw to the collar, and the vertices (51, 3)."""
    angle = np.linspace(-1.75, 1.75, 17)
    top = 9.3 + 2.2 * np.cos(angle)
    rows = []
    for t, radius, middle in ((0, 5.3, 0.6), (0.5, 5.5, -0.4), (1.0, 7.4, -1.6)):
        y = top * (1 - t) + t * (16.5 + 1.2 * np.cos(angle))
        rows.append(np.stack([radius * np.sin(angle), y, -(middle + (radius - 0.6) * np.cos(angle))], axis=-1))
    return np.arange(17 * len(rows)).reshape(len(rows), 17), np.concatenate(rows)


def _ear(side: int) -> tuple[Indices, Floats, Floats]:
    """A fan of triangles, vertices (V, 3) and texture places (V, 2) of the left (-1) or right (1) ear."""
    outline = np.array([
        (0.0, 2.9), (-0.35, 3.4), (-0.2, 3.9), (0.35, 3.8), (0.9, 2.9), (1.6, 1.6), (1.9, 0.2), (1.75, -1.2),
        (1.2, -2.1), (0.4, -2.35), (-0.25, -1.9), (-0.3, -0.8),
    ])  # fmt: skip
    points = np.concatenate([[[0.7, 0.4]], outline])
    out = 0.55 * np.clip(points[:, 0] + 0.2, 0, None)
    out[0] = 0.15
    x = side * (6.95 + out)
    vertices = np.stack([x, points[:, 1] + 0.7, 0.3 + 0.75 * points[:, 0]], axis=-1)
    place = EAR_TILE[:2] + (points - [-0.45, -2.45]) / [2.45, 6.45] * EAR_TILE[2:]
    n = len(outline)
    fan = np.stack([np.zeros(n, int), 1 + np.arange(n), 1 + (np.arange(n) + 1) % n], axis=1)
    return fan[:, ::-1] if side > 0 else fan, vertices, place
