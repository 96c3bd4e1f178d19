"""Our solver against POT's, the exact distance, differences, and what arithmetic promises."""

import numpy as np
import ot
import pytest
import torch

from lightning_modules.wasserstein_hrnet.pot import POT
from lightning_modules.wasserstein_hrnet.sinkhorn import RecentredSinkhorn, smallest_epsilon
from lightning_modules.wasserstein_hrnet.transport import Target, window
from tests.lightning_modules.wasserstein_hrnet.predictions import KINDS, distributions

SIGMAS = (1.0, 1.5, 3.0)
EXACT = RecentredSinkhorn(iterations=(20, 20, 50, 2000), pooled=False)


def points(count=3, side=64, seed=1, dtype=torch.float32):
    """Some near the edge, none in the middle of a cell."""
    places = side * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    places[0] = torch.tensor([0.3, side - 2.2])
    return places.clamp(0, side - 1)


def costs(height, width):
    """Distances (h w, h w) between all cells."""
    y, x = np.divmod(np.arange(height * width), width)
    place = np.stack([x, y], axis=1).astype(float)
    return ot.dist(place, place, metric="euclidean")


def target_maps(centres, sigma, height=64, width=64):
    return Target.of(centres.double(), sigma, window(sigma), height, width).maps(height, width)


def test_targets_are_gaussians_that_sum_to_one():
    centres = torch.tensor([[20.3, 31.8], [0.4, 0.0], [63.0, -7.0], [20.0, 31.0]], dtype=torch.float64)
    maps = target_maps(centres, 1.5)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(4, dtype=torch.float64))
    for row, column in ((32, 20), (30, 21), (33, 18)):
        ratio = maps[0, row, column] / maps[0, 32, 21]
        far, near = (np.hypot(x - 20.3, y - 31.8) for x, y in ((column, row), (21, 32)))
        assert ratio.item() == pytest.approx(np.exp((near**2 - far**2) / (2 * 1.5**2)))
    assert maps[2, 0].argmax() == 63  # from beyond the map
    y, x = np.divmod(np.arange(64 * 64), 64)
    reached = maps[3].flatten() > 0
    assert np.hypot(x - 20, y - 31)[reached].max() == pytest.approx(5.0)  # as far as 3 sigma and half a cell
    assert torch.equal(maps[3], torch.roll(target_maps(centres[3:] + 2, 1.5)[0], (-2, -2), (0, 1)))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_pot(kind, sigma):
    centres = points()
    source = distributions(kind, centres)
    cost, potential = RecentredSinkhorn()(source, centres, sigma, sigma / 4)
    expected, theirs = POT()(source, centres, sigma, sigma / 4)
    torch.testing.assert_close(cost, expected, rtol=5e-3, atol=1e-4)
    ours, theirs = (gradient(source, each).flatten(1) for each in (potential, theirs))
    if kind == "one-hot":  # a softmax of 1 and zeros has no slope
        assert max(ours.abs().max(), theirs.abs().max()) < 1e-4
        return
    assert torch.cosine_similarity(ours, theirs).min() > 0.999
    torch.testing.assert_close(ours.norm(dim=1), theirs.norm(dim=1), rtol=0.02, atol=0)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_what_one_cell_costs_is_known(sigma):
    """All mass in one cell leaves one plan; pooling that cell with others may cost half a percent."""
    generator = torch.Generator().manual_seed(2)
    centres, cells = 63 * torch.rand(768, 2, generator=generator), torch.randint(64, (768, 2), generator=generator)
    source = torch.zeros(768, 64, 64)
    source[torch.arange(768), cells[:, 1], cells[:, 0]] = 1
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    distance = torch.hypot(x - cells[:, 0].view(-1, 1, 1), y - cells[:, 1].view(-1, 1, 1).double())
    expected = (target_maps(centres, sigma) * distance).sum(dim=(1, 2)).float()
    cost = RecentredSinkhorn()(source, centres, sigma, sigma / 4).cost
    torch.testing.assert_close(cost, expected, rtol=5e-3, atol=0)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", ["near", "double", "peaked", "astray"])
def test_pooling_hardly_turns_the_gradient(kind, sigma):
    centres = points(64, seed=6)
    source = distributions(kind, centres)
    solvers = RecentredSinkhorn(), RecentredSinkhorn((2, 2, 4, 40), pooled=False)
    ours, exact = (gradient(source, s(source, centres, sigma, sigma / 4).potential).flatten(1) for s in solvers)
    error = (ours - exact).norm(dim=1) / exact.norm(dim=1)
    assert error.median() < 0.01
    assert error.max() < 0.15


def gradient(source, potential):
    """With respect to the heatmaps before softmax."""
    return source * (potential - (potential * source).sum(dim=(1, 2), keepdim=True))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 20), (16, 16), (7, 5), (1, 9)])
