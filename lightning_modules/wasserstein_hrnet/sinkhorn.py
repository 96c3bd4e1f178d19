"""Our solver: Sinkhorn iterations that all pairs of a batch share a kernel for.

What makes it fast, and safe in float32 (figures in tests/benchmarks/README.md):

1. A target is compact, so only the cells of its window are targets.
2. The cost knows no places, only differences: each prediction is moved so that its target is in the middle of a frame.
   One kernel then serves all pairs, and half an iteration is a matrix product.
3. Distances are reduced by the distance to the middle, |x - y| - |x|, which is between -R and R in a window of radius
   R: exp(± R / epsilon) fits into float32 where exp(-|x - y| / epsilon) is 0. The plan stays the same.
4. A reduced distance hardly changes from cell to cell far from the window: predictions are pooled there (`Quadtree`).
   Most of that change is known for each cell, as if all of the target were at its barycentre.
5. Epsilon comes down in steps from its eightfold.
6. The gradient is the potential (the envelope theorem); nothing goes back through iterations.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_modules.heatmaps import precise
from lightning_modules.wasserstein_hrnet.quadtree import Quadtree, grid, quadtree
from lightning_modules.wasserstein_hrnet.transport import RADIUS, Solver, Target, Transport, window

EXPONENT = 85.0  # exp of it is still a float32
FINE = 8  # cells about the target that are not pooled, and with large windows one more than these have
Estimator = Literal["transport", "dual", "between"]
AT_ONCE = 128  # pairs on a CPU: what is computed of them stays in its caches


@dataclass(frozen=True)
class RecentredSinkhorn(Solver):
    """See above.

    Args:
        iterations: at epsilon times ..., 8, 4, 2, 1.
        estimator: what is told as the cost; the gradient is the same. ``transport`` is <P, C>, that of the plan, which
            but for pooling is more than the exact distance. ``dual`` is less: that of the potentials without entropy.
            ``between`` is two thirds of the first and one of the second, and nearer.
        pooled: pool far cells; else the same in several times the time, to compare with.
    """

    iterations: tuple[int, ...] = (2, 2, 4, 10)
    estimator: Estimator = "transport"
    pooled: bool = True

    def __post_init__(self) -> None:
        if not self.iterations or min(self.iterations) < 1:
            raise ValueError(f"iterations is {list(self.iterations)}, expected numbers of at least 1")
        if self.estimator not in get_args(Estimator):
            raise ValueError(f"estimator is '{self.estimator}', expected {', '.join(get_args(Estimator))}")

    def check(self, sigma: float, epsilon: float) -> None:
        """See `Solver`."""
        least = smallest_epsilon(sigma)
        if not epsilon >= least:
            raise ValueError(
                f"model.init_args.loss.init_args.epsilon is {epsilon:g} cells, expected at least "
                f"{math.ceil(1e3 * least) / 1e3:g} with sigma {sigma:g}: below it exponents do not fit into float32"
            )

    @torch.no_grad()
    def __call__(self, source: Tensor, centres: Tensor, sigma: float, epsilon: float) -> Transport:
        """See `Solver`."""
        self.check(sigma, epsilon)
        _check_reach(sigma, *source.shape[-2:])
        source = precise(source)
        pairs = AT_ONCE if source.device.type == "cpu" else max(1, len(source))
        with torch.autocast(source.device.type, enabled=False):
            parts = zip(torch.split(source, pairs), torch.split(centres, pairs), strict=True)
            found = [self._solve(*part, sigma, epsilon) for part in parts]
        return found[0] if len(found) == 1 else Transport(*(torch.cat(each) for each in zip(*found, strict=True)))

    def _solve(self, source: Tensor, centres: Tensor, sigma: float, epsilon: float) -> Transport:
        height, width = source.shape[-2:]
        epsilons = tuple(epsilon * 2**k for k in reversed(range(len(self.iterations))))
        key = max(height, width), sigma, epsilons, self.pooled, source.dtype, source.device
        _prepare(*key)
        kernels = _KERNELS[key]
        target = Target.of(centres.to(source.dtype), sigma, kernels.window, height, width)
        half = kernels.tree.half
        frames = _moved(source, half - target.cell, 2 * half, 2 * half)
        pooled, mass = kernels.tree.pool(frames), target.mass
        tiny = torch.finfo(source.dtype).tiny
        g = torch.zeros_like(mass)
        for kernel, now, times in zip(kernels.pooled, epsilons, self.iterations, strict=True):
            v = (g / now).exp()
            for _ in range(times):
                u = (mass * v @ kernel.T).clamp_min(tiny).reciprocal()
                v = (pooled * u @ kernel).clamp_min(tiny).reciprocal()
            g = now * v.log()
            g = g - (g * mass).sum(dim=1, keepdim=True)
        v = mass * (g / epsilon).exp()
        cells = _moved((v @ kernels.cells.T).view(-1, 2 * half, 2 * half), target.cell - half, height, width)
        distance = _distances(target.cell.to(source.dtype), height, width)  # which reducing has taken off
        cost = self._cost(kernels, source, pooled, v, g, target)
        return Transport(cost, distance - epsilon * cells.clamp_min(tiny).log())

    def _cost(
        self, kernels: "_Kernels", source: Tensor, pooled: Tensor, v: Tensor, g: Tensor, target: Target
    ) -> Tensor:
        """The cost (P,): the distance to the target's barycentre, for each cell, and what that leaves, for squares."""
        middle = (target.mass.unsqueeze(2) * target.offsets).sum(dim=1)
        near = (source * _distances(target.cell + middle, *source.shape[-2:])).sum(dim=(1, 2))
        squares = kernels.middles
        taken = (squares - middle.unsqueeze(1)).norm(dim=2) - squares.norm(dim=1)
        return near - (pooled * taken).sum(dim=1) + self._reduced_cost(kernels, pooled, v, g, target.mass)

    def _reduced_cost(self, kernels: "_Kernels", pooled: Tensor, v: Tensor, g: Tensor, mass: Tensor) -> Tensor:
        """The cost (P,) by the estimator, from scaled target masses v and their potential g."""
        found = []
        if self.estimator != "dual":
            rows = (v @ kernels.pooled[-1].T).clamp_min(torch.finfo(v.dtype).tiny)
            found.append((pooled * (v @ kernels.costs.T) / rows).sum(dim=1))
        if self.estimator != "transport":
            hard = torch.stack([(row - g).amin(dim=1) for row in kernels.reduced], dim=1)  # one square after the other
            found.append((pooled * hard).sum(dim=1) + (g * mass).sum(dim=1))
        return found[0] if len(found) == 1 else (2 * found[0] + found[1]) / 3


