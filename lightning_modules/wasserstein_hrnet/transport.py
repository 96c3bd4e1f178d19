"""Optimal transport from predictions to Gaussian targets: what all solvers take and give (Yan et al. 2021, Eq. 4).

Letters: P pairs of a prediction and a target, h x w cells, M cells of a target's window. Distances are in cells.
"""

from abc import ABC, abstractmethod
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

RADIUS = 3.0  # of a target's window, in sigma: outside it a Gaussian has 1.1 % of its mass


class Transport(NamedTuple):
    """What it costs to carry predictions to their targets."""

    cost: Tensor  # (P,) in cells
    potential: Tensor  # (P, h, w): the gradient of the regularised cost with respect to the prediction's cells


class Solver(ABC):
    """Entropic optimal transport with the Euclidean distance between cells as its ground cost.

    The plan P minimises <P, C> + epsilon KL(P | u v^T) among those whose sums are the prediction u and the target v.
    """

    @abstractmethod
    def __call__(self, source: Tensor, centres: Tensor, sigma: float, epsilon: float) -> Transport:
        """Carry predictions to `Target`s; nothing is differentiated, in no precision below float32.

        Args:
            source: (P, h, w), each non-negative with a sum of 1.
            centres: of the targets (P, 2) as (x, y) in cells, finite.
            sigma: of the targets, in cells.
            epsilon: weight of the entropy, in cells; see `check`.
        """

    def check(self, sigma: float, epsilon: float) -> None:  # noqa: B027
        """Refuse what the solver cannot take; by default nothing.

        Raises:
            ValueError: the epsilon is too small.
        """


class Target(NamedTuple):
    """Gaussians about centres, cut off at the map's edges and beyond the `window` of the nearest cell, that sum to 1.

    A softmax of a Gaussian of peak 1, which the paper can be read to mean, would be almost uniform.
    """

    cell: Tensor  # (P, 2) int64 as (x, y): the cell nearest to the centre
    offsets: Tensor  # (M, 2) int64: the window, in cells from there
    mass: Tensor  # (P, M)

    @classmethod
    def of(cls, centres: Tensor, sigma: float, offsets: Tensor, height: int, width: int) -> "Target":
        """Targets for centres (P, 2) in cells; one beyond the map is moved to the nearest point of its border.

        Args:
            centres: finite.
            sigma: in cells.
            offsets: of the `window` of this sigma.
            height: of the map, h.
            width: of the map, w.
        """
        centres = within(centres, height, width)
        cell = (centres + 0.5).floor()  # not round, which goes to even numbers: a move would change the window
        place = cell.unsqueeze(1) + offsets  # (P, M, 2)
        exponent = -0.5 * ((place - centres.unsqueeze(1)) / sigma).square().sum(dim=-1)
        inside = (place >= 0).all(dim=-1) & (place[..., 0] < width) & (place[..., 1] < height)
        return cls(cell.long(), offsets, exponent.masked_fill(~inside, -torch.inf).softmax(dim=1))

    def maps(self, height: int, width: int) -> Tensor:
        """As maps (P, h, w)."""
        place = self.cell.unsqueeze(1) + self.offsets
        inside = (place >= 0).all(dim=-1) & (place[..., 0] < width) & (place[..., 1] < height)
        flat = (place[..., 1] * width + place[..., 0]) * inside
        maps = self.mass.new_zeros(len(self.cell), height * width)
        return maps.scatter_add_(1, flat, self.mass * inside).view(-1, height, width)


def within(centres: Tensor, height: int, width: int) -> Tensor:
    """Points (P, 2) as (x, y) in cells, those beyond a map moved to the nearest point of its border."""
    x, y = centres.unbind(dim=1)  # by plain numbers: a tensor of them would have to go to the device
    return torch.stack([x.clamp(0, width - 1), y.clamp(0, height - 1)], dim=1)


@cache  # a window that goes to a device makes the program wait for it
def window(sigma: float, device: torch.device | None = None) -> Tensor:
    """Offsets (M, 2), int64, of the cells that a Gaussian can reach whose centre is within half a cell."""
    reach = int(RADIUS * sigma + 0.5)
    line = torch.arange(-reach, reach + 1)
    offsets = torch.cartesian_prod(line, line).flip(1)  # row by row, as (x, y)
    return offsets[offsets.square().sum(dim=1) <= (RADIUS * sigma + 0.5) ** 2].to(device)
