"""Heatmaps and landmarks: the pixel convention, stated once.

The centre of the top-left input pixel is (0, 0). A heatmap of stride k covers the same square as the input, so the
centre of its cell c lies at input pixel k (c + 0.5) - 0.5. Letters: B images, N landmarks, h x w cells.
"""

import torch
from torch import Tensor


def cell_to_pixel(cell: Tensor, stride: float) -> Tensor:
    """Heatmap coordinates in cells to input pixels."""
    return (cell + 0.5) * stride - 0.5


def pixel_to_cell(pixel: Tensor, stride: float) -> Tensor:
    """Input pixels to heatmap coordinates in cells."""
    return (pixel + 0.5) / stride - 0.5


def barycentre(heatmaps: Tensor) -> Tensor:
    """Centre of mass (..., 2) as (x, y) in cells, of non-negative heatmaps (..., h, w)."""
    height, width = heatmaps.shape[-2:]
    total = heatmaps.sum(dim=(-2, -1)).clamp_min(torch.finfo(heatmaps.dtype).tiny)
    # Sums of products, not matrix products: autocast would round those to bfloat16, a fifth of a cell.
    x = (heatmaps.sum(dim=-2) * torch.arange(width, dtype=heatmaps.dtype, device=heatmaps.device)).sum(dim=-1)
    y = (heatmaps.sum(dim=-1) * torch.arange(height, dtype=heatmaps.dtype, device=heatmaps.device)).sum(dim=-1)
    return torch.stack([x, y], dim=-1) / total.unsqueeze(-1)


def spread(heatmaps: Tensor) -> Tensor:
    """Root of the total variance, sqrt(var x + var y), in cells (...), of heatmaps (..., h, w) read as distributions.

    The official LDEQ code subtracts a mean in [0, 1] from a grid of 0..63, so that a one-hot heatmap reports 0.49
    rather than 0; here mean and grid share a unit.
    """
    height, width = heatmaps.shape[-2:]
    total = heatmaps.sum(dim=(-2, -1)).clamp_min(torch.finfo(heatmaps.dtype).tiny)
    mean = barycentre(heatmaps)
    x = torch.arange(width, dtype=heatmaps.dtype, device=heatmaps.device) - mean[..., :1]  # (..., w)
    y = torch.arange(height, dtype=heatmaps.dtype, device=heatmaps.device) - mean[..., 1:]  # (..., h)
    variance = (heatmaps.sum(dim=-2) * x**2).sum(dim=-1) + (heatmaps.sum(dim=-1) * y**2).sum(dim=-1)
    return (variance / total).sqrt()
