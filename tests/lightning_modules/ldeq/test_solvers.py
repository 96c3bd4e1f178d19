"""Solvers against closed forms, scipy, and themselves in another batch."""

import re

import numpy as np
import pytest
import scipy.optimize
import torch

from lightning_modules.ldeq.solvers import Anderson, Broyden, FixedPoint, Solver

SOLVERS = [FixedPoint(200, 1e-9), Anderson(200, 1e-9), Broyden(200, 1e-9), FixedPoint(400, 1e-9, damping=0.5)]
NAMES = ["fixed point", "anderson", "broyden", "damped"]


def contraction(samples: int, size: int, norm: float = 0.9):
    """A tanh map of Lipschitz constant ``norm``, a different one for each sample."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(samples, size, size, generator=generator, dtype=torch.float64)
    matrix = norm * matrix / torch.linalg.matrix_norm(matrix, 2)[:, None, None]
    offset = torch.randn(samples, size, generator=generator, dtype=torch.float64)
    return matrix, offset, lambda z, rows: torch.tanh(torch.einsum("bij,bj->bi", matrix[rows], z)) + offset[rows]


@pytest.mark.parametrize("solver", SOLVERS, ids=NAMES)
def test_agrees_with_scipy(solver: Solver):
    matrix, offset, f = contraction(3, 12)
    solution = solver(f, torch.zeros(3, 12, dtype=torch.float64))
    for sample in range(3):
        a, b = matrix[sample].numpy(), offset[sample].numpy()
        root = scipy.optimize.fsolve(lambda z, a=a, b=b: np.tanh(a @ z) + b - z, np.zeros(12), xtol=1e-12)
        np.testing.assert_allclose(solution.z[sample].numpy(), root, atol=1e-7)


@pytest.mark.parametrize("solver", SOLVERS[:3], ids=NAMES[:3])
def test_reports_its_residual_iterations_and_image(solver: Solver):
    _, _, f = contraction(5, 8)
    evaluations = torch.zeros(5, dtype=torch.long)

    def counted(z, rows):
        evaluations[rows] += 1
        return f(z, rows)

    solution = solver(counted, torch.zeros(5, 8, dtype=torch.float64))
    torch.testing.assert_close(solution.iterations, evaluations)
    fz = f(solution.z, torch.arange(5))
    torch.testing.assert_close(solution.image, fz)
    torch.testing.assert_close(solution.residual, (fz - solution.z).norm(dim=1) / fz.norm(dim=1))


def test_linear_problem_is_solved_in_as_many_steps_as_dimensions():
    """On a linear map of n dimensions Anderson with full memory is GMRES: exact after n + 1 evaluations, plus one."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(1, 4, 4, generator=generator, dtype=torch.float64)
    matrix = 1.5 * matrix / torch.linalg.matrix_norm(matrix, 2)[:, None, None]  # plain iteration may diverge
    offset = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    solver = Anderson(max_iterations=6, tolerance=1e-6, memory=6, ridge=1e-14)
    solution = solver(
        lambda z, rows: torch.einsum("bij,bj->bi", matrix[rows], z) + offset[rows], torch.zeros_like(offset)
    )
    exact = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - matrix[0], offset[0])
    torch.testing.assert_close(solution.z[0], exact, rtol=1e-5, atol=1e-5)


def test_acceleration_saves_evaluations_on_a_slow_map():
    slow = torch.linspace(0.5, 0.98, 20, dtype=torch.float64)

    def f(z, rows):
        return slow * z + 1 + 0.01 * torch.sin(z)

    z0 = torch.zeros(1, 20, dtype=torch.float64)
    plain, anderson, broyden = (s(500, 1e-8)(f, z0).iterations.item() for s in (FixedPoint, Anderson, Broyden))
    assert anderson < plain / 4
    assert broyden < plain / 4


