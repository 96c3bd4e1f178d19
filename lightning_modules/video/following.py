"""Faces of free images and videos: where they are cut out, which face is which over time, when one is lost.

Boxes are (x0, y0, x1, y1) in pixels of the image, whose first one's centre is (0, 0). A face's box is the tight box of
its landmarks; a detector's boxes are made like it (`datamodules.face_detector`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from datamodules.crop import BoxConvention, Floats, landmark_box, transform
from lightning_modules.video.cutting import cut_faces
from lightning_modules.video.filters import Filter, Step
from lightning_modules.video.tracking import Tracker

if TYPE_CHECKING:  # it uses this room itself
    from lightning_modules.base import LandmarkModule

REFINED = 2  # times that a detected face is cut out again by its landmarks before it is followed (WFLW-V: 3 in all)
SAME = 0.2  # intersection over union of boxes from which on they may be of one face
DOUBLE = 0.7  # of two followed faces from which on they are one
GROWTH = 1.7  # factor between the sides of a face in two frames beyond which it is lost
SEEN = 0.3  # share of a face's box that must lie in the image
MISSED = 3  # detections in a row without a face after which it is lost
PATIENCE = 50  # frames for which a lost face may come back as itself


class Face(NamedTuple):
    """A face of a frame."""

    identity: int  # the same over the frames of a video
    box: Floats  # (4,)
    landmarks: Floats  # (N, 2) in pixels of the image
    confidence: Floats  # (N,)


@dataclass
class _Followed:
    """A face that was there in the last frame."""

    box: Floats
    smooth: Step | None
    missed: int = 0  # detections in a row


@dataclass
class _Lost:
    """A face that is not there any more."""

    box: Floats
    frames: int = 0  # since


@dataclass
class Follower:
    """Finds the landmarks of all faces, frame after frame of one video.

    A face is cut out by its landmarks in the frame before, so that a detector is needed only now and then: to find new
    faces, and to notice those that have gone. A face is lost where its landmarks grow or shrink together at once, leave
    the image, or where detections miss it three times running; one that comes back near that place within two seconds
    is the same face, and begins cold.

    Args:
        module: finds landmarks in crops.
        convention: how a box becomes a crop.
        size: side of the crops.
        smoothing: a filter on each face's landmarks, or None.
        rate: frames a second, for the filter.
    """

    module: "LandmarkModule"
    convention: BoxConvention
    size: int
    smoothing: Filter | None = None
    rate: float = 25.0
    _followed: dict[int, _Followed] = field(default_factory=dict)
    _lost: dict[int, _Lost] = field(default_factory=dict)
    _next: int = 0

    def __post_init__(self) -> None:
        self._tracker = Tracker(self.module)

    def restart(self) -> None:
        """Begin another video."""
        self._followed, self._lost, self._next = {}, {}, 0
        self._tracker = Tracker(self.module)

    def resume(self, faces: Sequence[Face], known: int) -> None:
        """Go on after a frame with these faces, of a video in which there have been so many: all begin cold."""
        self.restart()
        for face in faces:
            self._begin(face.identity, landmark_box(face.landmarks))
        self._next = known

    def __call__(self, image: NDArray[np.uint8], detected: Floats | None) -> list[Face]:
        """The faces of the next frame (H, W, 3).

        Args:
            image: the frame.
            detected: (M, 4) boxes of all its faces, where a detector has looked at it.
        """
        if detected is not None:
            self._meet(image, detected)
        for lost in self._lost.values():
            lost.frames += 1
        self._lost = {name: lost for name, lost in self._lost.items() if lost.frames <= PATIENCE}
        if not self._followed:
            return []
        names = list(self._followed)
        landmarks, confidence = self._track(image, names)
        faces = []
        for name, points, sure in zip(names, landmarks, confidence, strict=True):
            box, followed = landmark_box(points), self._followed[name]
            if _gone(box, followed.box, image.shape):
                self._lose(name)
                continue
            followed.box = box
            shown = followed.smooth(points) if followed.smooth else points
            faces.append(Face(name, box, shown, sure))
        doubles = self._doubles()
        return [face for face in faces if face.identity not in doubles]

    def given(self, image: NDArray[np.uint8], boxes: Floats, names: Sequence[int]) -> list[Face]:
        """The faces of the next frame in these boxes (M, 4), whoever they are said to be."""
        if not len(boxes):
            return []
        for gone in self._followed.keys() - set(names):
            del self._followed[gone]
            self._tracker.forget(gone)
        for name, box in zip(names, boxes, strict=True):
            if name in self._followed:
                self._followed[name].box = box
            else:
                self._begin(name, box)
        landmarks, confidence = self._track(image, names)
        faces = []
        for name, box, points, sure in zip(names, boxes, landmarks, confidence, strict=True):
            smooth = self._followed[name].smooth
            faces.append(Face(name, box, smooth(points) if smooth else points, sure))
        return faces

    def alone(self, image: NDArray[np.uint8], boxes: Floats, refined: int = REFINED) -> list[Face]:
        """The faces of a photograph in these boxes (M, 4), numbered; cut out again so many times by their landmarks."""
        if not len(boxes):
            return []
        cut = boxes
        for _ in range(refined):
            cut = self._refined(image, cut)
        landmarks, confidence = self._found(image, cut)
        return [Face(i, *each) for i, each in enumerate(zip(cut, landmarks, confidence, strict=True))]

    def _meet(self, image: NDArray[np.uint8], detected: Floats) -> None:
        """Take up faces that are new or back, and count those missed."""
        names = list(self._followed)
        overlap = _overlaps(np.array([self._followed[name].box for name in names]).reshape(-1, 4), detected)
        rows, columns = linear_sum_assignment(-overlap)
        met = {int(c): names[r] for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= SAME}
        for name in names:
            self._followed[name].missed = 0 if name in met.values() else self._followed[name].missed + 1
            if self._followed[name].missed >= MISSED:
                self._lose(name)
        new = [box for column, box in enumerate(detected) if column not in met]
        if not new:
            return
        boxes = np.array(new)
        for _ in range(REFINED):
            boxes = self._refined(image, boxes)
        for box, first in zip(boxes, new, strict=True):
            # Landmarks that were drawn away to a face that is followed already, or that make no face
            known = np.array([followed.box for followed in self._followed.values()]).reshape(-1, 4)
            if (_overlaps(box[None], known) >= SAME).any():
                continue
            self._begin(self._recognised(first), first if _gone(box, first, image.shape) else box)

    def _begin(self, name: int, box: Floats) -> None:
        self._followed[name] = _Followed(box, self.smoothing.start(self.rate) if self.smoothing else None)

    def _recognised(self, box: Floats) -> int:
        """The lost face nearest to a box, within its own size, or a new one."""
        middle = _middle(box)
        away = {
            name: float(np.linalg.norm(_middle(lost.box) - middle)) / _side(lost.box)
            for name, lost in self._lost.items()
            if 1 / GROWTH < _side(box) / _side(lost.box) < GROWTH
        }
        if away and min(away.values()) < 1:
            name = min(away, key=lambda each: away[each])
            del self._lost[name]
            return name
        self._next += 1
        return self._next - 1

    def _lose(self, name: int) -> None:
        self._lost[name] = _Lost(self._followed.pop(name).box)
        self._tracker.forget(name)

    def _doubles(self) -> set[int]:
        """Faces that have come to lie on another one that is older, and are given up."""
        names = sorted(self._followed)
        boxes = np.array([self._followed[name].box for name in names]).reshape(-1, 4)
        overlap = np.triu(_overlaps(boxes, boxes), k=1)
        doubles = {names[column] for column in np.flatnonzero((overlap > DOUBLE).any(axis=0))}
        for name in doubles:
            del self._followed[name]
            self._tracker.forget(name)
        return doubles

    def _refined(self, image: NDArray[np.uint8], boxes: Floats) -> Floats:
        """Boxes of the landmarks found in boxes (M, 4)."""
        return landmark_box(self._found(image, boxes)[0])

    def _found(self, image: NDArray[np.uint8], boxes: Floats) -> tuple[Floats, Floats]:
        """Landmarks (M, N, 2) and confidence (M, N) in boxes (M, 4), without a state."""
        affines, crops = self._cut(image, boxes)
        return _in_image(self.module(crops), affines)

    def _track(self, image: NDArray[np.uint8], names: Sequence[int]) -> tuple[Floats, Floats]:
        """Landmarks (M, N, 2) and confidence (M, N) of faces that are followed."""
        affines, crops = self._cut(image, np.array([self._followed[name].box for name in names]))
        affine = torch.from_numpy(affines).to(crops.device, torch.float32)
        return _in_image(self._tracker(crops, affine, names), affines)

    def _cut(self, image: NDArray[np.uint8], boxes: Floats) -> tuple[Floats, torch.Tensor]:
        """As `cut_faces`, on the module's device."""
        affines, crops = cut_faces(image, boxes, self.convention, self.size)
        return affines, crops.to(self.module.device)


