"""Perturbations of test faces, by which the robustness of a model is measured: the same for every model.

The protocols are those of Yan et al. 2021 (2D Wasserstein loss, section 4), each in two sizes. The paper shows the
sizes in a picture (its Fig. 3) and gives no number, so they are decided here, by looking at faces: a medium ellipse
hides an eye or half a mouth (5 % of the landmarks of 300-W's common set in the mean), a large one a quarter of the face
(22 %); after a medium blur one still sees eyes and mouth, after a large one hardly (the paper's models miss 10 % of the
inter-ocular distance on 2 of 3 such faces).

Lengths are shares of the face's side: the longer side of the tight box of its annotated landmarks. So they depend on
neither the input size nor the box: models that crop differently are tested on the same perturbed faces.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.transforms import Image

Size = Literal["medium", "large"]

ELLIPSE_AXES = {"medium": (0.15, 0.35), "large": (0.4, 0.7)}  # shortest and longest axis, in sides of the face
BLUR_LENGTHS = {"medium": 0.15, "large": 0.3}  # in sides of the face


@dataclass(frozen=True)
class Perturbation(ABC):
    """A change of a test face's crop: a function of seed and face alone, not of the face's place among others.

    Args:
        size: how strong it is.
        seed: another one is another draw for each face. Not the seed of the data, which may differ between models.
    """

    size: Size = "medium"
    seed: int = 0

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.size not in get_args(Size):
            raise ValueError(
                f"data.init_args.perturbation.init_args.size is '{self.size}', expected one of: "
                + ", ".join(get_args(Size))
            )
        if self.seed < 0:
            raise ValueError(f"data.init_args.perturbation.init_args.seed is {self.seed}, expected at least 0")

    @property
    def title(self) -> str:
        """Its name in tables and file names, as ``large occlusion``."""
        return f"{self.size} {self.kind}" + (f" (seed {self.seed})" if self.seed else "")

    def generator(self, identity: int) -> np.random.Generator:
        """The random numbers of the face of this identity: that of `Faces`."""
        return np.random.default_rng((self.seed, identity))

    @abstractmethod
    def __call__(
        self, rng: np.random.Generator, image: Image, face: Floats, landmarks: Floats, motion: Floats | None
    ) -> tuple[Image, NDArray[np.bool_]]:
        """The perturbed crop (S, S, 3), and which landmarks (N,) it hides.

        Args:
            rng: of this face.
            image: the clean crop (S, S, 3).
            face: (4,) tight box of the annotated landmarks, in pixels of the crop.
            landmarks: (N, 2) in pixels of the crop; they are not moved.
            motion: (2,) in pixels of the crop, from the nose in the frame before to the nose in the frame after; None
                for a still image.
        """


@dataclass(frozen=True)
class EllipseOcclusion(Perturbation):
    """A black ellipse over the face, of random axes and angle; the box of the face has corners, its centre shuns them.

    The landmarks under it become not visible. Their errors count as before: a model is to find them all the same.
    """

    kind = "occlusion"

    def __call__(
        self, rng: np.random.Generator, image: Image, face: Floats, landmarks: Floats, motion: Floats | None
    ) -> tuple[Image, NDArray[np.bool_]]:
        """See `Perturbation`; the ellipse does not follow the motion."""
        bearing, share = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())  # uniform over the ellipse in the box
        centre = (face[:2] + face[2:] + share * (face[2:] - face[:2]) * [np.cos(bearing), np.sin(bearing)]) / 2
        axes = rng.uniform(*ELLIPSE_AXES[self.size], 2) * _side(face)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        to_disc = turn * 2 / axes[:, None]  # makes the ellipse the unit disc
        height, width = image.shape[:2]
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        cover = _cover((pixels - centre) @ to_disc.T, to_disc)
        hidden = np.linalg.norm((landmarks - centre) @ to_disc.T, axis=-1) < 1
        return np.rint(image * (1 - cover[..., None])).astype(np.uint8), hidden


def _cover(places: Floats, to_disc: Floats) -> Floats:
    """Share (S, S) of each pixel that the ellipse covers, of the pixels' places (S, S, 2) about the unit disc."""
    slope = 2 * np.linalg.norm(places @ to_disc, axis=-1)  # of the squared radius, per pixel
    distance = ((places**2).sum(axis=-1) - 1) / np.maximum(slope, 1e-9)  # from the rim, in pixels, near it
    return np.clip(0.5 - distance, 0, 1)


@dataclass(frozen=True)
class MotionBlur(Perturbation):
    """The mean of the crop along a line in the direction in which the nose moves.

    A still image, or a nose at rest, has no direction and gets a random one. Every landmark stays visible. Beyond the
    crop, its edge is repeated.
    """

    kind = "motion blur"

    def __call__(
        self, rng: np.random.Generator, image: Image, face: Floats, landmarks: Floats, motion: Floats | None
    ) -> tuple[Image, NDArray[np.bool_]]:
        """See `Perturbation`; of the motion only its direction counts, the length is that of ``size``."""
        angle = rng.uniform(0, np.pi)
        if motion is not None and np.any(motion):
            angle = np.arctan2(motion[1], motion[0])
        kernel = line_kernel(BLUR_LENGTHS[self.size] * _side(face), float(angle))
        blurred = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred, np.uint8), np.zeros(len(landmarks), bool)


def line_kernel(length: float, angle: float) -> Floats:
    """Weights (K, K), of sum 1, that average an image along a centred line of this length in pixels.

    The image is read between its pixels bilinearly, so that no angle has stairs. ``angle`` in radians, x to y.
    """
    count = int(np.ceil(8 * length)) + 1  # places on the line, eight a pixel
    along = ((np.arange(count) + 0.5) / count - 0.5) * length
    reach = int(np.ceil(length / 2)) + 1
    pixels = np.arange(-reach, reach + 1)[:, None]
    of_x = np.maximum(0, 1 - np.abs(pixels - along * np.cos(angle)))  # (K, count)
    of_y = np.maximum(0, 1 - np.abs(pixels - along * np.sin(angle)))
    return of_y @ of_x.T / count


def _side(face: Floats) -> float:
    side = float((face[2:] - face[:2]).max())
    if not side > 0:
        raise ValueError(
            "data.init_args.perturbation needs faces of some size, but all annotated landmarks of a face are at one "
            "point; leave the perturbation out"
        )
    return side
