"""The head as triangles: skin, eyes, mouth, teeth, ears and neck, with places in a texture.

The first 98 vertices are the WFLW landmarks, so what is painted there moves with them.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.deformation import EXPRESSION, IDENTITY, deformations
from datamodules.face_generator.surface import half_width, landmark_chart, surface

Indices = NDArray[np.int64]

EYES = (tuple(range(60, 68)), tuple(range(68, 76)))
OUTER_LIPS, INNER_LIPS = tuple(range(76, 88)), tuple(range(88, 96))
HOLES = (*EYES, INNER_LIPS)  # each of eight landmarks, from the left corner over the top

# The texture: the skin's chart, below it a tile for the neck and one for both ears; a tile is x, y, width, height.
TEXELS = 14  # texture pixels a cm
CHART_ORIGIN = np.array([-15.0, -12.8])
TEXTURE_SHAPE = (480, 420)
NECK_TILE = (10, 360, 400, 40)
EAR_TILE = (10, 412, 44, 62)


class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    CAVITY = 3
    TEETH = 4


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
        texels: (2, 3, T) texture pixels of the corners; only skin is textured.
        lids: (2, 2, 9) vertices of upper and lower lid of each eye, from the image's left to right.
    """

    neutral: Floats
    identity: Floats
    expression: Floats
    angle: Floats
    torso: Floats
    triangles: Indices
    material: Indices
    faces: Indices
    layer: Indices
    texels: Floats
    lids: Indices

    def deformed(self, identity: Floats, expression: Floats) -> Floats:
        """Vertices (V, 3) in the head's frame for identity (24,) and expression (16,)."""
        return self.neutral + np.tensordot(identity, self.identity, 1) + np.tensordot(expression, self.expression, 1)


