"""MapNet: its size, its heatmaps and their reading, its loss, and what it refuses."""

import math
import re

import pytest
import torch

from lightning_modules.pipnet import MapNet
from tests.lightning_modules.dots import dots, fall


def small(**options):
    torch.manual_seed(0)
    return MapNet(5, **{"backbone": "resnet10t", "stride": 4, "pretrained": False, **options})


def heatmaps_of(monkeypatch, module, heatmaps):
    """Have the module's network answer with these, whatever the images."""
    monkeypatch.setattr(module.network, "forward", lambda image: heatmaps)


@pytest.mark.parametrize(("backbone", "millions"), [("resnet18", 28.0), ("resnet50", 52.9), ("resnet101", 71.9)])
def test_it_is_as_large_as_in_the_paper(backbone, millions):
    """Table 9, at stride 2 and 98 landmarks."""
    module = MapNet(98, backbone, pretrained=False)
    assert module.network.stride == 2
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 32, 64])
def test_heatmaps_have_the_stride(stride):
    found = small(stride=stride).eval()(dots()["image"])
    assert found.heatmaps.shape == (4, 5, 64 // stride, 64 // stride)
    assert found.landmarks.shape == (4, 5, 2)
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()


def test_layers_are_those_of_the_paper():
    """Each doubling is a transposed convolution 4x4 of 512 channels, batch norm, ReLU; one 1x1 convolution ends it."""
    network = small(stride=4).network
    kinds = [type(layer).__name__ for layer in network.restride]
    assert kinds == ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 3
    for layer in network.restride[::3]:
        assert (layer.out_channels, layer.kernel_size, layer.stride, layer.bias) == (512, (4, 4), (2, 2), None)
    assert (network.head.in_channels, network.head.out_channels, network.head.kernel_size) == (512, 5, (1, 1))
    assert network.head.weight.std().item() == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize(("stride", "cells"), [(4, 1), (2, 2), (1, 4)])
def test_the_papers_gaussians_cost_nothing_and_an_empty_map_one(silent, monkeypatch, stride, cells):
    """The radii in cells are those of section 4.3.1; the Gaussian is written out here."""
    module, batch = small(stride=stride), dots(size=64, margin=24)
    centre = torch.arange(64 // stride) * stride + (stride - 1) / 2  # of each cell, in pixels
    x, y = (batch["landmarks"][..., axis, None] - centre for axis in (0, 1))
    distance = (x.square().unsqueeze(-2) + y.square().unsqueeze(-1)) / stride**2
    gaussians = torch.exp(-distance / (2 * cells**2))
    heatmaps_of(monkeypatch, module, gaussians)
    assert module.training_step(batch, 0).item() == pytest.approx(0, abs=1e-9)
    heatmaps_of(monkeypatch, module, torch.zeros_like(gaussians))
    assert module.training_step(batch, 0).item() == pytest.approx(1, rel=1e-4)
    heatmaps_of(monkeypatch, module, 2 * gaussians)
    expected = gaussians.square().sum() / 20 / (math.pi * cells**2)
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-4)
    heatmaps_of(monkeypatch, module, gaussians)
    found = module(batch["image"])
    assert (found.landmarks - batch["landmarks"]).abs().max() <= stride / 4 + 1e-3
    assert torch.equal(found.confidence, gaussians.flatten(2).amax(-1))


def test_of_a_landmark_outside_there_is_what_reaches_into_the_crop(silent, monkeypatch):
    module, batch = small(), dots(faces=1)
    heatmaps_of(monkeypatch, module, torch.zeros(1, 5, 16, 16))
    batch["landmarks"][:] = 32.0
    inside = module.training_step(batch, 0)
    batch["landmarks"][0, 0] = torch.tensor([-3.0, 32.0])
    partly = module.training_step(batch, 0)
    batch["landmarks"][0, 0] = torch.tensor([-300.0, 32.0])
    wholly = module.training_step(batch, 0)
    assert wholly.item() == pytest.approx(0.8 * inside.item(), rel=1e-5)
    assert wholly < partly < inside


def test_confidence_is_cut_to_0_1(monkeypatch):
    module = small()
    heatmaps_of(monkeypatch, module, torch.stack([torch.full((16, 16), v) for v in (-2, 0, 0.4, 1, 7)]).unsqueeze(0))
    assert module(dots()["image"]).confidence.tolist() == [pytest.approx([0, 0, 0.4, 1, 1])]


def test_loss_falls_on_its_own_batch_and_every_weight_learns(silent):
    module = small(stride=8, sigma=8.0)
    losses = fall(module, lr=1e-4)
    assert losses[-1] < 0.1 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_autocast_does_not_round_heatmaps():
    module, image = small().eval(), dots()["image"]
    with torch.no_grad():
        module.network.head.weight *= 100
        with torch.autocast("cpu", torch.bfloat16):
            found = module(image).heatmaps
    assert found.dtype == torch.float32
    assert found.unique().numel() > 0.99 * found.numel()  # neighbours of a peak are told apart


def test_the_folded_network_makes_the_same_heatmaps():
    module, image = small().eval(), dots()["image"]
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.uniform_(-0.1, 0.1)
                norm.running_var.uniform_(0.5, 2)
        module.network.head.weight *= 1000
        plain = module(image)
        module.fold()
        folded = module(image)
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in module.detector.restride) == 0
    scale = plain.heatmaps.abs().max().item()
    torch.testing.assert_close(folded.heatmaps, plain.heatmaps, atol=1e-4 * scale, rtol=0)


def test_a_diverged_network_finds_no_place(monkeypatch):
    module = small()
    heatmaps_of(monkeypatch, module, torch.full((4, 5, 16, 16), torch.nan))
    assert module(dots()["image"]).landmarks.isnan().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 3}, "model.init_args.stride is 3, expected resnet10t's 32, halved or doubled any number of times"),
        ({"stride": 0}, "model.init_args.stride is 0, expected resnet10t's 32"),
        ({"sigma": 0.0}, "model.init_args.sigma is 0.0, expected more than 0 pixels"),
        ({"sigma": -1.0}, "model.init_args.sigma is -1.0, expected more than 0 pixels"),
        ({"sigma": float("nan")}, "model.init_args.sigma is nan, expected more than 0 pixels"),
        ({"backbone": "vit_tiny_patch16_224"}, "model.init_args.backbone is 'vit_tiny_patch16_224', expected a convol"),
        ({"lr": -1.0}, "model.init_args.lr is -1.0, expected a number of at least 0"),
        ({"weight_decay": -0.1}, "model.init_args.weight_decay is -0.1, expected a number of at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        small(**options)


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"images are 80 x 64 pixels, expected sides divisible by 32"):
        small()(torch.zeros(1, 3, 64, 80, dtype=torch.uint8))
