"""How a solver fared on a set of faces, the same on one process and on many."""

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_modules.ldeq.solvers import Solution
from lightning_modules.metrics.functional import first_rows


class SolverStatistics(Metric):
    """Mean and worst relative residual, mean iterations, and the share of faces above the tolerance.

    Rows are keyed by sample and repeats dropped, as in `lightning_modules.metrics`: a distributed sampler repeats some.

    Args:
        tolerance: the solver's.
    """

    full_state_update = False

    index: list[Tensor]
    residual: list[Tensor]
    iterations: list[Tensor]

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        for state in ("index", "residual", "iterations"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, solution: Solution, index: Tensor) -> None:
        """Add the rows of B faces with identities ``index`` (B,)."""
        self.index.append(index)
        self.residual.append(solution.residual.float())
        self.iterations.append(solution.iterations)

    def compute(self) -> dict[str, Tensor]:
        """The numbers by name, over the distinct faces of all processes."""
        order = first_rows(dim_zero_cat(self.index))
        residual, iterations = dim_zero_cat(self.residual)[order], dim_zero_cat(self.iterations)[order]
        return {
            "residual": residual.mean(),
            "worst_residual": residual.max(),
            "iterations": iterations.float().mean(),
            "unconverged": (residual > self.tolerance).float().mean(),
        }