def _in_image(prediction: object, affines: Floats) -> tuple[Floats, Floats]:
    landmarks, confidence = (column.double().cpu().numpy() for column in prediction[:2])  # type: ignore[index]
    points = np.stack([transform(affine, each) for affine, each in zip(affines, landmarks, strict=True)])
    return points, confidence


def _gone(box: Floats, before: Floats, shape: tuple[int, ...]) -> bool:
    """Whether a box cannot be that of the face whose box was ``before``, in an image of this shape (H, W, 3)."""
    if not np.isfinite(box).all() or _side(box) <= 0:
        return True
    frame = np.array([-0.5, -0.5, shape[1] - 0.5, shape[0] - 0.5])
    inside = np.maximum(np.minimum(box[2:], frame[2:]) - np.maximum(box[:2], frame[:2]), 0)
    seen = float(inside.prod()) / max(float((box[2:] - box[:2]).prod()), 1e-9)
    return seen < SEEN or not 1 / GROWTH < _side(box) / max(_side(before), 1e-9) < GROWTH


def _side(box: Floats) -> float:
    return float((box[2:] - box[:2]).max())


def _middle(box: Floats) -> Floats:
    return (box[:2] + box[2:]) / 2


def _overlaps(one: Floats, other: Floats) -> Floats:
    """Intersections over unions (A, B) of boxes (A, 4) and (B, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (one, other)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))
