"""Changes of how images look that leave everything where it is, on the device (Rahaman et al. 2021, section 4)."""

from dataclasses import dataclass
from functools import cache

import torch
from kornia.augmentation import AugmentationSequential, ColorJitter, RandomGaussianNoise, RandomGrayscale
from torch import Tensor


@dataclass(frozen=True)
class Appearance:
    """Random changes of images, others for each; the paper names intensity, contrast and noise, and no ranges.

    Args:
        brightness: largest change, as a factor less or more than 1.
        contrast: the same, of the difference from the mean grey.
        saturation: the same, of the difference from the pixel's grey.
        hue: largest turn of the colours, in turns, at most 0.5.
        noise: standard deviation of noise in half of the images, in shares of white.
        grey: share of the images that lose their colours.

    Raises:
        ValueError: for numbers out of range.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.05
    noise: float = 0.03
    grey: float = 0.1

    def __post_init__(self) -> None:
        highest = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5, "noise": 1.0, "grey": 1.0}
        for key, most in highest.items():
            if not 0 <= getattr(self, key) <= most:
                raise ValueError(f"{key} of the appearance is {getattr(self, key)}, expected 0 to {most}")

    def __call__(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 255], changed by torch's own random numbers."""
        with torch.no_grad():
            found: Tensor = _pipeline(self)(image.float() / 255)
            return 255 * found.clamp(0, 1)


@cache
def _pipeline(appearance: Appearance) -> AugmentationSequential:
    a = appearance
    return AugmentationSequential(
        ColorJitter(a.brightness, a.contrast, a.saturation, a.hue, p=1.0),
        RandomGrayscale(p=a.grey),
        RandomGaussianNoise(std=a.noise, p=0.5),
    )


# Checkpoints hold it among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Appearance])
