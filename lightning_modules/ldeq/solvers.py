"""Fixed points z = f(z), one per sample of a batch: plain iteration, Anderson acceleration, Broyden's method.

Every sample stops on its own relative residual ||f(z) - z|| / ||f(z)|| and leaves the batch, which is compacted: an
answer does not depend on what else is in the batch. (The released LDEQ code stops on the batch's mean residual.)
A step that is singular or not finite falls back to a plain iteration; the best iterate is kept. Letters: B samples,
R samples still running, D values a sample, m steps remembered.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

Map = Callable[[Tensor, Tensor], Tensor]
"""f(z, rows): z (R, ...) holds the samples ``rows`` (R,) of the batch."""

TINY = 1e-12


class Solution(NamedTuple):
    """What a solver found for B samples."""

    z: Tensor  # (B, ...) the iterate with the lowest residual
    image: Tensor  # (B, ...) f(z), already evaluated: one step further on
    residual: Tensor  # (B,) ||f(z) - z|| / ||f(z)||; inf where f(z) was never finite
    iterations: Tensor  # (B,) evaluations of f


class Memory(ABC):
    """What a method remembers of the samples still running."""

    @abstractmethod
    def step(self, z: Tensor, residual: Tensor) -> Tensor:
        """The next iterate (R, D) from z (R, D) and f(z) - z (R, D)."""

    @abstractmethod
    def keep(self, running: Tensor) -> None:
        """Forget the samples where ``running`` (R,) is False."""


def check_range(options: object, **ranges: tuple[float, float]) -> None:
    """Refuse an attribute outside its range (both ends allowed), with a ValueError that names it."""
    for name, (least, most) in ranges.items():
        value = getattr(options, name)
        if not least <= value <= most:
            expected = f"at least {least:g}" if most == inf else f"{least:g} to {most:g}"
            raise ValueError(f"{name} of {type(options).__name__} is {value}, expected {expected}")


@dataclass(frozen=True)
class Solver(ABC):
    """Iterates until a sample's relative residual is at most ``tolerance``, ``max_iterations`` evaluations at most."""

    max_iterations: int = 10
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_range(self, max_iterations=(1, inf), tolerance=(0, inf))

    @abstractmethod
    def remember(self, z: Tensor) -> Memory:
        """An empty memory for samples z (B, D)."""

    @torch.no_grad()
    def __call__(self, f: Map, z0: Tensor) -> Solution:
        """Solve z = f(z) from z0 (B, ...); nothing is tracked by autograd."""
        z, shaped = _rows(z0), partial(_shaped, like=z0)
        best, image = z, z
        rows = torch.arange(len(z), device=z.device)
        lowest = torch.full_like(z[:, 0], torch.inf)
        iterations = torch.zeros_like(rows)
        memory = self.remember(z)
        for iteration in range(1, self.max_iterations + 1):
            fz = _rows(f(shaped(z), rows), like=z0)
            residual = fz - z
            relative = residual.norm(dim=1) / (fz.norm(dim=1) + TINY)
            relative = torch.where(relative.isfinite(), relative, torch.inf)
            iterations[rows] = iteration
            # The first evaluation is kept even where it is not finite: that is then all there is to say of the sample.
            better = (relative < lowest[rows]) | (iteration == 1)
            if len(rows) == len(lowest) and better.all():
                best, image, lowest = z, fz, relative  # no copies, whose time would be a twentieth of the cell's
            else:
                improved = rows[better]
                best, image = best.index_copy(0, improved, z[better]), image.index_copy(0, improved, fz[better])
                lowest = lowest.index_copy(0, improved, relative[better])
            running = relative > self.tolerance
            if iteration == self.max_iterations or not running.any():
                break
            if not running.all():
                memory.keep(running)
                rows, z, fz, residual = rows[running], z[running], fz[running], residual[running]
            with torch.autocast(z.device.type, enabled=False):  # it would round the method's own products
                step = memory.step(z, residual)
            z = step if _finite(step).all() else _first_finite(step, fz, image[rows], best[rows])
        return Solution(shaped(best), shaped(image), lowest, iterations)


def _rows(z: Tensor, like: Tensor | None = None) -> Tensor:
    """Samples (B, ...) as rows (B, D), in the order in which ``like`` lies in memory; itself by default.

    A cell works channels-last, and bringing its maps into another order and back takes a sixth of its time.
    """
    return (z.movedim(1, -1) if _channels_last(z if like is None else like) else z).flatten(1)