class _Parts:
    """Vertices and triangles as they are put together."""

    def __init__(self) -> None:
        self.vertices: list[Floats] = []
        self.triangles: list[Indices] = []
        self.material: list[Indices] = []
        self.texels: list[Floats] = []

    def points(self, vertices: Floats) -> Indices:
        """Add vertices (..., 3); their indices (...)."""
        start = sum(len(v) for v in self.vertices)
        self.vertices.append(vertices.reshape(-1, 3))
        return start + np.arange(vertices.size // 3).reshape(vertices.shape[:-1])

    def cover(self, triangles: Indices, material: Material, texels: Floats | None = None) -> Indices:
        """Add triangles (Q, 3), with texture pixels (Q, 3, 2) if they are skin."""
        self.triangles.append(triangles)
        self.material.append(np.full(len(triangles), int(material)))
        self.texels.append(np.zeros((len(triangles), 3, 2)) if texels is None else texels)
        return triangles


@cache
def head() -> Mesh:
    """The head, built once a process."""
    parts, chart = _Parts(), _skin_chart()
    skin = _skin_triangles(chart)
    parts.points(surface(*chart.T))
    parts.cover(skin, Material.SKIN, texel(chart)[skin])
    lids = np.stack([_rims(eye) for eye in EYES])
    for rims, inside in (
        (lids[0], Material.LEFT_EYE),
        (lids[1], Material.RIGHT_EYE),
        (_rims(INNER_LIPS), Material.CAVITY),
    ):
        parts.cover(rims.ravel()[_grid_triangles(*rims.shape)], inside)
    teeth = _add_teeth(parts)
    neck, neck_triangles = _add_neck(parts)
    ears = [_add_ear(parts, side) for side in (-1, 1)]

    neutral, material = np.concatenate(parts.vertices), np.concatenate(parts.material)
    identity, expression = deformations(neutral)
    for moves, names, kept in (
        (identity, IDENTITY, ("width", "length", "mouth_height")),
        (expression, EXPRESSION, ("jaw_open", "jaw_shift")),
    ):
        moves[np.ix_(np.array([name not in kept for name in names]), teeth)] = 0  # teeth are not flesh
    angle, torso = np.full(len(neutral), np.nan), np.zeros(len(neutral))
    angle[: len(chart)] = chart[:, 0] / half_width(chart[:, 1])
    torso[neck] = np.clip((neutral[neck, 1] - 9.5) / 6, 0, 1)
    return Mesh(
        neutral=neutral,
        identity=identity,
        expression=expression,
        angle=angle,
        torso=torso,
        triangles=np.concatenate(parts.triangles),
        material=material,
        faces=np.concatenate([skin, neck_triangles, *ears]),
        layer=np.select([material == Material.CAVITY, material == Material.TEETH], [0, 1], 2),
        texels=np.ascontiguousarray(np.concatenate(parts.texels).transpose(2, 1, 0), np.float32),
        lids=lids,
    )


def texel(chart: Floats) -> Floats:
    """Texture pixels (..., 2) of places (..., 2) in the skin's chart."""
    return (chart - CHART_ORIGIN) * TEXELS


def closed_curve(points: Floats, per_edge: int) -> Floats:
    """A closed Catmull-Rom curve (n * per_edge, 2) through n points (n, 2), which are among the result."""
    t = np.arange(per_edge)[:, None] / per_edge
    before, after, last = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    return np.concatenate([
        p + t * (b - a) / 2 + t**2 * (a - 2.5 * p + 2 * b - c / 2) + t**3 * (1.5 * (p - b) + (c - a) / 2)
        for a, p, b, c in zip(before, points, after, last, strict=True)
    ])  # fmt: skip


def _grid_triangles(rows: int, columns: int) -> Indices:
    """Two triangles a cell of a grid of vertices whose rows run to the right and columns down."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def _contour(hole: tuple[int, ...]) -> Indices:
    """The 16 vertices round a hole: its landmarks, and one after each, which follow the 98 in `_skin_chart`."""
    between = 98 + 8 * HOLES.index(hole) + np.arange(8)
    return np.stack([np.array(hole), between], axis=1).ravel()


def _rims(hole: tuple[int, ...]) -> Indices:
    """The vertices (2, 9) along the upper and the lower edge of a hole, from left to right."""
    contour = _contour(hole)
    return np.stack([contour[:9], np.roll(contour[::-1], 1)[:9]])


def _skin_chart() -> Floats:
    """Places (S, 2) of the skin's vertices in the chart: landmarks, points between them round the holes, filling."""
    marks = landmark_chart()
    points = np.concatenate([marks, *(closed_curve(marks[list(hole)], 2)[1::2] for hole in HOLES)])
    holes = [closed_curve(marks[list(hole)], 2).astype(np.float32) for hole in HOLES]
    chin = np.concatenate([marks[9:24] * (share, 1) for share in (0.4, 0.8)])  # which curves most
    filling = [np.delete(points, [96, 97], axis=0), chin]
    for spacing, widest, top, bottom in ((1.4, 4.6, -3.2, 10.6), (2.2, np.inf, -9, 11), (3.4, np.inf, -10.8, 8)):
        y, s = np.mgrid[-12 : 11.5 : spacing * 0.87, -15:15.01:spacing]
        s += spacing / 2 * (np.arange(len(s))[:, None] % 2)
        s -= s[:, [0, -1]].mean(axis=1, keepdims=True)  # each row symmetric
        reach = 2.05 if spacing > 3 else 1.45
        inside = (np.abs(s) < np.minimum(widest, reach * half_width(y))) & (y > top) & (y < bottom)
        candidates = np.stack([s[inside], y[inside]], axis=1)
        distance = np.linalg.norm(candidates[:, None] - np.concatenate(filling), axis=-1).min(axis=1)
        outside = [
            max(cv2.pointPolygonTest(hole, (p[0], p[1]), True) for hole in holes) < -0.1 for p in candidates.tolist()
        ]
        filling.append(candidates[(distance > 0.52 * spacing) & np.array(outside)])
    y = np.concatenate([np.linspace(-12.2, -1.5, 9), np.linspace(0, 6.5, 5)])
    edge = np.stack([2.05 * half_width(y), y], axis=1)
    crown = np.array([(0, -12.45), (0, -11.9), (-3.2, -11.4), (3.2, -11.4), (-1.6, -12.1), (1.6, -12.1)])
    return np.concatenate([points, *filling[1:], crown, edge, edge * (-1, 1)])


def _skin_triangles(chart: Floats) -> Indices:
    """Delaunay triangles (T, 3) of the chart, with holes for eyes and mouth."""
    used = np.r_[0:96, 98 : len(chart)]  # the pupils lie in the holes
    net = cv2.Subdiv2D((-20, -20, 40, 40))
    net.insert(chart[used].astype(np.float32).tolist())
    corners = np.asarray(net.getTriangleList()).reshape(-1, 3, 2)
    corners = corners[(np.abs(corners) < 18).all(axis=(1, 2))]
    distance = np.linalg.norm(corners[:, :, None] - chart[used], axis=-1)
    triangles = used[distance.argmin(axis=-1)]
    for within in (*(_contour(hole) for hole in HOLES), np.arange(33)):  # also slivers along the jaw
        triangles = triangles[~np.isin(triangles, within).all(axis=1)]
    centre = chart[triangles].mean(axis=1)
    triangles = triangles[np.abs(centre[:, 0]) < 2.06 * half_width(centre[:, 1])]
    a, b, c = np.moveaxis(chart[triangles], 1, 0)
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return np.where((turn > 0)[:, None], triangles, triangles[:, ::-1])


def _add_teeth(parts: _Parts) -> Indices:
    """Two rows of teeth; their vertices (28,)."""
    arch = np.linspace(-1.4, 1.4, 7)
    added = []
    for edges in ((6.15, 6.9), (7.1, 7.75)):
        rows = [np.stack([2.3 * np.sin(arch), np.full(7, y), -8.0 - 1.5 * np.cos(arch)], axis=-1) for y in edges]
        vertices = parts.points(np.stack(rows))
        parts.cover(vertices.ravel()[_grid_triangles(2, 7)], Material.TEETH)
        added.append(vertices.ravel())
    return np.concatenate(added)


def _add_neck(parts: _Parts) -> tuple[Indices, Indices]:
    """The neck down to the collar and the strip between it and the jaw; the neck's vertices (51,) and triangles."""
    angle = np.linspace(-1.75, 1.75, 17)
    rows = []
    for t, radius, middle in ((0.0, 5.3, 0.6), (0.5, 5.5, -0.4), (1.0, 7.4, -1.6)):
        y = (9.3 + 2.2 * np.cos(angle)) * (1 - t) + t * (16.2 + 2.0 * np.cos(angle))
        rows.append(np.stack([radius * np.sin(angle), y, -(middle + (radius - 0.6) * np.cos(angle))], axis=-1))
    vertices = parts.points(np.stack(rows))
    x, y0, width, height = NECK_TILE
    tile = np.stack(np.meshgrid(x + np.linspace(0, width, 17), y0 + np.linspace(0, height, 3)), axis=-1)
    jaw = np.stack([np.arange(0, 33, 2), vertices[0]])
    strip, cells = _grid_triangles(2, 17), _grid_triangles(3, 17)
    parts.cover(jaw.ravel()[strip], Material.SKIN, tile[[0, 0]].reshape(-1, 2)[strip])
    return vertices.ravel(), parts.cover(vertices.ravel()[cells], Material.SKIN, tile.reshape(-1, 2)[cells])


def _add_ear(parts: _Parts, side: int) -> Indices:
    """The left (-1) or right (1) ear, a fan; its triangles."""
    outline = [
        (0.7, 0.4), (0.0, 2.9), (-0.35, 3.4), (-0.2, 3.9), (0.35, 3.8), (0.9, 2.9), (1.6, 1.6), (1.9, 0.2),
        (1.75, -1.2), (1.2, -2.1), (0.4, -2.35), (-0.25, -1.9), (-0.3, -0.8),
    ]  # fmt: skip
    back, y = np.array(outline).T  # the middle first
    out = np.where(np.arange(len(back)) > 0, 0.55 * np.maximum(back + 0.2, 0), 0.15)
    vertices = parts.points(np.stack([side * (6.95 + out), y + 0.7, 0.3 + 0.75 * back], axis=-1))
    x, y0, width, height = EAR_TILE
    tile = np.stack([x + (back + 0.45) / 2.45 * width, y0 + (y + 2.45) / 6.45 * height], axis=-1)
    n = len(outline) - 1
    fan = np.stack([np.zeros(n, int), 1 + np.arange(n), 1 + (np.arange(n) + 1) % n], axis=1)
    fan = fan[:, ::-1] if side > 0 else fan
    return parts.cover(vertices[fan], Material.SKIN, tile[fan])
