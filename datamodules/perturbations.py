"""Perturbations of test faces, by which the robustness of a model is measured: the same for every model."""

from abc import ABC, abstractmethod

import numpy as np

from datamodules.crop import Floats
from datamodules.transforms import Image


class Perturbation(ABC):
    """A change of a test face's crop. A function of the generator, which depends on seed and index alone."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Its name in tables and file names, as ``large occlusion``."""

    @abstractmethod
    def __call__(self, rng: np.random.Generator, image: Image, landmarks: Floats, motion: Floats | None) -> Image:
        """The perturbed crop (S, S, 3).

        Args:
            rng: of this face.
            image: the clean crop (S, S, 3).
            landmarks: (N, 2) in its pixels.
            motion: (2,) in its pixels, how far the nose moves from the frame before to the frame after; None for a
                still image.
        """
