"""Gradients of an equilibrium against full unrolling in float64, and what they keep in memory."""

import pytest
import torch

from lightning_modules.ldeq.implicit import DampedUnrolling, Implicit, SingleStep, Unrolled
from lightning_modules.ldeq.network import Cell
from lightning_modules.ldeq.solvers import Anderson, Broyden, FixedPoint


@pytest.fixture
def cell():
    """A small cell of the real architecture, made to contract by listening less to its state."""
    torch.manual_seed(0)
    cell = Cell(maps=3, injection_width=4, width=8, step=4, depth=2, groups=4, temperature=2.5).double()
    with torch.no_grad():
        cell.merge[0].weight[:, :3] *= 0.3
    return cell


def gradients(cell, way, solver):
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    found = way(lambda z, rows: cell(z, x[rows]), torch.zeros(2, 3, 8, 8, dtype=torch.float64), solver)
    weight = torch.linspace(-1, 1, 64, dtype=torch.float64).view(8, 8)
    loss = (found.states[-1] * weight).square().mean()
    grads = torch.autograd.grad(loss, [x, *cell.parameters()])
    return torch.cat([g.flatten() for g in grads]), found


def relative_error(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("backward", [Anderson, Broyden, FixedPoint])
def test_implicit_gradient_equals_full_unrolling_at_convergence(cell, backward):
    reference, unrolled = gradients(cell, Unrolled(150), FixedPoint())
    assert unrolled.solution.residual.max() < 1e-10
    gradient, found = gradients(cell, Implicit(backward(150, 1e-8)), Anderson(150, 1e-10))
    assert found.solution.residual.max() <= 1e-10
    assert relative_error(gradient, reference) < 1e-6


def test_cheaper_gradients_point_the_same_way_and_are_worse(cell):
    reference, _ = gradients(cell, Unrolled(150), FixedPoint())
    solver = Anderson(150, 1e-10)
    single, damped, implicit = (
        gradients(cell, way, solver)[0] for way in (SingleStep(), DampedUnrolling(5), Implicit(Anderson(5, 0.0)))
    )
    assert relative_error(implicit, reference) < relative_error(damped, reference) < relative_error(single, reference)
    assert torch.cosine_similarity(single, reference, dim=0) > 0.5


def test_damped_unrolling_approaches_the_implicit_gradient(cell):
    reference, _ = gradients(cell, Unrolled(150), FixedPoint())
    errors = [
        relative_error(gradients(cell, DampedUnrolling(n), Anderson(150, 1e-10))[0], reference) for n in (2, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def saved_bytes(cell, way, iterations):
    """Bytes autograd saves for backward in one training step."""
    total = 0

    def count(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        gradients(cell, way(iterations), Anderson(iterations, 0.0))
    return total


@pytest.mark.parametrize(
    "way", [lambda n: Implicit(Anderson(n, 0.0)), lambda n: SingleStep(), lambda n: DampedUnrolling(3)]
)
def test_memory_does_not_grow_with_solver_iterations(cell, way):
    assert saved_bytes(cell, way, 2) == saved_bytes(cell, way, 20)


def test_memory_of_unrolling_does_grow(cell):
    """The counter above can tell: the one way that tracks every step shows it."""
    assert saved_bytes(cell, Unrolled, 20) > 8 * saved_bytes(cell, Unrolled, 2)


def test_backward_statistics_are_reported(cell):
    _, found = gradients(cell, Implicit(Anderson(4, 0.0)), Anderson(20))
    assert [solution.iterations.tolist() for solution in found.backward] == [[4, 4]]


def test_a_second_backward_pass_accumulates(cell):
    """Gradient accumulation: two backward passes add up to twice one."""
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)

    def step():
        found = Implicit()(lambda z, rows: cell(z, x[rows]), torch.zeros(2, 3, 8, 8, dtype=torch.float64), Anderson(20))
        found.states[-1].square().mean().backward()
        return cell.head.weight.grad.clone()

    torch.testing.assert_close(2 * step(), step())


def test_no_graph_without_gradients(cell):
    with torch.no_grad():
        x = torch.randn(1, 4, 8, 8, dtype=torch.float64)
        found = Implicit()(lambda z, rows: cell(z, x[rows]), torch.zeros(1, 3, 8, 8, dtype=torch.float64), Anderson(5))
    assert not found.states[-1].requires_grad


@pytest.mark.parametrize("options", [lambda: Unrolled(0), lambda: DampedUnrolling(0), lambda: DampedUnrolling(2, 1.0)])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        options()
