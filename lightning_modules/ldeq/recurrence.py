"""Recurrence without recurrence: what the last frame's equilibrium is good for in a video.

Section 4 of Micaelli et al. 2023 (arXiv:2304.00600). The cell was trained on single images.
Letters: V videos, K maps of h x w cells.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.heatmaps import cell_to_pixel, pixel_to_cell
from lightning_modules.ldeq.network import STRIDE
from lightning_modules.ldeq.solvers import Map, Solver, check_range

EVALUATIONS = 25  # of the objective in an iteration of L-BFGS at most, which is what its line search allows


class Recurrence(ABC):
    """A way to find the maps of a frame.

    ``warp`` says whether the last equilibrium is moved to where the new crop sees it, where the crop moves. The
    released code does not.
    """

    warp: bool

    @property
    @abstractmethod
    def title(self) -> str:
        """Name with parameters, for tables."""

    @abstractmethod
    def __call__(self, f: Map, last: Tensor, solver: Solver) -> Tensor:
        """The maps (V, K, h, w) of a frame whose map is ``f``, given those of the frame before."""


@dataclass(frozen=True)
class EarlyStopping(Recurrence):
    """RwR: start from the last equilibrium and stop after a few iterations, which keeps what is found near it.

    Args:
        iterations: evaluations of f at most; the released code's setting of 1 evaluates it twice.
        tolerance: relative residual at which a frame is taken as the last one again, and a single evaluation is enough.
        warp: see `Recurrence`.
    """

    iterations: int = 2
    tolerance: float = 0.01
    warp: bool = True

    def __post_init__(self) -> None:
        check_range(self, iterations=(1, inf), tolerance=(0, inf))

    @property
    def title(self) -> str:
        """As in the paper, where iterations are 2."""
        iterations = f", {self.iterations} iteration{'s' * (self.iterations > 1)}" if self.iterations != 2 else ""
        return f"RwR{iterations}{'' if self.warp else ', not moved'}"

    def __call__(self, f: Map, last: Tensor, solver: Solver) -> Tensor:
        """See `Recurrence`."""
        return replace(solver, max_iterations=self.iterations, tolerance=self.tolerance)(f, last).image


@dataclass(frozen=True)
class Proximal(Recurrence):
    """The objective that RwR approximates, Eq. 8: min ||f(z) - z||^2 + alpha / 2 ||z - last||^2, by L-BFGS.

    To study what early stopping does, not to be fast: each iteration goes forward and backward through the cell, and
    videos are solved one by one. The released code has nothing of the kind.

    Args:
        alpha: how much nearness to the last equilibrium is worth; 0 is the equilibrium next to it.
        iterations: of L-BFGS, each with a line search (strong Wolfe conditions).
        memory: of L-BFGS.
        warp: see `Recurrence`.
    """

    alpha: float = 0.1
    iterations: int = 30
    memory: int = 10
    warp: bool = True

    def __post_init__(self) -> None:
        check_range(self, alpha=(0, inf), iterations=(1, inf), memory=(1, inf))

    @property
    def title(self) -> str:
        """With its weight."""
        return f"Eq. 8, alpha {self.alpha:g}{'' if self.warp else ', not moved'}"

    def __call__(self, f: Map, last: Tensor, solver: Solver) -> Tensor:
        """See `Recurrence`; the solver is not used.

        The maps are f of the minimum, as those of solvers are f of their best iterate. The minimum itself is no
        heatmap: thin mass, below zero in part, lies over the whole map, and the barycentre follows it away from the
        landmark. Without nearness f of it is the equilibrium; with nothing but nearness it is a single evaluation of f
        at the last equilibrium. Early stopping lies between.
        """
        with torch.no_grad():
            return f(self.minimum(f, last), torch.arange(len(last), device=last.device))

    def minimum(self, f: Map, last: Tensor) -> Tensor:
        """The z (V, K, h, w) at which Eq. 8 is lowest."""
        return torch.cat([self._solve(f, last[row : row + 1], row) for row in range(len(last))])

    def _solve(self, f: Map, last: Tensor, row: int) -> Tensor:
        z = last.clone(memory_format=torch.contiguous_format).requires_grad_()  # L-BFGS takes views
        rows = torch.tensor([row], device=last.device)
        descent = torch.optim.LBFGS(
            [z],
            max_iter=self.iterations,
            max_eval=EVALUATIONS * self.iterations,  # or else 1.25 an iteration, fewer than a line search may take
            history_size=self.memory,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            with torch.enable_grad():
                objective = self.objective(f(z, rows), z, last)
                (z.grad,) = torch.autograd.grad(objective, z)
            return objective

        descent.step(closure)  # type: ignore[no-untyped-call]
        return z.detach()

    def objective(self, fz: Tensor, z: Tensor, last: Tensor) -> Tensor:
        """Eq. 8 for f(z), summed over all maps."""
        return (fz - z).square().sum() + self.alpha / 2 * (z - last).square().sum()


def warped(maps: Tensor, move: Tensor) -> Tensor:
    """Maps (V, K, h, w) as another crop sees them, bilinear, zero beyond what they show.

    ``move`` (V, 2, 3) leads from the other crop's input pixels to those of the crop that the maps are of.
    """
    height, width = maps.shape[-2:]
    x, y = torch.meshgrid(
        torch.arange(width, device=maps.device), torch.arange(height, device=maps.device), indexing="xy"
    )
    pixels = cell_to_pixel(torch.stack([x, y], dim=-1).to(maps.dtype), STRIDE)  # (h, w, 2)
    linear, offset = move[:, None, None, :, :2], move[:, None, None, :, 2]
    # A sum of products: autocast would round a matrix product to bfloat16, a pixel
    cells = pixel_to_cell((linear * pixels.unsqueeze(-2)).sum(dim=-1) + offset, STRIDE)
    grid = 2 * (cells + 0.5) / torch.tensor([width, height], device=maps.device) - 1
    return F.grid_sample(maps, grid.to(maps.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


# Checkpoints hold the recurrence among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([EarlyStopping, Proximal])
