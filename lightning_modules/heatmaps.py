"""Heatmaps and landmarks: the pixel convention, stated once.

The centre of the top-left input pixel is (0, 0). A heatmap of stride k covers the same square as the input, so the
centre of its cell c lies at input pixel k (c + 0.5) - 0.5. Letters: B images, N landmarks, h x w cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def cell_to_pixel(cell: Tensor, stride: float) -> Tensor:
    """Heatmap coordinates in cells to input pixels."""
    return (cell + 0.5) * stride - 0.5


def pixel_to_cell(pixel: Tensor, stride: float) -> Tensor:
    """Input pixels to heatmap coordinates in cells."""
    return (pixel + 0.5) / stride - 0.5


def render(centres: Tensor, sigma: float, width: int, height: int) -> Tensor:
    """Gaussians (..., h, w) at centres (..., 2) in cells, wherever between or beyond the cells these are; peak 1.

    The codes of Xiao et al. (2018) and HRNet round the centre to a cell, so that labels are up to half a cell wrong,
    and cut the Gaussian off at 3 sigma.

    Args:
        centres: (x, y).
        sigma: in cells.
        width: of the map in cells, w.
        height: of the map in cells, h.
    """
    x = torch.arange(width, dtype=centres.dtype, device=centres.device) - centres[..., :1]  # (..., w)
    y = torch.arange(height, dtype=centres.dtype, device=centres.device) - centres[..., 1:]  # (..., h)
    across, down = (torch.exp(-0.5 * (distance / sigma) ** 2) for distance in (x, y))
    return down.unsqueeze(-1) * across.unsqueeze(-2)


def argmax(heatmaps: Tensor) -> Tensor:
    """The cell (..., 2) as (x, y) of the largest value of heatmaps (..., h, w), moved by a quarter along x and along y.

    As in the code of Xiao et al. (2018) it moves towards the larger of the two neighbours of each axis, and not where
    they are equal; here up to the map's edge, where there is only one. The PIPNet paper says that it moves "in the
    direction from the highest response to the second highest response", which would be a single move. NaN where the
    largest value is not finite: a diverged network finds nothing.
    """
    peak = _Peak.of(heatmaps)
    steps = [_quarter(line, at) for line, at in zip(peak.lines, peak.cell, strict=True)]
    return peak.point(*steps)


def neighbour_mean(heatmaps: Tensor) -> Tensor:
    """The mean place (..., 2) as (x, y) of the largest value's cell and its four neighbours, weighted by their values.

    Of heatmaps (..., h, w); values below 0 weigh nothing. NaN where the largest value is not finite or not above 0.
    """
    peak = _Peak.of(heatmaps)
    sides = [_sides(line, at) for line, at in zip(peak.lines, peak.cell, strict=True)]
    total = peak.value + sum(after + before for after, before in sides)
    found = peak.point(*((after - before) / total for after, before in sides))
    return found.masked_fill(~(peak.value > 0).unsqueeze(-1), torch.nan)


class _Peak(NamedTuple):
    """The largest values (...) of heatmaps (..., h, w)."""

    value: Tensor
    cell: tuple[Tensor, Tensor]  # x and y (...)
    lines: tuple[Tensor, Tensor]  # its row (..., w) and its column (..., h)

    @classmethod
    def of(cls, heatmaps: Tensor) -> "_Peak":
        width = heatmaps.shape[-1]
        value, cell = heatmaps.flatten(-2).max(dim=-1)
        x, y = cell % width, cell // width
        row = heatmaps.gather(-2, y[..., None, None].expand(*y.shape, 1, width)).squeeze(-2)
        column = heatmaps.gather(-1, x[..., None, None].expand(*x.shape, heatmaps.shape[-2], 1)).squeeze(-1)
        return cls(value, (x, y), (row, column))

    def point(self, along_x: Tensor, along_y: Tensor) -> Tensor:
        """The cell moved by steps (...), NaN where the value is not finite."""
        found = torch.stack([self.cell[0] + along_x, self.cell[1] + along_y], dim=-1)
        return found.masked_fill(~self.value.isfinite().unsqueeze(-1), torch.nan)


def _quarter(line: Tensor, at: Tensor) -> Tensor:
    """A quarter, with the sign of the slope at positions (...) of lines (..., n); 0 at their ends."""
    last = line.shape[-1] - 1
    after, before = (line.gather(-1, (at + step).clamp(0, last).unsqueeze(-1)).squeeze(-1) for step in (1, -1))
    return 0.25 * (after - before).sign() * ((at > 0) & (at < last))


def _sides(line: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Values (...) after and before positions (...) of lines (..., n), 0 where negative or beyond their ends."""
    last = line.shape[-1] - 1
    after, before = (line.gather(-1, (at + step).clamp(0, last).unsqueeze(-1)).squeeze(-1) for step in (1, -1))
    return after.clamp_min(0) * (at < last), before.clamp_min(0) * (at > 0)


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
