"""The losses: values by hand, gradients by differences, and heatmaps that no network should make."""

import io
import math

import pytest
import torch

from lightning_modules.heatmaps import barycentre, render, variance
from lightning_modules.wasserstein_hrnet.losses import HeatmapL2, JensenShannon, SoftArgmax, Wasserstein
from lightning_modules.wasserstein_hrnet.pot import POT
from lightning_modules.wasserstein_hrnet.sinkhorn import RecentredSinkhorn
from lightning_modules.wasserstein_hrnet.transport import Target, window
from tests.lightning_modules.wasserstein_hrnet.predictions import KINDS, heatmaps

LOSSES = [Wasserstein(1.0), Wasserstein(3.0), HeatmapL2(1.5), JensenShannon(1.5), SoftArgmax()]
NAMES = ["wasserstein-1", "wasserstein-3", "l2", "js", "soft-argmax"]
every = pytest.mark.parametrize("loss", LOSSES, ids=NAMES)


def points(dtype=torch.float32):
    return torch.tensor([[[20.3, 31.8], [2.2, 60.0], [45.5, 7.1]]], dtype=dtype)


def maps(kind, dtype=torch.float32):
    return heatmaps(kind, points(dtype)[0]).unsqueeze(0).requires_grad_()


def test_the_cost_of_one_cell_is_the_mean_distance_to_the_target():
    """All mass in one cell: there is only one plan."""
    centre = torch.tensor([[[20.3, 31.8]]], dtype=torch.float64)
    logits = torch.full((1, 1, 64, 64), -1e4, dtype=torch.float64)
    logits[0, 0, 40, 12] = 0
    v = Target.of(centre[0], 1.5, window(1.5), 64, 64).maps(64, 64)[0]
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    expected = (v * torch.hypot(x - 12, y - 40)).sum().item()
    for solver in (RecentredSinkhorn(), POT(), POT(exact=True)):
        assert Wasserstein(1.5, None, solver)(logits, centre).item() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_the_solvers_can_be_exchanged(sigma):
    """Value and gradient of the same loss."""
    found = []
    for solver in (RecentredSinkhorn(), POT()):
        logits = maps("double")
        loss = Wasserstein(sigma, None, solver)(logits, points())
        loss.sum().backward()
        found.append((loss.detach(), logits.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=5e-3, atol=0)
    assert torch.cosine_similarity(found[0][1].flatten(), found[1][1].flatten(), dim=0) > 0.9999
    torch.testing.assert_close(found[0][1].norm(), found[1][1].norm(), rtol=5e-3, atol=0)


def test_the_gradient_is_that_of_the_potential():
    """u (f - <f, u>) for f the potential, u the softmax; of the sum of the losses, so without a factor."""
    logits, solver = maps("double", torch.float64), RecentredSinkhorn()
    Wasserstein(1.5, None, solver)(logits, points(torch.float64)).sum().backward()
    u = logits.detach().flatten(2).softmax(dim=2).view(3, 64, 64)
    f = solver(u, points(torch.float64)[0], 1.5, 0.375).potential
    torch.testing.assert_close(logits.grad[0], u * (f - (f * u).sum(dim=(1, 2), keepdim=True)))


def test_l2_by_hand():
    heat = torch.zeros(1, 3, 64, 64)
    empty = HeatmapL2(1.5)(heat, points())
    torch.testing.assert_close(empty, torch.ones(1, 3), rtol=0.02, atol=0)  # near the edge some of it is beyond
    target = render(points(), 1.5, 64, 64)
    assert HeatmapL2(1.5)(target, points()).max() == 0
    torch.testing.assert_close(HeatmapL2(1.5)(3 * target, points()), 4 * empty)
    assert HeatmapL2(1.5)(heat, torch.full((1, 3, 2), -50.0)).max() < 1e-6  # far beyond the map heatmaps are empty


def test_jensen_shannon_by_hand():
    centres = points(torch.float64)
    v = Target.of(centres[0], 1.5, window(1.5), 64, 64).maps(64, 64)
    logits = maps("noise", torch.float64)
    u = logits.detach().flatten(2).softmax(dim=2).view(1, 3, 64, 64)[0]
    middle = (u + v) / 2
    known = v > 0
    expected = (
        (u * (u / middle).log()).sum(dim=(1, 2)) + torch.where(known, v * (v / middle).log(), 0).sum(dim=(1, 2))
    ) / 2
    torch.testing.assert_close(JensenShannon(1.5)(logits, centres)[0], expected)
    apart = torch.full((1, 3, 64, 64), -1e4, dtype=torch.float64)
    apart[..., 63, 63] = 1e4
    torch.testing.assert_close(JensenShannon(1.5)(apart, centres), torch.full_like(centres[..., 0], math.log(2)))
    same = v.log().clamp_min(-1e4).unsqueeze(0)
    assert JensenShannon(1.5)(same, centres).abs().max() < 1e-12


def test_soft_argmax_by_hand():
    logits = torch.full((1, 1, 8, 8), -torch.inf)
    logits[0, 0, 2, 3] = logits[0, 0, 4, 7] = 0.0  # half each: (5, 3)
    assert SoftArgmax()(logits, torch.tensor([[[4.5, 5.0]]])).item() == pytest.approx(2.5)


@pytest.mark.parametrize("loss", LOSSES[2:], ids=NAMES[2:])
def test_gradients_are_those_of_differences(loss):
    """Of the Wasserstein loss the value is the cost, the gradient that with entropy: test_sinkhorn.py has it."""
    logits, centres = maps("noise", torch.float64), points(torch.float64)
    (found,) = torch.autograd.grad(loss(logits, centres).sum(), logits)
    along = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ahead, behind = (loss(logits + sign * 1e-4 * along, centres).sum() for sign in (1, -1))
    assert ((ahead - behind) / 2e-4).item() == pytest.approx((found * along).sum().item(), rel=1e-6)


@every
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_heatmap_has_a_finite_loss_and_gradient(loss, kind, dtype):
    logits = maps(kind).detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, points())
    assert found.dtype == torch.float32
    found.sum().backward()
    assert found.isfinite().all()
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()


