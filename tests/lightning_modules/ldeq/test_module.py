"""The LDEQ module: gradients of each phase, batching, video, and what it refuses."""

import re

import pytest
import torch

from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.implicit import DampedUnrolling, Implicit, SingleStep, Unrolled
from lightning_modules.ldeq.losses import MeanAbsolute, MeanSquare
from lightning_modules.ldeq.recurrence import EarlyStopping
from lightning_modules.ldeq.solvers import Anderson, Broyden, FixedPoint
from lightning_modules.wasserstein_hrnet import JensenShannon, Wasserstein
from tests.lightning_modules.dots import dots, fall


def small(**options):
    torch.manual_seed(0)
    settings = {"injection_width": 16, "width": 16, "width_step": 4, "depth": 2, "lr": 3e-3, **options}
    return LDEQ(5, **settings)


@pytest.fixture
def silent(monkeypatch):
    """Modules outside a trainer cannot log."""
    monkeypatch.setattr(LDEQ, "log", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(LDEQ, "log_dict", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(LDEQ, "current_epoch", 5)


@pytest.mark.parametrize(
    "way", [Implicit(), SingleStep(), DampedUnrolling(2), Unrolled(3)], ids=lambda w: type(w).__name__
)
@pytest.mark.parametrize("solver", [Anderson(4), FixedPoint(4), Broyden(4)], ids=lambda s: type(s).__name__)
def test_loss_falls_on_its_own_dots(silent, way, solver):
    losses = fall(small(gradient=way, solver=solver, loss=MeanAbsolute()), lr=3e-3)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("loss", [Wasserstein(1.0), JensenShannon(1.5)], ids=lambda loss: type(loss).__name__)
def test_a_loss_of_heatmaps_is_that_of_the_equilibrium(silent, loss):
    """Read as distributions, with their temperature; landmarks are beyond the crop or unknown too."""
    module = small(gradient=Unrolled(2), loss=loss)
    data = dots()
    data["landmarks"][0, 0], data["landmarks"][1, 1] = torch.nan, -9.0
    found = module.training_step(data, 0)
    found.backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
    expected = 0.0
    with torch.no_grad():
        for weight, z in zip((1, 2), module.equilibrium(data["image"], 5).states, strict=True):
            u = z[:, :5] / z[:, :5].sum(dim=(2, 3), keepdim=True)
            expected += weight / 3 * loss(u.log(), (data["landmarks"] + 0.5) / 4 - 0.5).sum().item() / 19
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("way", [Implicit(), Unrolled(3)], ids=lambda w: type(w).__name__)
def test_a_loss_of_heatmaps_falls(silent, way):
    losses = fall(small(gradient=way, loss=Wasserstein(1.0)), lr=3e-3)
    assert losses[-1] < 0.8 * losses[0]


def test_first_epochs_use_the_early_gradient(silent, monkeypatch):
    module = small(early_epochs=2, early_gradient=Unrolled(3), gradient=Implicit())
    assert [len(module.equilibrium(dots()["image"], epoch).states) for epoch in (0, 1, 2)] == [3, 3, 1]


def test_later_unrolled_steps_weigh_more(silent):
    module = small(gradient=Unrolled(3), loss=MeanSquare())
    data = dots()
    states = module.eval().equilibrium(data["image"], 5).states
    losses = [(module.decode(z) / 64 - data["landmarks"] / 64).square().mean().item() for z in states]
    expected = (losses[0] + 2 * losses[1] + 3 * losses[2]) / 6
    assert module.training_step(data, 0).item() == pytest.approx(expected, rel=1e-4)


def test_a_prediction_does_not_depend_on_its_dots():
    module = small(evaluation_iterations=30).double().eval()  # float64: sums in another order differ by 1e-15 only
    with torch.no_grad():  # make samples converge at different times
        module.cell.merge[0].weight[:, :5] *= 0.5
    images = dots(faces=6)["image"]
    images[3] = 255
    together = module(images)
    assert len(set(module._solved.iterations.tolist())) > 1
    for face in range(6):
        alone = module(images[face : face + 1])
        torch.testing.assert_close(alone.landmarks[0], together.landmarks[face], atol=1e-8, rtol=0)


def test_landmarks_lie_in_the_image_and_confidence_in_0_1():
    prediction = small().eval()(dots()["image"])
    assert prediction.landmarks.shape == (4, 5, 2)
    assert (prediction.landmarks > -0.5).all()
    assert (prediction.landmarks < 63.5).all()
    assert ((prediction.confidence > 0) & (prediction.confidence <= 1)).all()
    assert prediction.heatmaps.shape == (4, 5, 16, 16)


def test_extra_maps_are_carried_but_not_decoded():
    module = small(extra_maps=3).eval()
    _, z0 = module.inject(dots()["image"])
    assert z0.shape == (4, 8, 16, 16)
    assert module(dots()["image"]).landmarks.shape == (4, 5, 2)


def test_video_starts_from_the_last_equilibrium():
    module = small(recurrence=EarlyStopping(2), evaluation_iterations=20).eval()
    frame = dots()["image"]
    with torch.no_grad():
        cold, state = module.track(frame, module.init_state())
        _, again = module.track(frame, state)
    torch.testing.assert_close(cold.landmarks, module(frame).landmarks)
    expected = Anderson(2)(module.inject(frame)[0], state)
    torch.testing.assert_close(again, expected.image)
    assert expected.iterations.max() <= 2


def test_a_landmark_outside_the_image_is_sought_at_the_border(silent):
    module, data = small().eval(), dots()
    outside = {**data, "landmarks": data["landmarks"].clone()}
    outside["landmarks"][0, 0] = torch.tensor([900.0, 20.0])
    border = {**data, "landmarks": outside["landmarks"].clone()}
    border["landmarks"][0, 0, 0] = 63.5
    assert module.training_step(outside, 0).item() == pytest.approx(module.training_step(border, 0).item())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 18}, "width is 18, expected a multiple of groups (4)"),
        ({"width_step": 6}, "width_step is 6, expected a multiple of groups (4)"),
        ({"width": 0}, "width is 0, expected at least 1"),
        ({"groups": 0}, "groups is 0, expected at least 1"),
        ({"depth": -1}, "depth is -1, expected at least 1"),
        ({"injection_width": 2}, "injection_width is 2, expected at least 4"),
        ({"temperature": 0.0}, "temperature is 0.0, expected more than 0"),
        ({"early_epochs": -1}, "early_epochs is -1, expected at least 0"),
        ({"evaluation_iterations": 0}, "evaluation_iterations is 0, expected at least 1"),
        ({"lr": -1.0}, "lr is -1.0, expected at least 0"),
        ({"lr": float("nan")}, "lr is nan, expected at least 0"),
        ({"warmup": 1.5}, "warmup is 1.5, expected a share of the training, at most 1"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=re.escape(f"model.init_args.{words}")):
        small(**options)


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"images are 60 x 60 pixels, expected sides divisible by 16"):
        small()(torch.zeros(1, 3, 60, 60, dtype=torch.uint8))