@pytest.mark.parametrize("solver", SOLVERS[:3], ids=NAMES[:3])
def test_a_sample_does_not_depend_on_its_batch(solver: Solver):
    """Samples of very different difficulty stop at different times; each gets the answer it gets alone."""
    matrix, offset, _ = contraction(6, 10)
    speed = torch.tensor([0.1, 0.99, 0.5, 0.9, 0.3, 0.97], dtype=torch.float64)

    def f(z, rows):
        return speed[rows, None] * torch.tanh(torch.einsum("bij,bj->bi", matrix[rows], z)) + offset[rows]

    z0 = torch.zeros(6, 10, dtype=torch.float64)
    together = solver(f, z0)
    assert len(set(together.iterations.tolist())) > 2
    for sample in range(6):
        alone = solver(lambda z, rows, s=sample: f(z, torch.full_like(rows, s)), z0[:1])
        assert alone.iterations.item() == together.iterations[sample].item()
        torch.testing.assert_close(alone.z[0], together.z[sample], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", [FixedPoint(8, 0.0), Anderson(8, 0.0), Broyden(8, 0.0)], ids=NAMES[:3])
def test_the_best_iterate_is_kept_when_the_map_expands(solver: Solver):
    seen = []

    def expanding(z, rows):
        fz = 3 * z + 1 + 0.3 * z**2
        seen.append(((fz - z).norm() / fz.norm()).item())
        return fz

    solution = solver(expanding, torch.ones(1, 2, dtype=torch.float64))
    assert solution.residual.item() == pytest.approx(min(seen), rel=1e-9)


@pytest.mark.parametrize("solver", [FixedPoint(20), Anderson(6), Broyden(6)], ids=NAMES[:3])
def test_a_sample_that_is_not_finite_spoils_no_other(solver: Solver):
    def f(z, rows):
        fz = 0.5 * z + 1
        return torch.where((rows == 1)[:, None], torch.nan, fz)

    solution = solver(f, torch.zeros(3, 4))
    assert solution.residual[1] == torch.inf
    torch.testing.assert_close(solution.image[[0, 2]], torch.full((2, 4), 2.0), rtol=2e-3, atol=0)


@pytest.mark.parametrize("solver", [Anderson(6, 0.0, ridge=0.0), Broyden(6, 0.0)], ids=["anderson", "broyden"])
def test_a_singular_system_falls_back(solver: Solver):
    """A constant map gives identical residuals of zero length: every least-squares system is singular."""
    solution = solver(lambda z, rows: torch.full_like(z, 3.0), torch.zeros(2, 5))
    assert torch.equal(solution.z, torch.full((2, 5), 3.0))
    assert torch.equal(solution.residual, torch.zeros(2))


def test_small_residuals_are_still_reduced():
    """A ridge that is absolute stalls once residuals are far below it; a relative one does not."""
    matrix, offset, _ = contraction(2, 16, norm=0.95)

    def tiny(z, rows):
        return torch.einsum("bij,bj->bi", matrix[rows], z) + 1e-7 * offset[rows]

    z0 = torch.zeros(2, 16, dtype=torch.float64)
    assert Anderson(60, 1e-8)(tiny, z0).residual.max() <= 1e-8


@pytest.mark.parametrize("solver", [Anderson(60, 1e-6), Broyden(60, 1e-6)], ids=["anderson", "broyden"])
def test_autocast_rounds_the_map_only(solver: Solver):
    matrix, offset, _ = contraction(2, 16)
    matrix, offset = matrix.float(), offset.float()

    def exact(z, rows):
        with torch.autocast("cpu", enabled=False):
            return torch.tanh(torch.einsum("bij,bj->bi", matrix[rows], z)) + offset[rows]

    with torch.autocast("cpu", torch.bfloat16):
        assert solver(exact, torch.zeros(2, 16)).residual.max() <= 1e-6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (lambda: Anderson(max_iterations=0), "max_iterations of Anderson is 0, expected at least 1"),
        (lambda: FixedPoint(tolerance=-1.0), "tolerance of FixedPoint is -1.0, expected at least 0"),
        (lambda: FixedPoint(tolerance=float("nan")), "tolerance of FixedPoint is nan"),
        (lambda: FixedPoint(damping=1.0), "damping of FixedPoint is 1.0, expected 0 to 0.999"),
        (lambda: Anderson(memory=0), "memory of Anderson is 0, expected at least 1"),
        (lambda: Anderson(mixing=2.0), "mixing of Anderson is 2.0, expected 0 to 1"),
        (lambda: Broyden(memory=0), "memory of Broyden is 0, expected at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        options()