class _Kernels(NamedTuple):
    """Of K squares of the tree, M cells of the window, F of the frame."""

    tree: Quadtree
    window: Tensor  # (M, 2)
    middles: Tensor  # (K, 2) of the tree's squares
    reduced: Tensor  # (K, M) distances from squares to the window's cells, less those to the middle
    pooled: tuple[Tensor, ...]  # (K, M) exp(-reduced / epsilon), for each epsilon
    costs: Tensor  # (K, M) the last of them times the reduced distances
    cells: Tensor  # (F, M) as it, for all cells


_KERNELS: dict[tuple[Any, ...], _Kernels] = {}  # by the arguments of `_prepare`


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _prepare(
    side: int, sigma: float, epsilons: tuple[float, ...], pooled: bool, dtype: torch.dtype, device: torch.device
) -> None:
    """Make the kernels that there are not yet; a compiler need not look into it, and finds them made."""
    key = side, sigma, epsilons, pooled, dtype, device
    if key in _KERNELS:
        return
    targets = window(sigma)
    tree = quadtree(side, max(FINE, math.ceil(RADIUS * sigma) + 1) if pooled else side)
    cells = grid(torch.arange(-tree.half, tree.half)).double()
    reduced, reduced_cells = _reduced(tree.middles, targets), _reduced(cells, targets)

    def placed(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype)

    _KERNELS[key] = _Kernels(
        tree._replace(indices=tuple(index.to(device) for index in tree.indices)),
        targets.to(device),
        placed(tree.middles),
        placed(reduced),
        tuple(placed((-reduced / epsilon).exp()) for epsilon in epsilons),
        placed((-reduced / epsilons[-1]).exp() * reduced),
        placed((-reduced_cells / epsilons[-1]).exp()),
    )


def _reduced(points: Tensor, targets: Tensor) -> Tensor:
    distance = torch.cdist(points, targets.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distance - points.norm(dim=1, keepdim=True)


def _check_reach(sigma: float, height: int, width: int) -> None:
    if 4 * sigma > max(height, width):  # kernels would have gigabytes
        raise ValueError(
            f"model.init_args.loss.init_args.sigma is {sigma:g} cells, but heatmaps have {width} x {height}; expected "
            f"at most {max(height, width) / 4:g}"
        )


def smallest_epsilon(sigma: float) -> float:
    """The least epsilon in cells whose kernel and scalings are within float32."""
    return 2 * (RADIUS * sigma + 0.5) / EXPONENT


def _distances(cell: Tensor, height: int, width: int) -> Tensor:
    """Distances (P, height, width) of all cells of a map to cells (P, 2) as (x, y)."""
    x = (torch.arange(width, device=cell.device) - cell[:, :1]).unsqueeze(1)
    y = (torch.arange(height, device=cell.device) - cell[:, 1:]).unsqueeze(2)
    return torch.hypot(x, y)


def _moved(maps: Tensor, by: Tensor, height: int, width: int) -> Tensor:
    """Maps (P, height, width) with the cells of maps (P, a, b) moved by (P, 2) cells as (x, y), 0 where none comes."""
    rows, columns = maps.shape[-2:]
    maps = pad(maps, (0, 1, 0, 1))  # zeros to take from
    row = torch.arange(height, device=maps.device) - by[:, 1:]
    column = torch.arange(width, device=maps.device) - by[:, :1]
    row = row.where((row >= 0) & (row < rows), rows)
    column = column.where((column >= 0) & (column < columns), columns)
    maps = maps.gather(1, row.unsqueeze(2).expand(-1, -1, columns + 1))
    return maps.gather(2, column.unsqueeze(1).expand(-1, height, -1))
