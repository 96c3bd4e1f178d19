"""How boxes of one face lie about each other: four margins, in shares of the longer side of the inner one.

Of the longer side and not of either, as few landmarks may lie almost on a line. Boxes are (x0, y0, x1, y1).
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from datamodules.crop import Floats, landmark_box
from datamodules.face_generator.surface import landmark_chart, surface
from datamodules.markup import COFW_29, IBUG_68, WFLW_98
from datamodules.markup_maps import MAPS

OUTWARDS = np.array([-1, -1, 1, 1])
FULL = (WFLW_98.name, IBUG_68.name)  # a detector's boxes are tight about these (`face_detector`)
ALIKE = {COFW_29.name: "aflw-19"}  # has the same outermost points: brows, chin, corners of the mouth


def margins(inner: Floats, outer: Floats) -> Floats:
    """How far the left, top, right and bottom edges (..., 4) of ``outer`` lie outwards of those of ``inner``."""
    return (outer - inner) * OUTWARDS / np.maximum(longer_side(inner), 1e-9)[..., None]


def widened(inner: Floats, by: Floats) -> Floats:
    """The outer boxes (..., 4), given the margins (..., 4)."""
    return inner + by * OUTWARDS * longer_side(inner)[..., None]


def longer_side(boxes: Floats) -> Floats:
    """Longer sides (...) of boxes (..., 4)."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).max(axis=-1))


class MeanFace(NamedTuple):
    """Boxes of a face seen from the front."""

    detected: Floats  # (4,) as a detector gives it
    tight: Floats  # (4,) about a markup's landmarks


@cache
def mean_face(markup: str | None) -> MeanFace | None:
    """The mean generated face as a detector and as a markup (by its name) sees it; None where that is not known.

    Eyes, nose and mouth alone, as CelebA marks them, make a box half as large as a detector's: a network that has
    learned crops about it does not find its way from crops about the other, however often a face is cut out again.
    """
    points = surface(*landmark_chart().T)[:, :2]
    detected = landmark_box(points)
    if markup in FULL:
        return MeanFace(detected, detected)
    mapped = MAPS.get((WFLW_98.name, ALIKE.get(markup or "", markup or "")))
    # Maps apply from the image's corner; this face has none, and these weights sum to 1, so any place will do.
    return MeanFace(detected, landmark_box(mapped.points(points))) if mapped else None
