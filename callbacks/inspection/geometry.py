"""Annotations held against each other: where landmarks lie, and whether left and right are what they should be."""

import numpy as np
from numpy.typing import NDArray

from datamodules.markup import Markup

Floats = NDArray[np.floating]
Rows = NDArray[np.bool_]

SAMPLED = 5000  # faces that the mean shape is made of
CLEARLY = 0.05  # by how much the fit of exchanged names must be better


def share_outside(landmarks: Floats, box: Floats) -> Floats:
    """The share (M,) of the landmarks (M, N, 2) of each face outside its box (M, 4)."""
    inside = (landmarks >= box[:, None, :2]) & (landmarks <= box[:, None, 2:])
    return 1 - inside.all(axis=-1).mean(axis=1)


def image_box(width: NDArray[np.int64], height: NDArray[np.int64]) -> Floats:
    """The rectangles (M, 4) of images, from the outer edges of their pixels."""
    zero = np.zeros(len(width))
    return np.stack([zero, zero, width, height], axis=1) - 0.5


def tight_box(landmarks: Floats) -> Floats:
    """The boxes (M, 4) of landmarks (M, N, 2)."""
    return np.concatenate([landmarks.min(axis=1), landmarks.max(axis=1)], axis=1)


def overlap(first: Floats, second: Floats) -> float:
    """Intersection over union of two boxes (4,)."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return common / (areas - common) if areas > common else 0.0


def meet(first: Floats, second: Floats) -> Rows:
    """Which boxes (M, 4) have an area in common with those of the same rows."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    return np.asarray((sides > 0).all(axis=1))


def swapped(landmarks: Floats, markup: Markup) -> Rows:
    """Which faces (M,) have the names of left and right exchanged: the flip test.

    A face is turned, moved and scaled, but not mirrored, onto the mean shape of all. With left and right exchanged it
    then fits as badly as a mirror image of the mean does; where it fits clearly *better* after the landmarks were
    renumbered by ``markup.flip``, they were exchanged before. The mean is that of the majority, so a dataset exchanged
    as a whole passes; `left_is_right` sees that.
    """
    if tuple(markup.flip) == tuple(range(markup.num_landmarks)):
        return np.zeros(len(landmarks), bool)
    mean = _mean_shape(_shapes(landmarks[:: len(landmarks) // SAMPLED + 1]))
    found = np.zeros(len(landmarks), bool)
    for start in range(0, len(found), SAMPLED):  # as complex numbers, all at once would take much memory
        rows = slice(start, start + SAMPLED)
        shapes = _shapes(landmarks[rows])
        found[rows] = fit(shapes[:, list(markup.flip)], mean) > fit(shapes, mean) + CLEARLY
    return found


def left_is_right(landmarks: Floats, markup: Markup) -> bool:
    """Whether in most faces the first group of the markup's normaliser, the left eye, lies right of the second."""
    for first, second in markup.normalizers.values():
        left, right = (landmarks[:, list(group), 0].mean(axis=1) for group in (first, second))
        return bool((left > right).mean() > 0.5)
    return False


def fit(shapes: NDArray[np.complexfloating], mean: NDArray[np.complexfloating]) -> Floats:
    """How well shapes (M, N) fit a mean (N,) turned to them: 1 where they are equal."""
    return np.abs(shapes @ mean.conj())


def _shapes(landmarks: Floats) -> NDArray[np.complexfloating]:
    """Landmarks as complex numbers (M, N), centred and of unit length."""
    points = landmarks[..., 0] + 1j * landmarks[..., 1]
    points = points - points.mean(axis=1, keepdims=True)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


def _mean_shape(shapes: NDArray[np.complexfloating], turns: int = 5) -> NDArray[np.complexfloating]:
    """The mean (N,) of shapes that are turned onto it again and again (generalised Procrustes analysis)."""
    mean = shapes.mean(axis=0)
    for _ in range(turns):
        product = shapes @ mean.conj()
        mean = (shapes * (product.conj() / np.maximum(np.abs(product), 1e-12))[:, None]).mean(axis=0)
        mean = mean / np.linalg.norm(mean)
    return mean
