"""What the last equilibrium is good for: early stopping, Eq. 8, and maps that move with the crop."""

import pytest
import torch
from scipy.optimize import minimize

from lightning_modules.heatmaps import barycentre, cell_to_pixel, render
from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.network import STRIDE
from lightning_modules.ldeq.recurrence import EarlyStopping, Proximal, warped
from lightning_modules.ldeq.solvers import Anderson, FixedPoint

SHAPE = (2, 3, 4)  # maps of 3 x 4 cells


def contraction(seed=0, dtype=torch.float64):
    """A map with one fixed point for each of two videos, and what it is."""
    generator = torch.Generator().manual_seed(seed)
    size = 2 * 3 * 4
    matrix = 0.15 * torch.linalg.qr(torch.randn(2, size, size, generator=generator, dtype=dtype))[0]
    offset = torch.rand(2, size, generator=generator, dtype=dtype) + 1

    def f(z, rows):
        return (torch.einsum("bij,bj->bi", matrix[rows], z.flatten(1)) + offset[rows]).view(-1, *SHAPE)

    fixed = torch.linalg.solve(torch.eye(size, dtype=dtype) - matrix, offset).view(2, *SHAPE)
    return f, fixed, matrix


def test_two_iterations_are_two_evaluations():
    f, _, _ = contraction()
    last, calls, rows = torch.rand(2, *SHAPE, dtype=torch.float64), [], torch.arange(2)

    def counted(z, rows):
        calls.append(len(rows))
        return f(z, rows)

    found = EarlyStopping(2)(counted, last, Anderson(50))
    assert calls == [2, 2]
    torch.testing.assert_close(found, f(f(last, rows), rows))
    torch.testing.assert_close(EarlyStopping(1)(f, last, Anderson()), f(last, rows))


def test_a_frame_that_is_the_last_one_takes_one_iteration():
    f, fixed, _ = contraction()
    calls = []
    last = fixed + torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)  # the second video has moved

    def counted(z, rows):
        calls.append(rows.tolist())
        return f(z, rows)

    found = EarlyStopping(2)(counted, last, Anderson(tolerance=1e-3))
    assert calls == [[0, 1], [1]]
    torch.testing.assert_close(found[0], fixed[0])


@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_eq_8_is_solved_as_by_its_normal_equations(alpha):
    """Of a linear f: (A'A + alpha / 2) z = A'b + alpha / 2 last, where f(z) - z = b - A z."""
    f, _, matrix = contraction()
    last = torch.rand(2, *SHAPE, dtype=torch.float64) + 1
    found = Proximal(alpha, iterations=200).minimum(f, last)
    a = torch.eye(24, dtype=torch.float64) - matrix
    b = f(torch.zeros_like(last), torch.arange(2)).flatten(1)
    weight = alpha / 2 * torch.eye(24, dtype=torch.float64)
    right = torch.einsum("bji,bj->bi", a, b) + alpha / 2 * last.flatten(1)
    expected = torch.linalg.solve(a.mT @ a + weight, right).view_as(last)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_eq_8_of_a_curved_map_as_scipy_minimises_it():
    def f(z, rows):
        return 0.6 * torch.tanh(z.roll(1, dims=-1)) + 0.5

    last, proximal = torch.tensor([0.1, 0.9, 2.0, 1.2], dtype=torch.float64).view(1, 1, 1, 4), Proximal(0.2, 100)

    def objective(values):
        z = torch.tensor(values).view_as(last)
        return float(proximal.objective(f(z, None), z, last))

    expected = minimize(objective, last.flatten().numpy(), tol=1e-12)
    torch.testing.assert_close(proximal.minimum(f, last).flatten(), torch.tensor(expected.x), atol=1e-4, rtol=0)


def test_the_more_nearness_is_worth_the_nearer():
    f, fixed, _ = contraction()
    last = fixed + 1
    away = [float((Proximal(alpha, 100).minimum(f, last) - last).norm()) for alpha in (0.0, 0.3, 3.0, 30.0)]
    assert away == sorted(away, reverse=True)
    torch.testing.assert_close(Proximal(0.0, 200)(f, last, FixedPoint()), fixed, atol=1e-4, rtol=0)
    single = EarlyStopping(1)(f, last, FixedPoint())
    torch.testing.assert_close(Proximal(1e6, 200)(f, last, FixedPoint()), single, atol=1e-4, rtol=0)


def test_maps_follow_the_crop():
    """The same place of the video, seen from a crop that is moved, turned and larger."""
    place = torch.tensor([[[40.0, 50.0], [70.3, 61.8]]])
    maps = render(((place + 0.5) / STRIDE - 0.5), 1.5, 32, 32)
    angle, scale = torch.tensor(0.2), 1.15
    linear = scale * torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    move = torch.cat([linear, torch.tensor([[6.0], [-9.0]])], dim=1).unsqueeze(0)
    seen = cell_to_pixel(barycentre(warped(maps, move)), STRIDE)
    expected = torch.einsum("ij,vnj->vni", torch.linalg.inv(linear), place - move[0, :, 2])
    torch.testing.assert_close(seen, expected, atol=0.1, rtol=0)


