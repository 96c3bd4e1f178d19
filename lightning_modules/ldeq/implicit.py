"""Gradients through an equilibrium z* = f(z*): the implicit function theorem, and the cheaper ways beside it.

Each way finds the equilibrium and returns states that autograd tracks: one, or one per unrolled step. `f` is a Map of
`solvers.py`; only its last applications are tracked, never a solver's steps, so memory does not grow with iterations
(except for `Unrolled`, which is meant to).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_modules.ldeq.solvers import TINY, Anderson, Map, Solution, Solver, check_range


class Equilibrium(NamedTuple):
    """Tracked states, the last of which is the answer, and how the solvers fared."""

    states: list[Tensor]  # (B, ...) each
    solution: Solution  # of the forward solve
    backward: list[Solution]  # of the backward solve; filled by the backward pass where there is one


class Gradient(ABC):
    """A way to differentiate an equilibrium."""

    @abstractmethod
    def __call__(self, f: Map, z0: Tensor, solver: Solver) -> Equilibrium:
        """The equilibrium from z0 (B, ...), differentiable in whatever f depends on."""

    def iterates(self, solver: Solver) -> bool:
        """Whether f is applied more than once: from zeros, a single application leaves a residual of 1 for any f."""
        return solver.max_iterations > 1


@dataclass(frozen=True)
class SingleStep(Gradient):
    """Solve, then track one application of f at z*: the implicit gradient with its inverse taken as the identity.

    Known as Jacobian-free backpropagation (Fung et al. 2022, arXiv:2103.12803).
    """

    def __call__(self, f: Map, z0: Tensor, solver: Solver) -> Equilibrium:
        """One tracked step; see `Gradient`."""
        solution = solver(f, z0)
        return Equilibrium([f(solution.z, _all(z0))], solution, [])


@dataclass(frozen=True)
class Implicit(Gradient):
    """Solve, track one application of f at z*, and solve y = J^T y + dL/dz* on the way back (LDEQ, Eq. 5).

    Args:
        solver: of the backward system; its budget and tolerance are its own. Its relative residual stops it: an
            absolute one would stop at once where gradients are tiny, and leave the single-step gradient.
    """

    solver: Solver = field(default_factory=lambda: Anderson(max_iterations=6, tolerance=1e-3))

    def __call__(self, f: Map, z0: Tensor, solver: Solver) -> Equilibrium:
        """One tracked step whose gradient is corrected on the way back; see `Gradient`."""
        solution = solver(f, z0)
        backward: list[Solution] = []
        if not torch.is_grad_enabled():
            return Equilibrium([solution.image], solution, backward)
        z = solution.z.requires_grad_()
        state = _Correct.apply(f(z, _all(z0)), z, self.solver, backward.append)
        return Equilibrium([state], solution, backward)


class _Correct(torch.autograd.Function):
    """Identity on f(z); its backward turns dL/df into (I - J^T)^-1 dL/df, J = df/dz.

    A function rather than a tensor hook: nothing outlives the backward pass, and DistributedDataParallel sees each
    parameter's gradient once.
    """

    @staticmethod
    def forward(ctx: Any, fz: Tensor, z: Tensor, solver: Solver, report: Callable[[Solution], None]) -> Tensor:
        ctx.save_for_backward(fz, z)
        ctx.solver, ctx.report = solver, report
        return fz.view_as(fz)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        fz, z = ctx.saved_tensors

        def adjoint(y: Tensor, rows: Tensor) -> Tensor:
            # The graph is the whole batch's: samples that have stopped get a zero and are computed for nothing.
            full = torch.zeros_like(gradient).index_copy(0, rows, y)
            with torch.enable_grad():
                (product,) = torch.autograd.grad(fz, z, full, retain_graph=True)
            return product[rows] + gradient[rows]

        solution = ctx.solver(adjoint, gradient)
        ctx.report(solution)
        return solution.image, None, None, None


@dataclass(frozen=True)
class DampedUnrolling(Gradient):
    """Solve, then track a few damped steps from z*: z <- (1 - damping) f(z) + damping z.

    Known as the phantom gradient (Geng et al. 2021, arXiv:2111.05177). Memory grows with ``steps``.
    """

    steps: int = 5
    damping: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, steps=(1, inf), damping=(0, 0.999))

    def __call__(self, f: Map, z0: Tensor, solver: Solver) -> Equilibrium:
        """The state after ``steps`` tracked steps; see `Gradient`."""
        solution = solver(f, z0)
        z = solution.z
        for _ in range(self.steps):
            z = (1 - self.damping) * f(z, _all(z0)) + self.damping * z
        return Equilibrium([z], solution, [])


@dataclass(frozen=True)
class Unrolled(Gradient):
    """No solver: track every one of ``steps`` applications of f from z0, as a recurrent network would.

    All states are returned, so a loss can supervise each. Memory grows with ``steps``.
    """

    steps: int = 4

    def __post_init__(self) -> None:
        check_range(self, steps=(1, inf))

    def iterates(self, solver: Solver) -> bool:
        """See `Gradient`. The solver is not used."""
        return self.steps > 1

    def __call__(self, f: Map, z0: Tensor, solver: Solver) -> Equilibrium:
        """One state a step; see `Gradient`. The solver is not used."""
        states = [z0]
        for _ in range(self.steps):
            states.append(f(states[-1], _all(z0)))
        z, image = states[-2].detach(), states[-1].detach()
        residual = (image - z).flatten(1).norm(dim=1) / (image.flatten(1).norm(dim=1) + TINY)
        iterations = torch.full_like(_all(z0), self.steps)
        return Equilibrium(states[1:], Solution(z, image, residual, iterations), [])


def _all(z: Tensor) -> Tensor:
    return torch.arange(len(z), device=z.device)


# Checkpoints hold the gradient among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([SingleStep, Implicit, DampedUnrolling, Unrolled])
