"""Smooth displacements of a frame by cubic B-splines, and how to make those of thin-plate splines.

Letters: B frames, P points, m x m coefficients, H x W pixels. Points are (x, y), the centre of the top-left pixel is
(0, 0).
"""

from functools import cache

import torch
from torch import Tensor

CELLS = 16  # of the grid of coefficients along each side of the frame
COUNT = CELLS + 3  # coefficients along each side, m: the outermost lie a cell beyond the frame


def basis(places: Tensor, side: int) -> Tensor:
    """What each coefficient along a side weighs (..., m) at places (...) in pixels of a side of the frame.

    Cubic B-splines, which sum to 1 in the frame and fall to 0 beyond it.
    """
    cell = (places + 0.5) * (CELLS / side)
    return _cubic(cell.unsqueeze(-1) - torch.arange(-1, COUNT - 1, dtype=places.dtype, device=places.device))


def displacements(coefficients: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """How far a spline moves points (B, P, 2), in pixels (B, P, 2); its coefficients are (B, 2, m, m), row by row."""
    across, down = basis(points[..., 0], width), basis(points[..., 1], height)
    return torch.einsum("bpr,bcrs,bps->bpc", down, coefficients, across)


def field(coefficients: Tensor, height: int, width: int) -> Tensor:
    """The same at all pixels: (B, 2, H, W), x first."""
    across, down = (basis(torch.arange(size).to(coefficients), size) for size in (width, height))
    return down @ coefficients @ across.T


def steepness(coefficients: Tensor, height: int, width: int) -> Tensor:
    """A bound (B,) of how much a displacement changes from a point to another, in shares of their distance.

    The derivative of a B-spline is one of the differences of its coefficients, which it never exceeds.
    """
    along = coefficients.diff(dim=3).abs().amax(dim=(2, 3)) * (CELLS / width)
    down = coefficients.diff(dim=2).abs().amax(dim=(2, 3)) * (CELLS / height)
    return (along.square() + down.square()).sum(dim=1).sqrt()


def thin_plate(moves: Tensor) -> Tensor:
    """Coefficients (B, 2, m, m) of thin-plate splines that move a grid of control points.

    These lie evenly in the frame, the first in its corners. The thin-plate spline is met at the grid's nodes.

    Args:
        moves: (B, n, n, 2) of the control points, row by row, in pixels.
    """
    count, n = len(moves), moves.shape[1]
    matrix = _thin_plate_matrix(n).to(moves)
    return (matrix @ moves.view(count, n * n, 2)).view(count, COUNT, COUNT, 2).permute(0, 3, 1, 2)


def smooth(moves: Tensor) -> Tensor:
    """Coefficients (B, 2, m, m) of the cubic B-splines with n x n coefficients (B, n, n, 2): elastic deformations.

    The coarser they are, the smoother.
    """
    n = moves.shape[1]
    nodes = (torch.arange(-1, COUNT - 1, dtype=torch.float64) / CELLS * (n - 3)).unsqueeze(1)
    matrix = (_prefilter() @ _cubic(nodes - torch.arange(-1, n - 1))).to(moves)
    return torch.einsum("rj,bjkc,sk->bcrs", matrix, moves, matrix)


def _cubic(distance: Tensor) -> Tensor:
    """The cubic B-spline at distances from its middle, in cells."""
    distance = distance.abs()
    return torch.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp_min(0) ** 3 / 6)


@cache
def _prefilter() -> Tensor:
    """Coefficients (m, m) of the spline through values at the nodes, whose second derivative is 0 at the ends."""
    to_values = torch.zeros(COUNT, COUNT, dtype=torch.float64)
    for i in range(1, COUNT - 1):
        to_values[i, i - 1 : i + 2] = torch.tensor([1 / 6, 2 / 3, 1 / 6])
    for row, outer in ((0, 0), (-1, -3)):  # the coefficient beyond an end goes on in a line, and so meets its value
        to_values[row, outer : outer + 3 or None] = torch.tensor([1.0, -2.0, 1.0])
    values = torch.eye(COUNT, dtype=torch.float64)
    values[0, 0] = values[-1, -1] = 0
    return torch.linalg.solve(to_values, values)


@cache
def _thin_plate_matrix(n: int) -> Tensor:
    """From moves of n x n control points to coefficients: (m m, n n), in float64."""
    line = torch.linspace(0, 1, n, dtype=torch.float64)
    control = torch.cartesian_prod(line, line)  # row by row
    ends = torch.cat([_bend(control, control), _plane(control)], dim=1)
    system = torch.cat([ends, torch.cat([_plane(control).T, ends.new_zeros(3, 3)], dim=1)])
    weights = torch.linalg.solve(system, torch.eye(n * n + 3, n * n, dtype=torch.float64))
    line = torch.arange(-1, COUNT - 1, dtype=torch.float64) / CELLS
    nodes = torch.cartesian_prod(line, line)
    values = torch.cat([_bend(nodes, control), _plane(nodes)], dim=1) @ weights
    filtered = torch.einsum("ai,bj,ijk->abk", _prefilter(), _prefilter(), values.view(COUNT, COUNT, n * n))
    return filtered.reshape(COUNT * COUNT, n * n)


def _bend(points: Tensor, control: Tensor) -> Tensor:
    """r^2 log r of all distances."""
    distance = torch.cdist(points, control, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.xlogy(distance**2, distance)


def _plane(points: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(points[:, :1]), points], dim=1)