def _shaped(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (R, D) as samples (R, ...) again."""
    if not _channels_last(like):
        return rows.view(-1, *like.shape[1:])
    return rows.view(-1, *like.shape[2:], like.shape[1]).movedim(-1, 1)


def _channels_last(z: Tensor) -> bool:
    return z.dim() == 4 and z.is_contiguous(memory_format=torch.channels_last) and not z.is_contiguous()


def _finite(candidate: Tensor) -> Tensor:
    """Which samples (R, D) are finite throughout (R,), unless their sum is beyond all numbers."""
    return candidate.sum(dim=1).isfinite()


def _first_finite(*candidates: Tensor) -> Tensor:
    """For each sample the first of the candidates (R, D) that is finite throughout, else the last."""
    chosen = candidates[-1]
    for candidate in reversed(candidates[:-1]):
        chosen = torch.where(_finite(candidate).unsqueeze(1), candidate, chosen)
    return chosen


@dataclass(frozen=True)
class FixedPoint(Solver):
    """z <- (1 - damping) f(z) + damping z."""

    damping: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, damping=(0, 0.999))

    def remember(self, z: Tensor) -> Memory:
        """Nothing but the damping."""
        return _Plain(self.damping)


class _Plain(Memory):
    def __init__(self, damping: float) -> None:
        self.damping = damping

    def step(self, z: Tensor, residual: Tensor) -> Tensor:
        return z + (1 - self.damping) * residual

    def keep(self, running: Tensor) -> None:
        pass


@dataclass(frozen=True)
class Anderson(Solver):
    """The affine combination of the last ``memory`` steps with the least residual (Anderson 1965; Walker & Ni 2011).

    Args:
        memory: steps remembered, m.
        ridge: Tikhonov term, relative to each remembered residual's own size: residuals shrink by orders of magnitude,
            and an absolute term (1e-4 in the released code) stalls the solver once they are small.
        mixing: 1 takes f of the combination, 0 the combination itself.
    """

    memory: int = 5
    ridge: float = 1e-6
    mixing: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, memory=(1, inf), ridge=(0, inf), mixing=(0, 1))

    def remember(self, z: Tensor) -> Memory:
        """Room for m iterates and residuals; after the last evaluation nothing is remembered, and of one nothing is."""
        steps = min(self.memory, self.max_iterations - 1)
        return _AndersonMemory(z, steps, self.ridge, self.mixing) if steps > 1 else _Plain(1 - self.mixing)


class _AndersonMemory(Memory):
    def __init__(self, z: Tensor, size: int, ridge: float, mixing: float) -> None:
        self.ridge, self.mixing, self.count = ridge, mixing, 0
        self.z = z.new_empty(len(z), size, z.shape[1])
        self.residual = torch.empty_like(self.z)
        self.gram = z.new_zeros(len(z), size, size)

    def step(self, z: Tensor, residual: Tensor) -> Tensor:
        slot = self.count % self.z.shape[1]
        self.count += 1
        n = min(self.count, self.z.shape[1])
        self.z[:, slot], self.residual[:, slot] = z, residual
        products = torch.einsum("bmd,bd->bm", self.residual[:, :n], residual)
        self.gram[:, slot, :n], self.gram[:, :n, slot] = products, products
        if n == 1:
            return z + self.mixing * residual
        # With residuals scaled to unit length the system is well posed however far apart their sizes are.
        gram = self.gram[:, :n, :n].double()
        size = gram.diagonal(dim1=1, dim2=2).sqrt().clamp_min(TINY)  # (R, n)
        cosines = gram / (size.unsqueeze(1) * size.unsqueeze(2))
        ridge = self.ridge * torch.eye(n, dtype=gram.dtype, device=gram.device)
        # solve_ex reports a singular system in its second value instead of raising; the result is then not finite,
        # or the weights are not, and the caller falls back.
        weights = torch.linalg.solve_ex(cosines + ridge, 1 / size)[0] / size
        weights = (weights / weights.sum(dim=1, keepdim=True)).to(z.dtype)
        combined = torch.einsum("bm,bmd->bd", weights, self.z[:, :n])
        return combined + self.mixing * torch.einsum("bm,bmd->bd", weights, self.residual[:, :n])

    def keep(self, running: Tensor) -> None:
        self.z, self.residual, self.gram = self.z[running], self.residual[running], self.gram[running]


@dataclass(frozen=True)
class Broyden(Solver):
    """Broyden's first ("good") method on g(z) = f(z) - z, starting from the Jacobian -I (Broyden 1965).

    Args:
        memory: rank-one updates remembered; when full, the method starts again from -I.
    """

    memory: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, memory=(1, inf))

    def remember(self, z: Tensor) -> Memory:
        """Room for the rank-one updates of the inverse Jacobian."""
        return _BroydenMemory(z, min(self.memory, self.max_iterations))


class _BroydenMemory(Memory):
    """The inverse Jacobian -I + sum of u v^T."""

    def __init__(self, z: Tensor, size: int) -> None:
        self.u = z.new_zeros(len(z), size, z.shape[1])
        self.v = torch.zeros_like(self.u)
        self.count = 0
        self.last: tuple[Tensor, Tensor] | None = None  # z and residual of the step before

    def _apply(self, left: Tensor, right: Tensor, vector: Tensor) -> Tensor:
        """(-I + left right^T) vector, for each sample."""
        n = self.count
        products = torch.einsum("bmd,bd->bm", right[:, :n], vector)
        return torch.einsum("bm,bmd->bd", products, left[:, :n]) - vector

    def step(self, z: Tensor, residual: Tensor) -> Tensor:
        if self.last is not None:
            moved, changed = z - self.last[0], residual - self.last[1]
            if self.count == self.u.shape[1]:
                self.count = 0
            v = self._apply(self.v, self.u, moved)  # row vector moved^T B
            scale = (v * changed).sum(dim=1, keepdim=True)
            u = (moved - self._apply(self.u, self.v, changed)) / scale
            usable = (scale.abs() > TINY * v.norm(dim=1, keepdim=True) * changed.norm(dim=1, keepdim=True)) & (
                u.isfinite().all(dim=1, keepdim=True)
            )
            self.u[:, self.count], self.v[:, self.count] = torch.where(usable, u, 0.0), torch.where(usable, v, 0.0)
            self.count += 1
        self.last = (z, residual)
        return z - self._apply(self.u, self.v, residual)

    def keep(self, running: Tensor) -> None:
        self.u, self.v = self.u[running], self.v[running]
        if self.last is not None:
            self.last = (self.last[0][running], self.last[1][running])


# Checkpoints hold the solver among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([FixedPoint, Anderson, Broyden])