def test_evaluation_is_float32_whatever_the_precision():
    module, data = small().eval(), dots()
    exact = module(data["image"])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rounded = module(data["image"])
        tracked, _ = module.track(data["image"], None)
    torch.testing.assert_close(rounded.landmarks, exact.landmarks)
    torch.testing.assert_close(tracked.landmarks, exact.landmarks)


def test_predictions_of_a_large_photograph_are_not_rounded():
    module = small().eval()
    crop = torch.tensor([[3.1, 0.2, 4000.0], [-0.2, 3.1, 2500.0]]).expand(4, 2, 3)
    data = {**dots(), "crop": crop}
    with torch.autocast("cpu", torch.bfloat16):
        found = module.predict_step(data, 0)["landmarks"]
    x, y = module(data["image"]).landmarks.unbind(dim=-1)
    expected = torch.stack([3.1 * x + 0.2 * y + 4000, -0.2 * x + 3.1 * y + 2500], dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_autocast_trains_in_bfloat16(silent):
    module = small(gradient=Implicit())
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(dots(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    gradients = {name: p.grad for name, p in module.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    with_rounding = torch.cat([gradient.flatten() for gradient in gradients.values()])
    module.zero_grad()
    module.training_step(dots(), 0).backward()
    exact = torch.cat([p.grad.flatten() for p in module.parameters()])
    cosine = torch.cosine_similarity(with_rounding, exact, dim=0)
    assert 0.8 < cosine < 1 - 1e-7  # the same direction, and bfloat16 was used


@pytest.fixture
def settled(silent, monkeypatch):
    """Enough steps are past for residuals to be judged."""
    monkeypatch.setattr(LDEQ, "global_step", 1000)


def steps(module, count=3):
    """Training steps without an optimizer, and the end of their epoch."""
    for _ in range(count):
        module.training_step(dots(), 0).backward()
        module.on_after_backward()
    module.on_train_epoch_end()


# An untrained cell contracts all the less, the more maps of its own it looks at.
THREE = {"solver": Anderson(3), "gradient": Implicit(Anderson(3)), "early_epochs": 0, "extra_maps": 93, "width": 32}


@pytest.mark.parametrize(("temperature", "iterations", "solve"), [(1.0, 3, "forward"), (2.5, 6, "backward")])
def test_a_cell_that_never_contracts_stops_the_run(settled, temperature, iterations, solve):
    module = small(temperature=temperature, **{**THREE, "solver": Anderson(iterations)})  # untrained
    words = rf"no equilibrium in epoch 5: median relative residual of its {solve} solves 0\.\d\d, expected at most 0\."
    with pytest.raises(ValueError, match=words + r".*; lower model\.init_args\.lr"):
        steps(module)


def test_a_cell_that_contracts_goes_on(settled):
    module = small(temperature=1.0, **THREE)
    with torch.no_grad():
        module.cell.merge[0].weight[:, :98] *= 0.1
    steps(module)


def test_a_young_cell_goes_on(silent, monkeypatch):
    """Early gradients need no equilibrium, and the first steps of the others find none."""
    steps(small(temperature=1.0, **THREE))
    monkeypatch.setattr(LDEQ, "global_step", 1000)
    steps(small(temperature=1.0, **{**THREE, "early_epochs": 6}))


def test_a_solve_that_is_never_finite_stops_the_run_and_a_single_one_does_not(settled):
    module = small()
    one, all_three = (torch.tensor([float("inf"), *rest]).unbind() for rest in ([0.1, 0.1], [float("inf")] * 2))
    module._residuals = {"forward": list(one), "backward": list(one)}
    module.on_train_epoch_end()
    module._residuals = {"forward": list(all_three), "backward": []}
    with pytest.raises(ValueError, match="forward solves inf, expected"):
        module.on_train_epoch_end()


@pytest.mark.parametrize(
    ("options", "iterates"),
    [
        ({"gradient": Unrolled(1)}, False),
        ({"gradient": Unrolled(2)}, True),
        ({"gradient": SingleStep(), "solver": Anderson(1)}, False),
        ({"gradient": SingleStep(), "solver": Anderson(2)}, True),
    ],
)
def test_one_application_has_no_residual(settled, monkeypatch, options, iterates):
    """From zeros it is 1 by definition: nothing to log, and nothing to stop a run for."""
    logged = {}
    monkeypatch.setattr(LDEQ, "log", lambda self, name, value, **kwargs: logged.update({name: value}))
    monkeypatch.setattr(LDEQ, "log_dict", lambda self, values, **kwargs: logged.update(values))
    module = small(early_epochs=0, **options)
    with torch.no_grad():
        module.cell.merge[0].weight[:, :5] *= 0.1
    steps(module)
    assert ({"train/residual", "train/worst_residual", "train/unconverged"} <= set(logged)) == iterates
    assert set(logged) == {"train/loss"} or iterates
