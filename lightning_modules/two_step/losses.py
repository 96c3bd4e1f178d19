"""The losses of a landmark detector without labels (Rahaman et al. 2021, Eq. 2 and 3, section 4).

Letters: B images, K landmarks, H x W pixels. Points are (x, y) in pixels.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lightning_modules.heatmaps import precise, variance
from lightning_modules.processes import mean_count


def distributions(heatmaps: Tensor, temperature: float = 1.0) -> Tensor:
    """Spatial softmax of heatmaps (B, K, H, W)."""
    return (precise(heatmaps) / temperature).flatten(2).softmax(dim=2).view(heatmaps.shape)


def equivariance_loss(moved: Tensor, found: Tensor, side: int) -> Tensor:
    """Squared distance of landmarks in deformed images from where those of the images are moved to (Eq. 2).

    A landmark that leaves the frame has no place there, and counts for nothing.

    Args:
        moved: (B, K, 2) g(y(x)), landmarks of the images moved by the deformation.
        found: (B, K, 2) y(g(x)), landmarks of the deformed images.
        side: of the frame in pixels, of which halves are the unit of the loss: coordinates go from -1 to 1.
    """
    inside = ((moved >= -0.5) & (moved <= side - 0.5)).all(dim=-1)
    error = ((moved - found) * (2 / side)).square().sum(dim=-1)
    return torch.where(inside, error, 0.0).sum() / mean_count(inside.sum())


def diversity_loss(mass: Tensor, patch: int) -> Tensor:
    """Mass of distributions (B, K, H, W) that lies in patches where another landmark has more (Eq. 3), a landmark.

    0 where no patch has mass of two landmarks, 1 - 1 / K where all coincide.

    Args:
        mass: of each landmark over the pixels, which sums to 1.
        patch: side of the patches in pixels; the last ones are cut off by the frame.
    """
    sums = avg_pool2d(mass, patch, ceil_mode=True, divisor_override=1).flatten(2)
    return (sums.sum(dim=1) - sums.amax(dim=1)).sum(dim=1).mean() / mass.shape[1]


def variance_loss(mass: Tensor) -> Tensor:
    """Trace of the covariance of distributions (B, K, H, W), in units of half a frame's side squared, a landmark."""
    return variance(mass).mean() * (2 / max(mass.shape[-2:])) ** 2
