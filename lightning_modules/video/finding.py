"""Landmarks of faces in a single image, and which boxes can be those of a face.

Three kinds of boxes: a *detection* is tight about brows, chin and ears, whatever the module's landmarks are; a *face's*
box is tight about its landmarks; and crops are made of *training's* boxes, which a dataset may bring itself. Whoever
asks for crops about landmarks, of a module whose training's boxes were a dataset's, means faces' boxes instead.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from datamodules.box_margins import longer_side, margins, mean_face, widened
from datamodules.crop import BoxConvention, Floats, box_convention, landmark_box, transform
from lightning_modules.video.cutting import cut_faces

if TYPE_CHECKING:  # it uses this room itself
    from lightning_modules.base import LandmarkModule

REFINED = 2  # times that a detected face is cut out again by its landmarks before it is followed (WFLW-V: 3 in all)
MOST = 5  # such times, where boxes do not settle
SETTLED = 0.8  # intersection over union of boxes one after the other, from which on they have
DOUBLE = 0.7  # of two faces, from which on they are one
GROWTH = 1.7  # factor between the sides of a face in two frames beyond which it is lost
SMALLEST = 0.2  # side of a face's box in sides of its detection, where it is not known how they lie
SEEN = 0.3  # share of a face's box that must lie in the image


class Finder:
    """Finds the landmarks of faces in an image.

    Args:
        module: finds landmarks in crops.
        convention: how training's boxes become crops, or faces' boxes where it is about landmarks and the training's
            was not.
        size: side of the crops.
    """

    def __init__(self, module: "LandmarkModule", convention: BoxConvention, size: int) -> None:
        self.module, self.convention, self.size = module, convention, size
        self._mean_face = mean_face(module.markup)
        trained = box_convention(module.trained_box).source if module.trained_box else convention.source
        others = trained == "provided" and convention.source == "landmarks"
        self.margins = None if others or module.box_margins is None else np.array(module.box_margins)

    def tight(self, detected: Floats) -> Floats:
        """Where the faces' boxes (M, 4) should be of detections (M, 4): themselves, where it is not known."""
        mean = self._mean_face
        return widened(detected, margins(mean.detected, mean.tight)) if mean else np.array(detected)

    def detection_about(self, box: Floats) -> Floats:
        """Where the detection (4,) of a face in this box (4,) should be: the box, where it is not known."""
        mean = self._mean_face
        return widened(box, margins(mean.tight, mean.detected)) if mean else box

    def as_trained(self, boxes: Floats) -> Floats:
        """The boxes (M, 4) that crops are made of, of faces' boxes (M, 4)."""
        return boxes if self.margins is None else widened(boxes, self.margins)

    def crops(self, image: NDArray[np.uint8], boxes: Floats) -> tuple[Floats, torch.Tensor]:
        """As `cut_faces`, of training's boxes (M, 4), on the module's device."""
        affines, crops = cut_faces(image, boxes, self.convention, self.size)
        return affines, crops.to(self.module.device)

    def found(self, image: NDArray[np.uint8], boxes: Floats) -> tuple[Floats, Floats]:
        """Landmarks (M, N, 2) in pixels of the image and confidence (M, N) in training's boxes (M, 4)."""
        affines, crops = self.crops(image, boxes)
        return in_image_pixels(self.module(crops), affines)

    def settled(self, image: NDArray[np.uint8], detected: Floats, times: int = REFINED) -> Floats:
        """The faces' boxes (M, 4) of detections (M, 4), cut out again by their landmarks until they stay.

        Args:
            image: (H, W, 3).
            detected: the detections; where the landmarks make no face, they tell the box.
            times: how often each is cut out again at least; `MOST` times at most.
        """
        boxes, rows = self.tight(detected), np.arange(len(detected))
        for turn in range(max(times, MOST)):
            before = boxes[rows]
            after = landmark_box(self.found(image, self.as_trained(before))[0])
            after = np.where(self.fit(after, detected[rows], image.shape)[:, None], after, self.tight(detected[rows]))
            boxes[rows] = after
            if turn + 1 >= times:
                rows = rows[[overlaps(a[None], b[None])[0, 0] < SETTLED for a, b in zip(before, after, strict=True)]]
            if not len(rows):
                break
        return boxes

    def of_photograph(self, image: NDArray[np.uint8], detected: Floats, times: int) -> tuple[Floats, Floats, Floats]:
        """Boxes (K, 4), landmarks (K, N, 2) and confidence (K, N) of the faces of detections (M, 4), best first.

        Where the landmarks make no face, they are those in the detection itself. Where two end on one face, the better
        detection stays.
        """
        boxes = self.settled(image, detected, times)
        landmarks, confidence = self.found(image, self.as_trained(boxes))
        lost = ~self.fit(landmark_box(landmarks), detected, image.shape)
        if lost.any():
            boxes[lost] = self.tight(detected[lost])
            landmarks[lost], confidence[lost] = self.found(image, self.as_trained(boxes[lost]))
        kept = ~doubles(landmark_box(landmarks))
        return boxes[kept], landmarks[kept], confidence[kept]

    def fit(self, boxes: Floats, detected: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which faces' boxes (M, 4) can be of these detections (M, 4) in an image of this shape (H, W, 3)."""
        middles, least = middle(boxes), 1 / GROWTH if self._mean_face else SMALLEST
        within = ((middles >= detected[:, :2]) & (middles <= detected[:, 2:])).all(axis=1)
        there = [not gone(*pair, shape, least) for pair in zip(boxes, self.tight(detected), strict=True)]
        return np.asarray(within & np.array(there, bool))


def in_image_pixels(prediction: object, affines: Floats) -> tuple[Floats, Floats]:
    """Landmarks (M, N, 2) in pixels of the image and confidence (M, N) of a `LandmarkPrediction` of crops."""
    landmarks, confidence = (column.double().cpu().numpy() for column in prediction[:2])  # type: ignore[index]
    points = np.stack([transform(affine, each) for affine, each in zip(affines, landmarks, strict=True)])
    return points, confidence


def gone(box: Floats, before: Floats, shape: tuple[int, ...], least: float = 1 / GROWTH) -> bool:
    """Whether a box cannot be that of the face whose box was ``before``, in an image of this shape (H, W, 3).

    ``least`` is the factor between their sides below which it cannot.
    """
    if not np.isfinite(box).all() or longer_side(box) <= 0:
        return True
    frame = np.array([-0.5, -0.5, shape[1] - 0.5, shape[0] - 0.5])
    inside = np.maximum(np.minimum(box[2:], frame[2:]) - np.maximum(box[:2], frame[:2]), 0)
    seen = float(inside.prod()) / max(float((box[2:] - box[:2]).prod()), 1e-9)
    return seen < SEEN or not least < float(longer_side(box)) / max(float(longer_side(before)), 1e-9) < GROWTH


def doubles(boxes: Floats) -> NDArray[np.bool_]:
    """Which boxes (M, 4) lie on an earlier one."""
    return np.asarray((np.triu(overlaps(boxes, boxes), k=1) > DOUBLE).any(axis=0))


def distances(boxes: Floats, others: Floats) -> Floats:
    """How far (A, B) others (B, 4) are from boxes (A, 4) in sides of these; infinite for those of another size."""
    size = longer_side(boxes)[:, None]
    away = np.linalg.norm(middle(boxes)[:, None] - middle(others)[None], axis=-1) / size
    growth = longer_side(others)[None] / size
    return np.where((growth > 1 / GROWTH) & (growth < GROWTH), away, np.inf)


def overlaps(one: Floats, other: Floats) -> Floats:
    """Intersections over unions (A, B) of boxes (A, 4) and (B, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (one, other)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


def matched(cost: Floats, most: float) -> dict[int, int]:
    """Rows and their columns of the pairs of least cost in all (A, B), whose own costs are at most ``most``."""
    rows, columns = linear_sum_assignment(np.minimum(cost, 1e6))  # it knows no infinity
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: column for row, column in pairs if cost[row, column] <= most}


def middle(boxes: Floats) -> Floats:
    """Middles (..., 2) of boxes (..., 4)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2
