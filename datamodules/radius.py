"""Distances within which a landmark counts as found."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Radius:
    """A length in pixels of the original image, or of the crop as if its side had ``side`` pixels.

    Args:
        pixels: the length.
        side: None for the original image.
    """

    pixels: float
    side: int | None = None

    @property
    def title(self) -> str:
        """``12 pixels of the image``, ``6/128 of the crop's side``."""
        if self.side is None:
            return f"{self.pixels:g} pixels of the image"
        return f"{self.pixels:g}/{self.side} of the crop's side"

    def in_input(self, crop: Tensor, side: int) -> Tensor:
        """The length (B,) in input pixels, by the batch's ``crop`` (B, 2, 3) and the input's side."""
        if self.side is None:
            return self.pixels / torch.linalg.det(crop[..., :2]).abs().sqrt()
        return torch.full_like(crop[:, 0, 0], self.pixels * side / self.side)
