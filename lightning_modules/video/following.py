"""Faces of free images and videos: which face is which over time, when one is lost.

Boxes are (x0, y0, x1, y1) in pixels of the image, whose first one's centre is (0, 0). What kinds of boxes there are
tells `finding`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.box_margins import margins, widened
from datamodules.crop import BoxConvention, Floats, landmark_box
from lightning_modules.video.filters import Filter, Step
from lightning_modules.video.finding import (
    REFINED,
    Finder,
    distances,
    doubles,
    gone,
    in_image_pixels,
    matched,
    overlaps,
)
from lightning_modules.video.tracking import Tracker

if TYPE_CHECKING:  # it uses this room itself
    from lightning_modules.base import LandmarkModule

SAME, SURE = 0.2, 0.5  # intersections over unions of boxes from which on they may be of one face, and are
MISSED = 3  # looks in a row without a face after which it is lost, or not looked for any more
PATIENCE = 50  # frames for which a lost face may come back as itself
SOON, LATER = (0, 1, 2), (4, 8, 16, 32)  # frames after a loss in which it is looked for: fewer and fewer, then no more


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
    detection: Floats  # margins (4,) of its detection about its box, when it was begun
    missed: int = 0  # looks of the detector in a row
    seen: bool = False  # in a frame at least


@dataclass
class _Lost:
    """A face that is not there any more."""

    box: Floats  # as a detector would have given it
    sought: tuple[int, ...]  # frames since then in which it is looked for
    frames: int = 0  # since then


@dataclass
class Follower:
    """Finds the landmarks of all faces, frame after frame of one video.

    A face is cut out by its landmarks in the frame before, so that a detector is needed only now and then: to find new
    faces, and to notice those that have gone, as a network finds landmarks where there is no face too. What a look
    misses is looked for in the frames that follow, and lost after three looks; so is what is lost otherwise, because
    its landmarks grow or shrink together at once or leave the image. A lost face is looked for again 4, 8, 16 and 32
    frames later, which costs no more however long it stays away. Of a missed face and a detection within its size the
    face has moved fast. A lost one that comes back near that place within 50 frames is the same face. Both begin cold.

    Args:
        module: finds landmarks in crops.
        convention: how a box becomes a crop.
        size: side of the crops.
        smoothing: a filter on each face's landmarks, or None.
        seconds: the next frame's time, for the filter.
        detector: the boxes (M, 4) of all faces of an image, asked where a face is in doubt; without one, that waits
            for the next frame that comes with detections.
    """

    module: "LandmarkModule"
    convention: BoxConvention
    size: int
    smoothing: Filter | None = None
    seconds: float = 0.0
    detector: Callable[[NDArray[np.uint8]], Floats] | None = None
    _followed: dict[int, _Followed] = field(default_factory=dict)
    _lost: dict[int, _Lost] = field(default_factory=dict)
    _next: int = 0

    def __post_init__(self) -> None:
        self._tracker = Tracker(self.module)
        self.finder = Finder(self.module, self.convention, self.size)

    def restart(self) -> None:
        """Begin another video."""
        self._followed, self._lost, self._next = {}, {}, 0
        self._tracker = Tracker(self.module)

    def resume(self, faces: Sequence[Face], known: int) -> None:
        """Go on after a frame with these faces, of a video in which there have been so many: all begin cold."""
        self.restart()
        for face in faces:
            self._begin(face.identity, face.box, self.finder.detection_about(face.box))
        self._next = known

    def __call__(self, image: NDArray[np.uint8], detected: Floats | None) -> list[Face]:
        """The faces of the next frame (H, W, 3).

        Args:
            image: the frame.
            detected: (M, 4) boxes of all its faces, where a detector has looked at it.
        """
        if detected is None and self.detector is not None and self._in_doubt():
            detected = self.detector(image)
        if detected is not None:
            self._meet(image, detected)
        for lost in self._lost.values():
            lost.frames += 1
        self._lost = {name: lost for name, lost in self._lost.items() if lost.frames <= PATIENCE}
        if not self._followed:
            return []
        names = list(self._followed)
        boxes = np.array([self._followed[name].box for name in names])
        landmarks, confidence = self._track(image, names, self.finder.as_trained(boxes))
        faces = []
        for name, points, sure in zip(names, landmarks, confidence, strict=True):
            box, followed = landmark_box(points), self._followed[name]
            if gone(box, followed.box, image.shape):
                self._lose(name, (*SOON, *LATER) if followed.seen else ())
                continue
            followed.box, followed.seen = box, True
            shown = followed.smooth(points, self.seconds) if followed.smooth else points
            faces.append(Face(name, box, shown, sure))
        given_up = self._doubles()
        return [face for face in faces if face.identity not in given_up]

    def given(self, image: NDArray[np.uint8], boxes: Floats, names: Sequence[int] | None) -> list[Face]:
        """The faces of the next frame in these boxes (M, 4) of training's kind, whoever they are said to be.

        Where ``names`` is None, boxes of consecutive frames that overlap are of one face. A face that a frame does not
        have begins cold when it comes again.
        """
        names = self._who(boxes) if names is None else names
        for name in self._followed.keys() - set(names):
            self._forget(name)
        if not len(boxes):
            return []
        for name, box in zip(names, boxes, strict=True):
            if name in self._followed:
                self._followed[name].box = box
            else:
                self._begin(name, box, box)
        landmarks, confidence = self._track(image, names, boxes)
        faces = []
        for name, box, points, sure in zip(names, boxes, landmarks, confidence, strict=True):
            smooth = self._followed[name].smooth
            faces.append(Face(name, box, smooth(points, self.seconds) if smooth else points, sure))
        return faces

    def alone(self, image: NDArray[np.uint8], boxes: Floats, refined: int = REFINED) -> list[Face]:
        """The faces of a photograph, numbered.

        Args:
            image: (H, W, 3).
            boxes: (M, 4) detections, best first.
            refined: how often these are cut out again by their landmarks; 0 for boxes of training's kind that are
                given, each of which is a face.
        """
        if not len(boxes):
            return []
        found = self.finder.of_photograph(image, boxes, refined) if refined else None
        columns = found or (boxes, *self.finder.found(image, boxes))
        return [Face(i, *each) for i, each in enumerate(zip(*columns, strict=True))]

    def _in_doubt(self) -> bool:
        """Whether a face was missed by the last look, or is lost and it is time to look for it."""
        missed = any(followed.missed for followed in self._followed.values())
        return missed or any(lost.frames in lost.sought for lost in self._lost.values())

    def _meet(self, image: NDArray[np.uint8], detected: Floats) -> None:
        """Take up faces that are new, back or have moved fast, and count those missed."""
        names = list(self._followed)
        met = matched(-overlaps(self._expected(names), detected), -SURE)
        missed = [name for row, name in enumerate(names) if row not in met]
        for name in set(names) - set(missed):
            self._followed[name].missed = 0
        new = np.array([box for column, box in enumerate(detected) if column not in met.values()]).reshape(-1, 4)
        near = {column: missed[row] for row, column in matched(distances(self._expected(missed), new), 1).items()}
        settled = self.finder.settled(image, new) if len(new) else new
        for column, (box, detection) in enumerate(zip(settled, new, strict=True)):
            known = list(self._followed)
            overlap = dict(zip(known, overlaps(box[None], self._boxes(known))[0].tolist(), strict=True))
            on = max(overlap, key=lambda name: overlap[name]) if max(overlap.values(), default=0) >= SAME else None
            whose = near.get(column) if on is None else on
            if whose in missed:
                missed.remove(whose)
                self._meet_again(whose, box, detection, cold=overlap[whose] < SURE)
            elif on is None or (overlap[on] < SURE and self._stays(box, detection)):  # the latter is cheek to cheek
                self._begin(self._recognised(detection), box, detection)
        for name in missed:
            self._followed[name].missed += 1
            if self._followed[name].missed >= MISSED:
                self._lose(name, LATER)

    def _stays(self, box: Floats, detection: Floats) -> bool:
        """Whether a face is where it was detected, and was not drawn away to one that is followed already."""
        return bool(overlaps(box[None], self.finder.tight(detection[None]))[0, 0] >= SURE)

    def _meet_again(self, name: int, box: Floats, detection: Floats, cold: bool) -> None:
        """Go on with a face that is followed in the box of its detection, unless it is there already."""
        if cold:
            self._forget(name)
            self._begin(name, box, detection)
        else:  # it lies otherwise in its detection than it did
            self._followed[name].missed, self._followed[name].detection = 0, margins(box, detection)

    def _begin(self, name: int, box: Floats, detection: Floats) -> None:
        smooth = self.smoothing.start() if self.smoothing else None
        self._followed[name] = _Followed(box, smooth, margins(box, detection))

    def _recognised(self, detection: Floats) -> int:
        """The lost face nearest to a detection, within its own size, or a new one."""
        names = list(self._lost)
        away = distances(np.array([self._lost[name].box for name in names]).reshape(-1, 4), detection[None])[:, 0]
        if (away < 1).any():
            name = names[int(away.argmin())]
            del self._lost[name]
            return name
        return self._new()

    def _who(self, boxes: Floats) -> list[int]:
        """Whose boxes (M, 4) of the next frame are."""
        names = list(self._followed)
        met = {column: row for row, column in matched(-overlaps(self._boxes(names), boxes), -SAME).items()}
        return [names[met[column]] if column in met else self._new() for column in range(len(boxes))]

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _lose(self, name: int, sought: tuple[int, ...]) -> None:
        self._lost[name] = _Lost(self._expected([name])[0], sought)
        self._forget(name)

    def _forget(self, name: int) -> None:
        del self._followed[name]
        self._tracker.forget(name)

    def _doubles(self) -> set[int]:
        """Faces that have come to lie on another one that is older, and are given up."""
        names = sorted(self._followed)
        given_up = {names[row] for row in np.flatnonzero(doubles(self._boxes(names)))}
        for name in given_up:
            self._forget(name)
        return given_up

    def _boxes(self, names: Sequence[int]) -> Floats:
        """Boxes (M, 4) of faces that are followed."""
        return np.array([self._followed[name].box for name in names]).reshape(-1, 4)

    def _expected(self, names: Sequence[int]) -> Floats:
        """Where a detector should find them (M, 4)."""
        by = np.array([self._followed[name].detection for name in names]).reshape(-1, 4)
        return widened(self._boxes(names), by)

    def _track(self, image: NDArray[np.uint8], names: Sequence[int], boxes: Floats) -> tuple[Floats, Floats]:
        """Landmarks (M, N, 2) and confidence (M, N) of faces that are followed, in training's boxes (M, 4)."""
        affines, crops = self.finder.crops(image, boxes)
        affine = torch.from_numpy(affines).to(crops.device, torch.float32)
        return in_image_pixels(self._tracker(crops, affine, names), affines)
