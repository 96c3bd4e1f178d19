"""Where a heatmap says that its landmark is. Letters: h x w cells."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.heatmaps import argmax, barycentre, bilinear_argmax, precise


class Decoding(ABC):
    """Points (..., 2) as (x, y) in cells, and how sure of them (...) in [0, 1], of heatmaps (..., h, w)."""

    @abstractmethod
    def __call__(self, heatmaps: Tensor, of_softmax: bool) -> tuple[Tensor, Tensor]:
        """See the class.

        Args:
            heatmaps: without activation.
            of_softmax: whether the network was taught by their softmax, so that they have any height.
        """


@dataclass(frozen=True)
class QuarterOffset(Decoding):
    """The largest value's cell, moved by a quarter towards the larger neighbours: GET_MAX of HRNet's code."""

    def __call__(self, heatmaps: Tensor, of_softmax: bool) -> tuple[Tensor, Tensor]:
        """See `Decoding`; as sure as the largest value is high, cut to [0, 1]."""
        values = _softmax(heatmaps) if of_softmax else heatmaps
        return argmax(values), values.amax(dim=(-2, -1)).clamp(0, 1)


@dataclass(frozen=True)
class Bilinear(Decoding):
    """The mean place of the four cells about the peak, weighted by their values: GET_MAX as the paper has it.

    Section 5.3: "use interpolation and resample the numerical coordinates using 4 neighbouring pixel (bilinear
    interpolation)"; how, it does not say.
    """

    def __call__(self, heatmaps: Tensor, of_softmax: bool) -> tuple[Tensor, Tensor]:
        """See `Decoding`; as sure as the largest value is high, cut to [0, 1]."""
        values = _softmax(heatmaps) if of_softmax else heatmaps
        return bilinear_argmax(values), values.amax(dim=(-2, -1)).clamp(0, 1)


@dataclass(frozen=True)
class Barycentre(Decoding):
    """The barycentre of the heatmap's softmax: GET_BC (Eq. 6). Not for heatmaps taught by L2, whose softmax is flat."""

    def __call__(self, heatmaps: Tensor, of_softmax: bool) -> tuple[Tensor, Tensor]:
        """See `Decoding`; as sure as there is mass within a cell and a half of the barycentre."""
        mass = _softmax(heatmaps)
        found = barycentre(mass)
        x, y = (
            (torch.arange(size, device=mass.device) - found[..., axis, None]).abs() <= 1.5
            for axis, size in enumerate((mass.shape[-1], mass.shape[-2]))
        )
        return found, (mass * (y.unsqueeze(-1) & x.unsqueeze(-2))).sum(dim=(-2, -1))


def _softmax(heatmaps: Tensor) -> Tensor:
    return precise(heatmaps).flatten(-2).softmax(dim=-1).view(heatmaps.shape)


# Checkpoints hold the decoding among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([QuarterOffset, Bilinear, Barycentre])
