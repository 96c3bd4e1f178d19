"""Where a feature of one image is found in another (Rahaman et al. 2021, Eq. 4 to 6).

Letters: B images, P points, D channels, H x W pixels. Points are (x, y), the centre of the top-left pixel is (0, 0).
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from lightning_modules.heatmaps import precise


def features_at(features: Tensor, points: Tensor) -> Tensor:
    """Features (B, P, D) of maps (B, D, H, W) at points (B, P, 2), between pixels in proportion."""
    features = precise(features)  # in bfloat16 the places themselves would be off by half a pixel
    height, width = features.shape[-2:]
    x, y = points.unbind(dim=-1)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1).to(features.dtype)
    found = grid_sample(features, grid.unsqueeze(1), padding_mode="border", align_corners=False)
    return found.squeeze(2).mT


def similarities(features: Tensor, wanted: Tensor) -> Tensor:
    """Cosines (B, P, H, W) of features (B, D, H, W) with wanted ones (B, P, D).

    In float32 under autocast too: in bfloat16 many pixels about the best are equal to it.
    """
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bdhw,bpd->bphw", normalize(precise(features), dim=1), normalize(precise(wanted), dim=2))


def best_matches(maps: Tensor) -> Tensor:
    """The pixels (B, P, 2) of the highest `similarities` (B, P, H, W) (Eq. 4)."""
    width = maps.shape[-1]
    best = maps.flatten(2).argmax(dim=2)
    return torch.stack([best % width, best // width], dim=-1).float()


def match_errors(one: Tensor, other: Tensor, points: Tensor, moved: Tensor) -> Tensor:
    """How far from where points have gone their features are found, in pixels (B, P).

    Args:
        one: (B, D, H, W) features of the images.
        other: of the deformed images; resolutions that are lower are enlarged before.
        points: (B, P, 2) in the images.
        moved: (B, P, 2) where the deformation has moved them to.
    """
    return (best_matches(similarities(other, features_at(one, points))) - moved).norm(dim=-1)