def test_maps_of_any_shape(height, width):
    centres = torch.tensor([[width * 0.3, height * 0.6], [width - 1.0, 0.0]])
    source = distributions("noise", centres, height, width)
    cost, potential = RecentredSinkhorn((3, 3, 6, 18))(source, centres, 1.0, 0.25)
    expected, theirs = POT()(source, centres, 1.0, 0.25)
    assert potential.shape == (2, height, width)
    torch.testing.assert_close(cost, expected, rtol=1e-3, atol=1e-4)
    ours, theirs = (gradient(source, each) for each in (potential, theirs))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * theirs.abs().max().item())


def test_without_windows_pot_says_the_same():
    centres = torch.tensor([[7.3, 5.9]])
    source = distributions("double", centres, 12, 14).double()
    whole, part = (POT(windowed=flag)(source, centres, 1.0, 0.25) for flag in (False, True))
    torch.testing.assert_close(whole.cost, part.cost, rtol=1e-6, atol=0)
    torch.testing.assert_close(whole.potential - whole.potential.mean(), part.potential - part.potential.mean())


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", ["noise", "near", "double", "astray"])
def test_the_exact_distance_is_between_our_bounds(kind, sigma):
    """A hard dual is never above it, the cost of a plan with the right sums never below."""
    centres = points(2, 24, dtype=torch.float64)
    source = distributions(kind, centres, 24, 24)
    exact = POT(exact=True)(source, centres, sigma, 1.0).cost
    solve = {each: RecentredSinkhorn((3, 3, 6, 50), each, pooled=False) for each in ("transport", "dual", "between")}
    found = {each: solver(source, centres, sigma, sigma / 4) for each, solver in solve.items()}
    dual, between = found["dual"].cost, found["between"].cost
    assert (dual <= exact + 1e-9).all()
    for k in range(2):
        plan, distances = rounded_plan(source[k], found["transport"].potential[k], centres[k : k + 1], sigma)
        assert exact[k] <= (plan * distances).sum() + 1e-9
        assert (plan * distances).sum().item() == pytest.approx(found["transport"].cost[k].item(), rel=1e-3)
    torch.testing.assert_close(between, (2 * found["transport"].cost + dual) / 3)
    torch.testing.assert_close(between, exact, rtol=0.06, atol=0)
    assert torch.equal(found["dual"].potential, found["transport"].potential)


def rounded_plan(source, potential, centre, sigma):
    """A plan whose sums are exactly source and target, from a potential (Altschuler et al. 2017); and its costs."""
    height, width = source.shape
    v = target_maps(centre, sigma, height, width).flatten().numpy()
    keep = v > 0
    u, v, distances = source.flatten().numpy(), v[keep], costs(height, width)[:, keep]
    scaled = u[:, None] * np.exp((potential.flatten().numpy()[:, None] - distances) / (sigma / 4))
    plan = scaled * (v / scaled.sum(axis=0))
    plan *= np.minimum(1, u / plan.sum(axis=1).clip(1e-300))[:, None]
    plan *= np.minimum(1, v / plan.sum(axis=0))
    missing = u - plan.sum(axis=1), v - plan.sum(axis=0)
    plan += np.outer(*missing) / missing[0].sum()
    np.testing.assert_allclose(plan.sum(axis=1), u, atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), v, atol=1e-12)
    return plan, distances


