"""The reference solver: POT's, pair after pair in float64 on the CPU. It takes seconds: for tests and comparisons."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import ot
import torch
from scipy.special import logsumexp
from torch import Tensor

from lightning_modules.wasserstein_hrnet.transport import Solver, Target, Transport, window


@dataclass(frozen=True)
class POT(Solver):
    """`ot.sinkhorn` in the logarithmic domain, which takes any epsilon; or `ot.emd2`, exact.

    Args:
        exact: ``ot.emd2``: epsilon is ignored, and the potential is that of the linear programme.
        windowed: leave out cells that have no mass, which changes nothing but the time.
        iterations: at most.
        threshold: of the marginals' error, at which iterations end.
    """

    exact: bool = False
    windowed: bool = True
    iterations: int = 10_000
    threshold: float = 1e-9

    @torch.no_grad()
    def __call__(self, source: Tensor, centres: Tensor, sigma: float, epsilon: float) -> Transport:
        """See `Solver`."""
        height, width = source.shape[-2:]
        target = Target.of(centres.detach().cpu().double(), sigma, window(sigma), height, width).maps(height, width)
        place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2).astype(float)
        u = source.detach().cpu().double().flatten(1).numpy()
        pairs = [self._solve(*pair, place, epsilon) for pair in zip(u, target.flatten(1).numpy(), strict=True)]
        cost = torch.tensor([cost for cost, _ in pairs], dtype=torch.float64)
        potential = torch.from_numpy(np.array([f for _, f in pairs])).view(-1, height, width)
        return Transport(cost.to(source), potential.to(source))

    def _solve(self, u: Any, v: Any, place: Any, epsilon: float) -> tuple[float, Any]:
        """Cost and potential (h w,) of one pair; NaN of a prediction that is."""
        if not np.isfinite(u).all():
            return np.nan, np.full_like(u, np.nan)
        there = v > 0
        considered = there if self.windowed else np.ones_like(there)
        u, v = u / u.sum(), v / v.sum()
        cost = ot.dist(place, place[considered], metric="euclidean")
        if self.exact:
            found, log = ot.emd2(u, v[considered], cost, log=True, numItermax=10_000_000)
            return found, (cost - log["v"]).min(axis=1)
        with np.errstate(divide="ignore"):  # of the logarithm of cells without mass
            plan, log = ot.sinkhorn(
                u,
                v[considered],
                cost,
                epsilon,
                method="sinkhorn_log",
                log=True,
                numItermax=self.iterations,
                stopThr=self.threshold,
            )
        with_mass = there[considered]
        # POT's scalings have the masses in them, ours have not
        g = epsilon * (log["log_v"][with_mass] - np.log(v[there]))
        return (plan * cost).sum(), -epsilon * logsumexp((g - cost[:, with_mass]) / epsilon, axis=1, b=v[there])
