"""Losses of heatmaps: the paper's, and those that it compares with. Letters: B images, N landmarks, h x w cells."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.heatmaps import HeatmapLoss, barycentre, render
from lightning_modules.wasserstein_hrnet.pot import POT
from lightning_modules.wasserstein_hrnet.sinkhorn import RecentredSinkhorn
from lightning_modules.wasserstein_hrnet.transport import Solver, Target, window, within


@dataclass(frozen=True)
class GaussianLoss(HeatmapLoss):
    """Against a Gaussian about the landmark.

    Args:
        sigma: of the Gaussian, in cells.

    Raises:
        ValueError: sigma is not positive.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"model.init_args.loss.init_args.sigma is {self.sigma}, expected more than 0 cells")


@dataclass(frozen=True)
class Wasserstein(GaussianLoss):
    """What it costs to carry the softmax of a heatmap to a Gaussian (Yan et al. 2021, Eq. 4), in cells.

    The gradient is that of the cost with entropy. A point beyond the map is drawn to the nearest point of its border: a
    distribution has nowhere else to go.

    Args:
        sigma: of the Gaussian, in cells; at most a quarter of the map's longer side.
        epsilon: weight of the entropy, in cells; None is sigma / 4. With more the loss draws to a narrower Gaussian.
        solver: finds the plan.

    Raises:
        ValueError: sigma or epsilon is not positive, or epsilon is too small for the solver.
    """

    epsilon: float | None = None
    solver: Solver = RecentredSinkhorn()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(
                f"model.init_args.loss.init_args.epsilon is {self.epsilon}, expected more than 0 cells (null is a "
                "quarter of sigma)"
            )
        self.solver.check(self.sigma, self.weight_of_entropy)

    @property
    def weight_of_entropy(self) -> float:
        """Epsilon in cells."""
        return self.sigma / 4 if self.epsilon is None else self.epsilon

    def compare(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """See `HeatmapLoss`."""
        source, centres, known = _distributions(heatmaps), *_points(centres)
        cost, potential = self.solver(source.detach(), centres, self.sigma, self.weight_of_entropy)
        # The value is the cost, the gradient the potential: the difference in the inner brackets is 0.
        loss = cost + ((source - source.detach()) * potential).sum(dim=(-2, -1))
        return _of_known(loss, known)


@dataclass(frozen=True)
class HeatmapL2(GaussianLoss):
    """Squared distance to a Gaussian of peak 1, in shares of the Gaussian's own, so that an empty heatmap costs 1.

    The usual mean over cells is the same but for a factor. Of a point beyond the map the Gaussian counts that reaches
    in: heatmaps learn to be empty, as in HRNet's code.

    Args:
        sigma: of the Gaussian, in cells.

    Raises:
        ValueError: sigma is not positive.
    """

    of_softmax = False

    def compare(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """See `HeatmapLoss`."""
        height, width = heatmaps.shape[-2:]
        known = centres.isfinite().all(dim=-1)
        target = render(torch.where(known.unsqueeze(-1), centres, 0.0).to(heatmaps.dtype), self.sigma, width, height)
        loss = (heatmaps - target).square().sum(dim=(-2, -1)) / (math.pi * self.sigma**2)
        return torch.where(known, loss, 0.0)


@dataclass(frozen=True)
class JensenShannon(GaussianLoss):
    """Jensen-Shannon divergence between the softmax of a heatmap and a Gaussian, in nats (paper's Table 10).

    Args:
        sigma: of the Gaussian, in cells; points beyond the map are moved to its border.

    Raises:
        ValueError: sigma is not positive.
    """

    def compare(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """See `HeatmapLoss`."""
        height, width = heatmaps.shape[-2:]
        centres, known = _points(centres)
        offsets = window(self.sigma, centres.device)
        target = Target.of(centres.to(heatmaps.dtype), self.sigma, offsets, height, width)
        masses = target.maps(height, width).flatten(1)
        # Logarithms of what is summed, which softmax of extreme heatmaps would have rounded to 0
        log_source = heatmaps.reshape(-1, height * width).log_softmax(dim=1)
        log_middle = torch.logaddexp(log_source, masses.log()) - math.log(2)
        divergence = log_source.exp() * (log_source - log_middle) + torch.xlogy(masses, masses) - masses * log_middle
        return _of_known(divergence.sum(dim=1) / 2, known)


@dataclass(frozen=True)
class SoftArgmax(HeatmapLoss):
    """Distance along x plus that along y from the barycentre of a heatmap's softmax (Sun et al. 2018), in cells.

    A point beyond the map, where no barycentre can be, is moved to the nearest point of its border.
    """

    def compare(self, heatmaps: Tensor, centres: Tensor) -> Tensor:
        """See `HeatmapLoss`."""
        source, centres, known = _distributions(heatmaps), *_points(centres)
        centres = within(centres, *heatmaps.shape[-2:])
        return _of_known((barycentre(source) - centres).abs().sum(dim=-1), known)


def _distributions(heatmaps: Tensor) -> Tensor:
    """Softmax of heatmaps (B, N, h, w) as pairs (B N, h, w)."""
    return heatmaps.flatten(-2).softmax(dim=-1).view(-1, *heatmaps.shape[-2:])


def _points(centres: Tensor) -> tuple[Tensor, Tensor]:
    """Points (B N, 2), those that are not finite at 0; and which are finite (B, N)."""
    known = centres.isfinite().all(dim=-1)
    return torch.where(known.unsqueeze(-1), centres, 0.0).flatten(0, 1), known


def _of_known(loss: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, loss.view(known.shape), 0.0)


# Checkpoints hold the loss among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Wasserstein, HeatmapL2, JensenShannon, SoftArgmax, RecentredSinkhorn, POT])
