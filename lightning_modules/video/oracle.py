"""Annotation of a video by an ensemble: boxes are made of the landmarks found in them until they stay."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import BoxConvention, Floats, landmark_box, transform
from lightning_modules.video.cutting import cut_faces
from lightning_modules.video.ensemble import Ensemble

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

    Args:
        ensemble: the models.
        convention: how a box becomes a crop.
        size: side of the crops.
    """

    def __init__(self, ensemble: Ensemble, convention: BoxConvention, size: int) -> None:
        self.ensemble, self.convention, self.size = ensemble, convention, size
        self._box: Floats | None = None

    def restart(self) -> None:
        """Begin another video."""
        self._box = None

    def __call__(self, image: NDArray[np.uint8], detected: Floats | None) -> Found | None:
        """The face of the next frame (H, W, 3), given boxes (M, 4) where a detector has looked; None without a face."""
        if self._box is None:
            if detected is None or not len(detected):
                return None
            self._box = detected[0]
        box = self._box
        for _ in range(TIMES):
            landmarks, variance = self._opinion(image, box)
            used, box = box, landmark_box(landmarks)
        self._box = box
        return Found(landmarks, used, variance)

    def _opinion(self, image: NDArray[np.uint8], box: Floats) -> tuple[Floats, float]:
        affines, crops = cut_faces(image, box[None], self.convention, self.size)
        said = self.ensemble.opinions(crops)
        return transform(affines[0], said.landmarks[0].double().numpy()), float(said.variance)

    @staticmethod
    def collected(frames: Sequence[Found | None], path: str) -> tuple[Floats, Floats, float]:
        """Landmarks (T, N, 2), boxes (T, 4) and mean variance of a video.

        Raises:
            ValueError: a frame has no face.
        """
        whole = [frame for frame in frames if frame is not None]
        if len(whole) < len(frames) or not whole:
            raise ValueError(
                f"{path}: no face is found in {len(frames) - len(whole)} of its frames, from the first on; cut it, or "
                "take it away"
            )
        landmarks, boxes, variance = zip(*whole, strict=True)
        return np.stack(landmarks), np.stack(boxes), float(np.mean(variance))