@pytest.mark.parametrize("kind", ["noise", "near", "double"])
def test_the_potential_is_the_gradient_of_the_cost_with_entropy(kind):
    """Central differences of the dual's value in float64, along directions that keep the sum."""
    sigma, epsilon, step = 1.0, 0.25, 1e-4
    centres = points(1, 16, seed=3, dtype=torch.float64)
    logits = distributions(kind, centres, 16, 16).log()
    v = target_maps(centres, sigma, 16, 16).flatten()
    distances = torch.from_numpy(costs(16, 16))[:, v > 0]
    v = v[v > 0]

    def value(logits):
        u = logits.flatten().softmax(dim=0)
        f = EXACT(u.view(1, 16, 16), centres, sigma, epsilon).potential.flatten()
        g = -epsilon * ((f[:, None] - distances) / epsilon + u.log()[:, None]).logsumexp(dim=0)
        return (f @ u + g @ v).item()

    u = logits.flatten().softmax(dim=0).view(1, 16, 16)
    ours = gradient(u, EXACT(u, centres, sigma, epsilon).potential).flatten()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        along = torch.randn(256, generator=generator, dtype=torch.float64)
        ahead, behind = (value(logits.flatten() + sign * step * along) for sign in (1, -1))
        assert (ahead - behind) / (2 * step) == pytest.approx((ours @ along).item(), rel=1e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", ["noise", "near", "double", "peaked", "astray"])
def test_it_points_where_the_exact_dual_points(kind, sigma):
    """Less where a peak is narrower than the target: how the exact plan splits the target is hardly determined."""
    centres = points(seed=4)
    source = distributions(kind, centres)
    potentials = [solver(source, centres, sigma, sigma / 4).potential for solver in (RecentredSinkhorn(), POT(True))]
    ours, theirs = (gradient(source, each).flatten(1) for each in potentials)
    narrow = kind in ("near", "peaked", "astray")
    least = {1.0: 0.98, 1.5: 0.95, 3.0: 0.9}[sigma] if narrow else 0.98
    assert torch.cosine_similarity(ours, theirs).min() >= least


@pytest.mark.parametrize("kind", KINDS)
def test_a_move_or_a_mirror_changes_nothing(kind):
    centres = torch.tensor([[25.3, 30.8], [28.0, 26.4]])
    inner = distributions(kind, centres - 16, 32, 32)
    source = torch.zeros(2, 64, 64)
    source[:, 16:48, 16:48] = inner
    cost, potential = RecentredSinkhorn()(source, centres, 1.5, 0.375)
    moved = RecentredSinkhorn()(torch.roll(source, (7, -9), (1, 2)), centres + torch.tensor([-9, 7]), 1.5, 0.375)
    torch.testing.assert_close(moved.cost, cost, rtol=1e-5, atol=1e-5)
    inside = potential[:, 10:50, 10:50]
    torch.testing.assert_close(moved.potential[:, 17:57, 1:41], inside, rtol=1e-4, atol=1e-3)
    for axis in (1, 2):
        mirrored = centres.clone()
        mirrored[:, 2 - axis] = 63 - mirrored[:, 2 - axis]
        found = RecentredSinkhorn()(source.flip(axis), mirrored, 1.5, 0.375)
        torch.testing.assert_close(found.cost, cost, rtol=5e-3, atol=1e-5)  # squares of the tree are not symmetric
        ours, theirs = (gradient(source, each).flatten(1) for each in (potential, found.potential.flip(axis)))
        assert torch.cosine_similarity(ours, theirs).min() > 0.999 or ours.abs().max() < 1e-4


def test_pairs_know_nothing_of_each_other():
    centres = points(5)
    source = distributions("double", centres)
    together = RecentredSinkhorn()(source, centres, 1.5, 0.375)
    again = RecentredSinkhorn()(source, centres, 1.5, 0.375)
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    for k in range(5):
        alone = RecentredSinkhorn()(source[k : k + 1], centres[k : k + 1], 1.5, 0.375)
        torch.testing.assert_close(alone.cost[0], together.cost[k], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(alone.potential[0], together.potential[k], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("solver", [RecentredSinkhorn(), POT(), POT(exact=True)], ids=["ours", "POT", "exact"])
def test_no_pairs_and_no_numbers_are_no_trouble(solver):
    cost, potential = solver(torch.empty(0, 64, 64), torch.empty(0, 2), 1.0, 0.25)
    assert (cost.shape, potential.shape) == ((0,), (0, 64, 64))
    centres = points(2, 16)
    source = distributions("double", centres, 16, 16)
    source[0] = torch.nan
    cost, potential = solver(source, centres, 1.0, 0.25)
    assert cost.isnan().tolist() == [True, False]
    assert potential[1].isfinite().all()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0, pytest.param(6.0, marks=pytest.mark.thorough)])
def test_too_small_an_epsilon_is_refused_with_the_smallest(sigma):
    centres = points()
    source = distributions("one-hot", centres)
    least = smallest_epsilon(sigma)
    with pytest.raises(
        ValueError, match=rf"epsilon is {least / 2:g} cells, expected at least [\d.]+ with sigma {sigma:g}"
    ):
        RecentredSinkhorn()(source, centres, sigma, least / 2)
    for solver in (RecentredSinkhorn(), RecentredSinkhorn(pooled=False)):
        cost, potential = solver(source, centres, sigma, least)
        assert cost.isfinite().all()
        assert potential.isfinite().all()


def test_a_target_larger_than_the_map_is_refused():
    with pytest.raises(ValueError, match="sigma is 9 cells, but heatmaps have 32 x 20; expected at most 8"):
        RecentredSinkhorn()(torch.full((1, 20, 32), 1 / 640), torch.zeros(1, 2), 9.0, 3.0)


def test_an_estimator_that_is_none_is_refused():
    with pytest.raises(ValueError, match="estimator is 'trasnport', expected transport, dual, between"):
        RecentredSinkhorn(estimator="trasnport")


def test_iterations_that_are_none_are_refused():
    for wrong in ((), (3, 0)):
        with pytest.raises(ValueError, match="expected numbers of at least 1"):
            RecentredSinkhorn(iterations=wrong)
