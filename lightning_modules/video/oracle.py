"""Annotation of a video by an ensemble: boxes are made of the landmarks found in them until they stay."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.box_margins import longer_side, margins, widened
from datamodules.crop import BoxConvention, Floats, landmark_box, transform
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.finding import Finder, middle, overlaps
from lightning_modules.video.following import MISSED, SAME

TIMES = 3  # "repeated for 3 iterations, after which the bounding box values have converged"


class Found(NamedTuple):
    """Of a frame."""

    landmarks: Floats  # (N, 2) in pixels of the video
    box: Floats  # (4,) that they were found in: of training's kind, made of the landmarks themselves
    variance: float  # between the members, in areas of the face


class Oracle:
    """Annotates one video with one face, frame after frame; what kinds of boxes there are tells `finding`.

    A detector's box trembles, and landmarks with it; so the box of a frame begins as that of the landmarks in the frame
    before, and is made of the landmarks found in it `TIMES` times. The paper begins with a detection in each frame.

    Detections say whether the face is still there. Where none of them overlaps its box, as after a cut, it is begun
    again from the nearest; where there is none in `MISSED` looks running, there was no face from the first of them on.

    Args:
        ensemble: the models.
        convention: how a box becomes a crop; where crops are whole images, each frame is the face.
        size: side of the crop.
    """

    def __init__(self, ensemble: Ensemble, convention: BoxConvention, size: int) -> None:
        self.ensemble, self.finder = ensemble, Finder(ensemble, convention, size)
        self.whole = convention.source == "image"
        self.restart()

    def restart(self) -> None:
        """Begin another video."""
        self.frames: list[Found | None] = []  # of this video so far; None where there is no face
        self._box: Floats | None = None
        self._detection: Floats = np.zeros(4)  # its detection's margins about it, when it was begun
        self._missed: list[int] = []  # the frames of the last looks, if they found nothing

    def __call__(self, image: NDArray[np.uint8], detected: Floats | None, given: bool = False) -> Found | None:
        """The face of the next frame (H, W, 3); None without a face.

        Args:
            image: the frame.
            detected: (M, 4) boxes, where a detector has looked.
            given: whether they are of training's kind, and of whoever knows them.
        """
        if detected is not None:
            self._look(image, detected, given)
        self.frames.append(None if self._box is None else self._found(image, self._box))
        return self.frames[-1]

    def _look(self, image: NDArray[np.uint8], detected: Floats, given: bool) -> None:
        """Compare the face's box with what a detector has found in the next frame."""
        if self.whole:
            self._box = detected[0]
        elif len(detected):
            self._missed = []
            if self._box is None:
                self._begin(image, detected[0], given)  # of which it is surest
                return
            expected = widened(self._box, self._detection)
            if not (overlaps(expected[None], detected) >= SAME).any():
                self._begin(image, _nearest(expected, detected), given)
        elif self._box is not None:
            self._missed.append(len(self.frames))
            if len(self._missed) == MISSED:
                # What was found since is of no face, and would be left if the video were cut here
                self.frames[self._missed[0] :] = [None] * (len(self.frames) - self._missed[0])
                self._box, self._missed = None, []

    def _begin(self, image: NDArray[np.uint8], detected: Floats, given: bool) -> None:
        """Begin a face from a detection (4,), or from a box of training's kind that is given."""
        if given:
            box = landmark_box(self.finder.found(image, detected[None])[0][0])
        else:
            box = self.finder.settled(image, detected[None])[0]
        self._box = box if np.isfinite(box).all() else None
        self._detection = margins(box, detected)

    def _found(self, image: NDArray[np.uint8], box: Floats) -> Found | None:
        """The face in its box (4,); None where its landmarks make none, and the box is given up."""
        for _ in range(1 if self.whole else TIMES):
            used = box if self.whole else self.finder.as_trained(box)
            landmarks, variance = self._opinion(image, used)
            if not np.isfinite(landmarks).all() or not np.ptp(landmarks, axis=0).all():
                self._box = None
                return None
            box = landmark_box(landmarks)
        self._box = box
        return Found(landmarks, used, variance)

    def _opinion(self, image: NDArray[np.uint8], box: Floats) -> tuple[Floats, float]:
        affines, crops = self.finder.crops(image, box[None])
        said = self.ensemble.opinions(crops)
        return transform(affines[0], said.landmarks[0].double().numpy()), float(said.variance)


def _nearest(box: Floats, others: Floats) -> Floats:
    """Of some boxes (M, 4) the one whose middle and side differ least from a box's (4,), in shares of the side."""
    side = longer_side(box)
    apart = np.linalg.norm(middle(others) - middle(box), axis=-1) / side
    return np.asarray(others[np.argmin(apart + np.abs(np.log(longer_side(others) / side)))])
