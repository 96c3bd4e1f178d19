"""Rasterises triangles: which of them each pixel shows, and values and textures at the pixel's centre.

Values at K pixels are planes (C, K) of float32: that is several times as fast in numpy as (K, C).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats

Ints = NDArray[np.int64]
Canvas = NDArray[np.uint8]  # a picture (S, S, 3) in sRGB
FRACTION = 4  # bits of a pixel that polygon corners are rounded to
LEAST_AREA = 0.04  # twice the area in pixels below which a triangle is left out


@dataclass(frozen=True)
class Pixels:
    """Pixels that triangles cover, each by the nearest.

    Args:
        at: (K,) flat positions in the canvas.
        triangle: (K,) the triangle seen there.
        second, third: (K,) barycentric coordinates of the triangle's second and third corner.
    """

    at: Ints
    triangle: Ints
    second: Floats
    third: Floats

    def of(self, corners: Floats) -> Floats:
        """Values (C, K) between those of the triangles' corners (C, 3, T)."""
        out = np.empty((len(corners), len(self.at)), np.float32)
        for plane, (first, second, third) in zip(out, corners.astype(np.float32, copy=False), strict=True):
            first.take(self.triangle, out=plane, mode="clip")  # this mode alone writes straight into `out`
            plane += self.second * (second - first).take(self.triangle)
            plane += self.third * (third - first).take(self.triangle)
        return out

    def where(self, chosen: Ints | NDArray[np.bool_]) -> "Pixels":
        """Some of the pixels."""
        return Pixels(self.at[chosen], self.triangle[chosen], self.second[chosen], self.third[chosen])


def rasterise(
    places: Floats,
    depth: Floats,
    triangles: Ints,
    size: int,
    layer: Ints | None = None,
    only: Ints | None = None,
) -> Pixels:
    """The pixels of a ``size`` x ``size`` canvas that triangles (T, 3) of vertices at pixels (V, 2) cover.

    Triangles that face away are left out, and so are those not in ``only``. Farther ones are drawn first; a higher
    ``layer`` (T,) over a lower one.
    """
    x, y = places.T.astype(np.float32)[:, triangles.T]  # (3, T) each
    x1, y1, x2, y2 = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = x1 * y2 - y1 * x2
    inside = (x.max(axis=0) > -1) & (y.max(axis=0) > -1) & (x.min(axis=0) < size) & (y.min(axis=0) < size)
    front = (area > LEAST_AREA) & inside
    shown = np.flatnonzero(front) if only is None else only[front[only]]
    key = corner_mean(depth, triangles)[shown]
    if layer is not None:
        key = key - 1e6 * layer[shown]
    order = shown[np.argsort(-key)]
    canvas = np.zeros((size, size), np.int32)
    corners = np.empty((len(order), 3, 2), np.int32)
    corners[..., 0], corners[..., 1] = (np.rint(c[:, order].T * np.float32(1 << FRACTION)) for c in (x, y))
    fill = cv2.fillConvexPoly
    for index, corner in zip((order + 1).tolist(), corners, strict=True):
        fill(canvas, corner, index, cv2.LINE_8, FRACTION)
    flat = canvas.ravel()
    at = np.flatnonzero(flat != 0)
    triangle = np.take(flat, at).astype(np.int64) - 1
    row, column = (np.take(index, at) for index in _positions(size))
    scale = 1 / np.maximum(area, LEAST_AREA)
    # Affine functions of the pixel, limited to the triangle: a sliver's values must not run away beside it.
    weights = []
    for dx, dy in ((y2 * scale, -x2 * scale), (-y1 * scale, x1 * scale)):
        weight = dx.take(triangle) * column
        weight += dy.take(triangle) * row
        weight -= (dx * x[0] + dy * y[0]).take(triangle)
        weights.append(np.clip(weight, 0, 1, out=weight))
    second, third = weights
    excess = np.maximum(second + third, 1)
    return Pixels(at, triangle, second / excess, third / excess)


@lru_cache(maxsize=4)
def _positions(size: int) -> tuple[Floats, Floats]:
    """Row and column (S * S,) of each pixel of a canvas."""
    row, column = np.indices((size, size), np.float32).reshape(2, -1)
    return row, column


def corner_mean(values: Floats, triangles: Ints) -> Floats:
    """Mean (T,) over each triangle's corners of values (V,) at the vertices."""
    first, second, third = triangles.T
    return (values.take(first) + values.take(second) + values.take(third)) / 3


def corner_values(values: Floats, triangles: Ints) -> Floats:
    """Values (C, 3, T) at the triangles' corners of values (V, C) at the vertices."""
    return values.T.astype(np.float32)[:, triangles.T]


def smooth_normals(vertices: Floats, triangles: Ints) -> Floats:
    """Unit normals (V, 3), pointing out, of a smooth surface through the vertices (V, 3)."""
    a, b, c = vertices.T[:, triangles.T].transpose(1, 0, 2)
    (x1, y1, z1), (x2, y2, z2) = c - a, b - a
    faces = (y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2)
    flat = triangles.T.ravel()
    total = np.stack([np.bincount(flat, np.tile(face, 3), len(vertices)) for face in faces], axis=1)
    return total / np.maximum(np.sqrt((total**2).sum(axis=1, keepdims=True)), 1e-9)


def sampled(texture: Canvas, u: Floats, v: Floats) -> NDArray[np.uint8]:
    """Bilinear samples (K, C) of a texture, repeated without end, at its pixels (u, v), each (K,)."""
    count = len(u)
    grid = np.zeros((-(-count // 64), 64, 2), np.float32)  # OpenCV wants neither side over 32,767
    flat = grid.reshape(-1, 2)
    flat[:count, 0], flat[:count, 1] = u, v
    none: Any = None
    samples = cv2.remap(texture, grid, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(samples, np.uint8).reshape(len(flat), -1)[:count]


_PIXEL = np.dtype("V3")  # three bytes as one item: numpy gathers and scatters these three times as fast as rows


def pixels_of(canvas: Canvas, at: Ints) -> Canvas:
    """The colours (K, 3) of some pixels (K,) of a canvas."""
    return canvas.view(_PIXEL).ravel()[at].view(np.uint8).reshape(-1, 3)


def paint(canvas: Canvas, at: Ints, colour: Floats, alpha: Floats | None = None) -> None:
    """Set pixels (K,) of the canvas to a linear colour (3, K), or mix it in by ``alpha`` (K,) from 0 to 1."""
    shown = np.sqrt(np.minimum(np.maximum(colour, 0), 1))
    shown *= np.float32(255)
    if alpha is not None:
        below = pixels_of(canvas, at).T
        shown = below + alpha * (shown - below)
    shown += np.float32(0.5)
    canvas.reshape(-1, 3).view(_PIXEL).ravel()[at] = shown.T.astype(np.uint8, order="C").view(_PIXEL).ravel()


def mix_over(canvas: Canvas, at: Ints, behind: Canvas, alpha: Floats) -> None:
    """Let pixels (K,) of the canvas keep only ``alpha`` (K,) of their colour, over what was ``behind`` (K, 3)."""
    flat = canvas.reshape(-1, 3)
    flat[at] = behind + alpha[:, None] * (flat[at].astype(np.float32) - behind)