@every
def test_autocast_changes_nothing(loss):
    plain = loss(maps("double"), points())
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss(maps("double"), points())
    assert torch.equal(plain, cast)


@every
def test_an_unknown_point_teaches_nothing(loss):
    centres = points()
    centres[0, 1, 0] = torch.nan
    logits = maps("double")
    found = loss(logits, centres)
    found.sum().backward()
    assert found[0, 1] == 0
    assert logits.grad[0, 1].abs().max() == 0
    assert logits.grad[0, [0, 2]].abs().amax(dim=(1, 2)).min() > 0
    torch.testing.assert_close(found[0, [0, 2]], loss(maps("double"), points())[0, [0, 2]])


@every
def test_heatmaps_that_are_not_numbers_are_not_hidden(loss):
    logits = maps("double").detach()
    logits[0, 1, 5, 5] = torch.nan
    found = loss(logits, points())
    assert found[0, 1].isnan()
    assert found[0, [0, 2]].isfinite().all()


@pytest.mark.parametrize(
    "loss", [Wasserstein(1.0), JensenShannon(1.5), SoftArgmax()], ids=["wasserstein", "js", "soft-argmax"]
)
def test_a_point_beyond_the_map_is_that_on_its_border(loss):
    beyond, border = (torch.tensor([[place] * 3]) for place in ([80.0, -5.0], [63.0, 0.0]))
    assert torch.equal(loss(maps("double"), beyond), loss(maps("double"), border))


def test_at_its_optimum_the_gradient_is_zero():
    """Descent ends at a heatmap about the point that is nearly as wide as the target: entropy takes 6 %."""
    centre, sigma = torch.tensor([[[8.2, 6.7]]], dtype=torch.float64), 1.5
    logits = torch.zeros(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    loss = Wasserstein(sigma, None, RecentredSinkhorn((5, 5, 10, 60), pooled=False))
    optimizer = torch.optim.SGD([logits], lr=4.0, momentum=0.9, nesterov=True)
    steepest = 0.0
    for _ in range(1000):
        optimizer.zero_grad()
        loss(logits, centre).sum().backward()
        steepest = max(steepest, logits.grad.abs().max().item())
        optimizer.step()
    assert logits.grad.abs().max() < 0.005 * steepest
    u = logits.detach().flatten(2).softmax(dim=2).view(1, 1, 16, 16)
    v = Target.of(centre[0], sigma, window(sigma), 16, 16).maps(16, 16)
    torch.testing.assert_close(barycentre(u), centre, atol=0.01, rtol=0)
    assert (variance(u)[0, 0] / variance(v)[0]).sqrt().item() == pytest.approx(0.942, abs=0.005)


@pytest.mark.parametrize("loss", LOSSES[:2], ids=NAMES[:2])
def test_it_compiles_in_one_piece(loss):
    """Also at first sight of a shape, when its kernels are not made yet."""
    torch.compiler.reset()  # the number sigma must be a constant, and becomes a variable where it was another before
    compiled = torch.compile(lambda logits, centres: loss(logits, centres).sum(), fullgraph=True, backend="aot_eager")
    centres = torch.tensor([[[20.3, 21.8], [2.2, torch.nan]]])
    found = []
    for function in (compiled, lambda logits, centres: loss(logits, centres).sum()):
        logits = heatmaps("double", torch.zeros(2, 2), 40, 44).unsqueeze(0).requires_grad_()
        value = function(logits, centres)
        value.backward()
        found.append((value.detach(), logits.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("loss", [Wasserstein, HeatmapL2, JensenShannon])
def test_a_sigma_that_is_none_is_refused(loss, sigma):
    with pytest.raises(ValueError, match=rf"sigma is {sigma}, expected more than 0 cells"):
        loss(sigma)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon is {epsilon}, expected more than 0 cells"):
        Wasserstein(1.0, epsilon)
    with pytest.raises(
        ValueError, match=r"loss.init_args.epsilon is 0.01 cells, expected at least 0.083 with sigma 1: "
    ):
        Wasserstein(1.0, 0.01)


@every
def test_points_of_another_count_are_refused(loss):
    with pytest.raises(ValueError, match=r"heatmaps have shape \(2, 3, 16, 16\) and points \(3, 2, 2\), expected"):
        loss(torch.zeros(2, 3, 16, 16), torch.zeros(3, 2, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nothing waits for a CPU")
@every
def test_nothing_waits_for_the_device(loss):
    logits, centres = maps("double").detach().cuda(), points().cuda()
    loss(logits, centres)  # makes its kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(logits.requires_grad_(), centres).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("loss", [*LOSSES, Wasserstein(1.5, 0.2, POT(exact=True))], ids=[*NAMES, "pot"])
def test_checkpoints_can_hold_it(loss):
    file = io.BytesIO()
    torch.save({"loss": loss}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["loss"] == loss
