"""Changes of how images look that leave everything where it is, on the device (Rahaman et al. 2021, section 4)."""

import math
from dataclasses import dataclass

import torch
from kornia.color import rgb_to_grayscale
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation_with_gray_subtraction,
)
from torch import Tensor

from lightning_modules.processes import Draws


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

    def __call__(self, image: Tensor, draws: Draws) -> Tensor:
        """Images (B, 3, H, W) in [0, 255], each changed as was drawn for it; the order of changes is the batch's."""
        factors = [1 + (2 * draws.rand() - 1) * most for most in (self.brightness, self.contrast, self.saturation)]
        turns = (2 * draws.rand() - 1) * self.hue
        grey, noisy = draws.rand() < self.grey, draws.rand() < 0.5
        changes = (
            (adjust_brightness_accumulative, factors[0]),
            (adjust_contrast_with_mean_subtraction, factors[1]),
            (adjust_saturation_with_gray_subtraction, factors[2]),
            (adjust_hue, 2 * math.pi * turns),
        )
        with torch.no_grad():
            found = image.to(draws.dtype) / 255
            for place in draws.order(len(changes)):
                change, amount = changes[place]
                found = change(found, amount)
            found = torch.where(_each(grey), rgb_to_grayscale(found), found)
            if self.noise:
                found = found + self.noise * _each(noisy) * draws.noise(*found.shape[1:])
            return 255 * found.clamp(0, 1)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


# Checkpoints hold it among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Appearance])
