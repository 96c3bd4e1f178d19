"""Heatmaps and landmarks: the pixel convention, stated once.

The centre of the top-left input pixel is (0, 0). A heatmap of stride k covers the same square as the input, so the
centre of its cell c lies at input pixel k (c + 0.5) - 0.5. Letters: B images, N landmarks, h x w cells.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from lightning_modules.processes import mean_count


class HeatmapLoss(ABC):
    """Loss of heatmaps (B, N, h, w) without activation against points (B, N, 2) as (x, y) in cells."""

    of_softmax: ClassVar[bool] = True  # whether it reads heatmaps by their softmax, which no constant changes

    def __call__(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """Of each landmark (B, N), in float32 at least; 0 where the point is not finite.

        Raises:
            ValueError: there is not one point for each heatmap.
        """
        if heatmaps.ndim != 4 or centres.shape != (*heatmaps.shape[:2], 2):
            raise ValueError(
                f"heatmaps have shape {tuple(heatmaps.shape)} and points {tuple(centres.shape)}, expected (faces, "
                "landmarks, height, width) and (faces, landmarks, 2)"
            )
        return self.compare(precise(heatmaps), centres)

    @abstractmethod
    def compare(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """As the call, of heatmaps in float32 or float64."""

    def mean(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """Over the landmarks whose points are finite, of all processes (`mean_count`); 0 where there is none."""
        known = centres.isfinite().all(dim=-1).sum()
        return self(heatmaps, centres).sum() / mean_count(known)


def precise(heatmaps: Tensor) -> Tensor:
    """Heatmaps in float32, or in float64 where they are."""
    return heatmaps if heatmaps.dtype == torch.float64 else heatmaps.float()


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
    peak, x, y = _peak(heatmaps)
    row, column = _cross(heatmaps, x, y)
    found = torch.stack([x + _quarter(row, x), y + _quarter(column, y)], dim=-1)
    return found.masked_fill(~peak.isfinite().unsqueeze(-1), torch.nan)


def bilinear_argmax(heatmaps: Tensor) -> Tensor:
    """The mean place (..., 2) as (x, y) of four cells that meet at a corner, weighted by their values.

    They are the cell of the largest value of heatmaps (..., h, w), the larger of its two neighbours along x, that along
    y, and the cell beside both; values below 0 weigh nothing. It is the point from which bilinear weights would share
    a value of 1 out in the proportions of the four; in the middle of a broad peak it is off by nearly half a cell.
    Where no value is above 0 it is the cell of the largest, and NaN where that is not finite.
    """
    peak, x, y = _peak(heatmaps)
    row, column = _cross(heatmaps, x, y)
    step_x, step_y = (torch.where(_slope(line, at) < 0, -1, 1) for line, at in ((row, x), (column, y)))
    height, width = heatmaps.shape[-2:]
    # One of two neighbours is beyond the edge: the other is taken, or in a map of one line the cell itself
    other_x, other_y = (
        (at + step).clamp(0, last) for at, step, last in ((x, step_x, width - 1), (y, step_y, height - 1))
    )
    flat = heatmaps.flatten(-2)
    places = torch.stack([x, other_x, x, other_x], dim=-1), torch.stack([y, y, other_y, other_y], dim=-1)
    values = flat.gather(-1, places[1] * width + places[0]).clamp_min(0)
    values[..., 0] += (peak <= 0).to(values.dtype)
    total = values.sum(dim=-1)
    found = torch.stack([(values * place).sum(dim=-1) / total for place in places], dim=-1)
    return found.masked_fill(~peak.isfinite().unsqueeze(-1), torch.nan)


def _peak(heatmaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest value (...) of heatmaps (..., h, w), and x and y of its cell."""
    value, cell = heatmaps.flatten(-2).max(dim=-1)
    return value, cell % heatmaps.shape[-1], cell // heatmaps.shape[-1]


def _cross(heatmaps: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Row (..., w) and column (..., h) of cells (...)."""
    height, width = heatmaps.shape[-2:]
    row = heatmaps.gather(-2, y[..., None, None].expand(*y.shape, 1, width)).squeeze(-2)
    return row, heatmaps.gather(-1, x[..., None, None].expand(*x.shape, height, 1)).squeeze(-1)


def _slope(line: Tensor, at: Tensor) -> Tensor:
    """The value after less that before positions (...) of lines (..., n); at their ends 1 or -1, inwards."""
    last = line.shape[-1] - 1
    after, before = (line.gather(-1, (at + step).clamp(0, last).unsqueeze(-1)).squeeze(-1) for step in (1, -1))
    return torch.where(at == 0, 1.0, torch.where(at == last, -1.0, after - before))


def _quarter(line: Tensor, at: Tensor) -> Tensor:
    """A quarter, with the sign of the slope at positions (...) of lines (..., n); 0 at their ends."""
    return 0.25 * _slope(line, at).sign() * ((at > 0) & (at < line.shape[-1] - 1))


def barycentre(heatmaps: Tensor) -> Tensor:
    """Centre of mass (..., 2) as (x, y) in cells, of non-negative heatmaps (..., h, w)."""
    return _middle(heatmaps.sum(dim=-2), heatmaps.sum(dim=-1))


def _middle(across: Tensor, down: Tensor) -> Tensor:
    """The barycentre of heatmaps whose columns sum to ``across`` (..., w) and whose rows to ``down`` (..., h)."""
    # Sums of products, not matrix products: autocast would round those to bfloat16, a fifth of a cell.
    x = (across * torch.arange(across.shape[-1], dtype=across.dtype, device=across.device)).sum(dim=-1)
    y = (down * torch.arange(down.shape[-1], dtype=down.dtype, device=down.device)).sum(dim=-1)
    return torch.stack([x, y], dim=-1) / _mass(across).unsqueeze(-1)


def _mass(across: Tensor) -> Tensor:
    return across.sum(dim=-1).clamp_min(torch.finfo(across.dtype).tiny)


def variance(heatmaps: Tensor) -> Tensor:
    """Total variance, var x + var y, in cells squared (...), of heatmaps (..., h, w) read as distributions.

    The official LDEQ code subtracts a mean in [0, 1] from a grid of 0..63, so that of a one-hot heatmap it takes the
    root to be 0.49 rather than 0; here mean and grid share a unit.
    """
    across, down = heatmaps.sum(dim=-2), heatmaps.sum(dim=-1)
    mean = _middle(across, down)
    x = torch.arange(across.shape[-1], dtype=mean.dtype, device=mean.device) - mean[..., :1]  # (..., w)
    y = torch.arange(down.shape[-1], dtype=mean.dtype, device=mean.device) - mean[..., 1:]  # (..., h)
    return ((across * x**2).sum(dim=-1) + (down * y**2).sum(dim=-1)) / _mass(across)