def test_whole_cells_move_exactly_and_what_was_not_seen_is_zero():
    maps = torch.rand(2, 3, 8, 8)
    still = torch.eye(2, 3).expand(2, -1, -1).clone()
    torch.testing.assert_close(warped(maps, still), maps)
    still[:, 0, 2] = 2 * STRIDE
    moved = warped(maps, still)
    torch.testing.assert_close(moved[..., :-2], maps[..., 2:])
    assert (moved[..., -2:] == 0).all()


def small(**options):
    torch.manual_seed(0)
    widths = {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1}
    return LDEQ(num_landmarks=3, **widths, **options).eval()


def test_tracking_by_eq_8_works_in_inference_mode():
    frame = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    module = small(recurrence=Proximal(1.0, iterations=5))
    with torch.inference_mode():
        _, state = module.track(frame, None)
        _, after = module.track(frame, state)
    f, _ = module.inject(frame)
    rows, found = torch.arange(2), module.recurrence.minimum(f, state.clone())
    with torch.no_grad():
        torch.testing.assert_close(after, f(found, rows))
        value = [module.recurrence.objective(f(z, rows), z, state) for z in (state, found)]
    assert value[1] < value[0]
    assert after.requires_grad is False


def test_the_state_is_moved_unless_it_is_not_to_be():
    state, move = torch.rand(1, 3, 8, 8), torch.tensor([[[1.0, 0.0, 8.0], [0.0, 1.0, 0.0]]])
    torch.testing.assert_close(small().moved_state(state, move), warped(state, move))
    assert small(recurrence=EarlyStopping(warp=False)).moved_state(state, move) is state


def test_others_are_compared_beside_the_modules_own():
    others = [EarlyStopping(1), EarlyStopping(warp=False), EarlyStopping(), Proximal(2.0, warp=False)]
    module = small(compared=others, evaluation_tolerance=0.0, evaluation_iterations=5)
    found = module.recurrences()
    assert list(found) == ["RwR", "RwR, 1 iteration", "RwR, not moved", "Eq. 8, alpha 2, not moved"]
    assert found["RwR"] is module
    frame = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    _, state = module.track(frame, None)
    for title, recurrence in zip(("RwR, 1 iteration", "RwR, not moved"), others, strict=False):
        (tracked, after), own = found[title].track(frame, state), small(recurrence=recurrence)
        own.load_state_dict(module.state_dict())
        expected, kept = own.track(frame, state)
        torch.testing.assert_close(tracked.landmarks, expected.landmarks)
        torch.testing.assert_close(after, kept)
    move = torch.tensor([[[1.0, 0.0, 8.0], [0.0, 1.0, 0.0]]] * 2)
    assert found["RwR, not moved"].moved_state(state, move) is state
    torch.testing.assert_close(found["RwR, 1 iteration"].moved_state(state, move), warped(state, move))
    assert found["RwR"].init_state() is None


def test_evaluation_has_its_own_tolerance():
    module = small(solver=Anderson(4, tolerance=0.1), evaluation_tolerance=1e-4)
    assert (module.solver.tolerance, module.evaluation_solver.tolerance) == (0.1, 1e-4)
    assert small(solver=Anderson(4, tolerance=0.1)).evaluation_solver.tolerance == 0.1


def test_coordinates_stay_whole_under_autocast():
    """bfloat16 has 8 bits: places in a 256-pixel image would be half a pixel and more off."""
    maps = torch.zeros(1, 1, 64, 64)
    maps[0, 0, 20, 50] = 1
    move = torch.tensor([[[1.01, 0.02, 3.3], [-0.02, 0.99, -2.7]]])
    with torch.autocast("cpu", torch.bfloat16):
        moved = warped(maps, move)
    torch.testing.assert_close(moved, warped(maps, move))


@pytest.mark.parametrize("iterations", [3, 12])
def test_l_bfgs_makes_the_iterations_it_is_asked_for(monkeypatch, iterations):
    made = []

    class Counted(torch.optim.LBFGS):
        def step(self, closure):
            super().step(closure)
            made.append(self.state[self._params[0]]["n_iter"])

    monkeypatch.setattr(torch.optim, "LBFGS", Counted)
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(64, 64))[0]
    spread = rotation @ torch.diag(torch.logspace(-2, 0, 64)) @ rotation.T

    def f(z, rows):
        return z - (z.flatten(1) @ spread).sin().view_as(z)

    Proximal(0.0, iterations)(f, torch.rand(1, 1, 8, 8), Anderson())
    assert made == [iterations]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EarlyStopping(0), "iterations of EarlyStopping is 0, expected at least 1"),
        (lambda: Proximal(-1.0), "alpha of Proximal is -1.0, expected at least 0"),
        (lambda: Proximal(iterations=0), "iterations of Proximal is 0, expected at least 1"),
    ],
)
def test_mistakes_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
