"""Augmentations that move image, landmarks and visibility together.

Geometry (rotation, scale, translation, flip) is an affine that is composed with the crop, so a pixel is interpolated
once. Appearance (blur, grey, colour) comes from albumentations. Everything is a function of the generator passed in.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats, compose

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks the network for a newer version otherwise

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training face. Lengths are shares of the crop's side; a value of 0 turns a change off.

    The defaults are those of PIPNet's code at 256 px, which HIH and so most likely LDEQ used too (neither LDEQ's
    paper nor its code gives ranges); scale is HRNet's change and off by default.

    Args:
        rotation: largest angle in degrees, either way.
        rotation_p: share of faces rotated.
        scale: 0.25 zooms by 0.75 to 1.25 (every face).
        translation: largest shift along each axis (30 of 256 pixels).
        translation_p: share of faces shifted.
        flip_p: share of faces mirrored; landmarks are renumbered by the markup.
        occluder: largest side of a rectangle of one random colour; the landmarks under it are marked not visible.
        occluder_p: share of faces with an occluder.
        blur: largest sigma of a Gaussian blur (5 of 256 pixels).
        blur_p: share of faces blurred.
        grey_p: share of faces turned grey.
        colour: strength of brightness, contrast, saturation (and a tenth of it, hue) jitter.
        colour_p: share of faces with jittered colours.
    """

    rotation: float = 30.0
    rotation_p: float = 0.5
    scale: float = 0.0
    translation: float = 30 / 256
    translation_p: float = 0.5
    flip_p: float = 0.5
    occluder: float = 0.4
    occluder_p: float = 0.5
    blur: float = 5 / 256
    blur_p: float = 0.3
    grey_p: float = 0.2
    colour: float = 0.0
    colour_p: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < np.inf or (name.endswith("_p") and value > 1) or (name == "scale" and value >= 1):
                raise ValueError(
                    f"data.init_args.augmentation.{name} is {value}, expected "
                    + ("a share from 0 to 1" if name.endswith("_p") else "a number of at least 0 (scale: below 1)")
                )

    @property
    def zooms(self) -> tuple[float, float]:
        """The smallest and the largest zoom."""
        return 1 - self.scale, 1 + self.scale

    def reach(self, size: int) -> tuple[float, float]:
        """The first and the last pixel of the plain crop, along both axes, that an augmented one can show."""
        angle, centre = min(np.deg2rad(self.rotation), np.pi / 4), (size - 1) / 2
        half = (centre + self.translation * size) * (np.cos(angle) + np.sin(angle)) / self.zooms[0]
        return centre - half, centre + half

    def geometry(self, rng: np.random.Generator, size: int) -> tuple[Floats, bool]:
        """A random affine (2, 3) from pixels of the augmented crop to pixels of the plain one, and whether it flips."""
        # Every number is drawn whether used or not, so that turning one change off leaves the others as they were.
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation)) * (rng.random() < self.rotation_p)
        zoom = rng.uniform(1 - self.scale, 1 + self.scale)
        shift = rng.uniform(-self.translation, self.translation, 2) * size * (rng.random() < self.translation_p)
        flipped = bool(rng.random() < self.flip_p)
        centre = (size - 1) / 2
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        affine = np.concatenate([linear, (centre - linear @ (centre + shift))[:, None]], axis=1)
        if flipped:
            affine = compose(affine, np.array([[-1.0, 0.0, size - 1.0], [0.0, 1.0, 0.0]]))
        return affine, flipped

    def appearance(
        self, rng: np.random.Generator, image: Image, landmarks: Floats, visible: NDArray[np.bool_]
    ) -> tuple[Image, NDArray[np.bool_]]:
        """The crop (H, W, 3) with an occluder, blur and other colours; and which landmarks (N,) are still visible."""
        size = image.shape[0]
        use_occluder, sides = rng.random() < self.occluder_p, rng.uniform(0, self.occluder, 2) * size
        # PIPNet's code lets the rectangle begin at most 10 of 256 pixels from the far edge.
        corner = rng.uniform(0, size * (1 - 10 / 256), 2)
        colour = rng.integers(0, 256, 3, dtype=np.uint8)
        if use_occluder:
            image = image.copy()
            first, last = corner.astype(int), (corner + sides).astype(int)
            image[first[1] : last[1], first[0] : last[0]] = colour
            visible = visible & ~((landmarks > first - 0.5) & (landmarks < last - 0.5)).all(axis=-1)
        # Each has a seed of its own. The library's Compose gives one to all, and the same draw of each then decides
        # whether it is used: every grey face would be blurred too.
        for change, share in self.pipeline(size):
            used, seed = rng.random() < share, int(rng.integers(2**31))
            if used:
                change.set_random_seed(seed)
                image = change(image=image)["image"]
        return image, visible

    def pipeline(self, size: int) -> list[tuple[Any, float]]:
        """The library's part of ``appearance`` for crops of this size, made once, and the share of faces for each.

        Ask for it before workers start: W&B's import hook fails in a forked process.
        """
        blur_p, colour_p = self.blur_p if self.blur else 0.0, self.colour_p if self.colour else 0.0
        return list(zip(_changes(self.blur * size, self.colour), (blur_p, colour_p, self.grey_p), strict=True))


@cache
def _changes(blur: float, colour: float) -> tuple[Any, ...]:
    import albumentations  # here: its import takes over two seconds, and only training needs it

    light = (max(0.0, 1 - colour), 1 + colour)
    return (
        albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0, blur), p=1),
        albumentations.ColorJitter(light, light, light, (-colour / 10, colour / 10), p=1),
        albumentations.ToGray(p=1),
    )
