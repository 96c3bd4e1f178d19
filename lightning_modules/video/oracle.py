"""Annotation of a video by an ensemble: boxes are made of the landmarks found in them until they stay."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.box_margins import longer_side
from datamodules.crop import BoxConvention, Floats, landmark_box, transform
from lightning_modules.video.cutting import cut_faces
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.finding import middle, overlaps
from lightning_modules.video.following import MISSED, SAME

TIMES = 3  # "repeated for 3 iterations, after which the bounding box values have converged"


class Found(NamedTuple):
    """Of a frame."""

    landmarks: Floats  # (N, 2) in pixels of the video
    box: Floats  # (4,) that they were found in, which is landmarks' own
    variance: float  # between the members, in areas of the face


class Oracle:
    """Annotates one video with one face, frame after frame.

    A detector's box trembles, and landmarks with it; so the box of a frame begins as that of the landmarks in the frame
    before, and is made of the landmarks found in it `TIMES` times. The paper begins with a detection in each frame.

    Detections say whether the face is still there. Where none of them overlaps its box, as after a cut, it is begun
    again from the nearest; where there is none in `MISSED` looks running, there was no face from the first of them on.

    Args:
        ensemble: the models.
        convention: how a box becomes a crop.
        size: side of the crops.
    """

    def __init__(self, ensemble: Ensemble, convention: BoxConvention, size: int) -> None:
        self.ensemble, self.convention, self.size = ensemble, convention, size
        self.restart()

    def restart(self) -> None:
        """Begin another video."""
        self.frames: list[Found | None] = []  # of this video so far; None where there is no face
        self._box: Floats | None = None
        self._missed: list[int] = []  # the frames of the last looks, if they found nothing

    def __call__(self, image: NDArray[np.uint8], detected: Floats | None) -> Found | None:
        """The face of the next frame (H, W, 3), given boxes (M, 4) where a detector has looked; None without a face."""
        if detected is not None:
            self._look(detected)
        self.frames.append(None if self._box is None else self._found(image, self._box))
        return self.frames[-1]

    def _look(self, detected: Floats) -> None:
        """Compare the face's box with what a detector has found in the next frame."""
        if len(detected):
            self._missed = []
            if self._box is None:
                self._box = detected[0]  # of which it is surest
            elif not (overlaps(self._box[None], detected) >= SAME).any():
                self._box = _nearest(self._box, detected)
        elif self._box is not None:
            self._missed.append(len(self.frames))
            if len(self._missed) == MISSED:
                # What was found since is of no face, and would be left if the video were cut here
                self.frames[self._missed[0] :] = [None] * (len(self.frames) - self._missed[0])
                self._box, self._missed = None, []

    def _found(self, image: NDArray[np.uint8], box: Floats) -> Found | None:
        """The face in a box (4,); None where its landmarks make none, and the box is given up."""
        for _ in range(TIMES):
            landmarks, variance = self._opinion(image, box)
            if not np.isfinite(landmarks).all() or not np.ptp(landmarks, axis=0).all():
                self._box = None
                return None
            used, box = box, landmark_box(landmarks)
        self._box = box
        return Found(landmarks, used, variance)

    def _opinion(self, image: NDArray[np.uint8], box: Floats) -> tuple[Floats, float]:
        affines, crops = cut_faces(image, box[None], self.convention, self.size)
        said = self.ensemble.opinions(crops)
        return transform(affines[0], said.landmarks[0].double().numpy()), float(said.variance)


def _nearest(box: Floats, others: Floats) -> Floats:
    """Of some boxes (M, 4) the one whose middle and side differ least from a box's (4,), in shares of the side."""
    side = longer_side(box)
    apart = np.linalg.norm(middle(others) - middle(box), axis=-1) / side
    return np.asarray(others[np.argmin(apart + np.abs(np.log(longer_side(others) / side)))])
