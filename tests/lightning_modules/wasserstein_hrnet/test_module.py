"""The module: what it learns with every loss and network, what it reads, and what it refuses."""

import math
import re

import pytest
import torch
from torch import nn

from lightning_modules.heatmaps import render
from lightning_modules.wasserstein_hrnet import (
    CPN,
    Barycentre,
    Bilinear,
    HeatmapL2,
    HRNet,
    JensenShannon,
    QuarterOffset,
    SimpleBaselines,
    SoftArgmax,
    StackedHourglass,
    Wasserstein,
)
from lightning_modules.wasserstein_hrnet.coordconv import CoordConv2d
from tests.lightning_modules.dots import dots, fall

METHODS = {
    HRNet: {"backbone": "hrnet_w18_small", "pretrained": False},
    SimpleBaselines: {"backbone": "test_resnet", "pretrained": False},
    CPN: {"backbone": "resnet10t", "pretrained": False},
    StackedHourglass: {"stacks": 2, "width": 32},
}
every = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def small(method=SimpleBaselines, **options):
    torch.manual_seed(0)
    return method(5, **METHODS[method], **options)


@pytest.mark.parametrize(
    "method", [HRNet, SimpleBaselines, StackedHourglass, pytest.param(CPN, marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("coordconv", [False, True])
def test_the_loss_falls(silent, method, coordconv):
    losses = fall(small(method, coordconv=coordconv), lr=1e-3)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "loss", [Wasserstein(1.0), Wasserstein(3.0), HeatmapL2(1.5), JensenShannon(1.5), SoftArgmax()], ids=str
)
def test_every_loss_teaches(silent, loss):
    losses = fall(small(loss=loss), lr=1e-3)
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_is_the_mean_over_landmarks_and_the_sum_over_heatmaps(silent):
    module, batch = small(CPN, loss=HeatmapL2(1.0)), dots()
    batch["landmarks"][0, 0] = torch.nan
    batch["landmarks"][1] = torch.nan
    with torch.no_grad():
        found = module.training_step(batch, 0)
        heatmaps = module.network(batch["image"])
    total = 0.0
    for each in heatmaps:
        for face in range(4):
            for mark in range(5):
                x, y = ((batch["landmarks"][face, mark] + 0.5) / 4 - 0.5).tolist()
                if not math.isnan(x):
                    target = render(torch.tensor([x, y]), 1.0, 16, 16)
                    total += (each[face, mark] - target).square().sum().item() / math.pi / 14
    assert found.item() == pytest.approx(total, rel=1e-3)


def test_where_nothing_is_known_nothing_is_lost(silent):
    module, batch = small(), dots()
    batch["landmarks"][:] = torch.nan
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in module.parameters())


@pytest.mark.parametrize(
    ("loss", "decoding", "within"),
    [
        (HeatmapL2(1.5), QuarterOffset(), 1.1),
        (HeatmapL2(1.5), Bilinear(), 1.7),
        (Wasserstein(1.5), QuarterOffset(), 1.1),
        (Wasserstein(1.5), Bilinear(), 1.7),
        (Wasserstein(1.5), Barycentre(), 0.05),
    ],
    ids=str,
)
@pytest.mark.parametrize("constant", [0.0, -20.0, 5.0])
def test_a_perfect_heatmap_is_read_where_it_is(monkeypatch, loss, decoding, within, constant):
    """In pixels, of which a cell has four; and the reading is sure. A constant changes nothing for softmax."""
    module = small(loss=loss, decoding=decoding)
    landmarks = torch.tensor([[[20.0, 31.0], [33.3, 25.1], [17.9, 44.0], [30.0, 30.0], [41.7, 19.4]]])
    gaussians = render((landmarks + 0.5) / 4 - 0.5, 1.5, 16, 16)
    maps = gaussians.clamp_min(1e-30).log() + constant if loss.of_softmax else gaussians
    monkeypatch.setattr(module.network, "forward", lambda image: [torch.zeros(1, 5, 16, 16), maps])
    found = module(dots()["image"])
    assert (found.landmarks - landmarks).abs().max() < within
    assert (found.confidence > 0.05).all()  # a Gaussian's peak has 7 % of its mass
    assert (found.confidence <= 1).all()
    assert torch.equal(found.heatmaps, maps)


def test_a_flat_heatmap_is_read_without_confidence(monkeypatch):
    module = small()
    monkeypatch.setattr(module.network, "forward", lambda image: [torch.zeros(1, 5, 16, 16)])
    found = module(dots()["image"])
    assert found.confidence.max() < 0.07
    torch.testing.assert_close(found.landmarks, torch.full((1, 5, 2), 31.5))


def test_a_diverged_network_finds_no_place(monkeypatch):
    for decoding in (QuarterOffset(), Bilinear(), Barycentre()):
        module = small(decoding=decoding)
        monkeypatch.setattr(module.network, "forward", lambda image: [torch.full((4, 5, 16, 16), torch.nan)])
        assert module(dots()["image"]).landmarks.isnan().all()


@every
@pytest.mark.parametrize("coordconv", [False, True])
def test_the_folded_network_finds_the_same(method, coordconv):
    module, image = small(method, coordconv=coordconv).eval().double(), dots()["image"]
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.1, 0.1, generator=generator)
            nn.init.uniform_(norm.running_var, 0.5, 2, generator=generator)
    for name, p in module.named_parameters():
        if name.endswith("coordinates.weight"):
            nn.init.normal_(p, std=0.05, generator=generator)
    with torch.no_grad():
        plain = module(image)
        module.fold()
        found = module(image)
    kept = [sum(isinstance(m, nn.BatchNorm2d) for m in each.modules()) for each in (module.network, module.detector)]
    assert kept[1] < kept[0] or coordconv  # norms stay after convolutions with coordinates
    scale = plain.heatmaps.abs().max().item()
    torch.testing.assert_close(found.heatmaps, plain.heatmaps, atol=1e-4 * scale, rtol=0)


def test_confidence_of_the_barycentre_is_the_mass_about_it():
    heat = torch.full((1, 9, 9), -1e4)
    heat[0, 4, 2], heat[0, 4, 3] = math.log(0.6), math.log(0.4)
    point, confidence = Barycentre()(heat, of_softmax=True)
    assert point.tolist() == [pytest.approx([2.4, 4.0])]
    assert confidence.item() == pytest.approx(1.0)
    heat[0, 4, 8] = math.log(1.0)  # half the mass, at 8
    point, confidence = Barycentre()(heat, of_softmax=True)
    assert point.tolist() == [pytest.approx([5.2, 4.0])]
    assert confidence.item() == 0  # none within a cell and a half


@pytest.mark.parametrize("method", [SimpleBaselines, CPN])
def test_imagenet_weights_are_loaded_beside_those_of_coordinates(method):
    """Those that come with a package; the paper's CoordConv rows begin with ImageNet weights too."""
    options = {"backbone": "tf_efficientnet_lite0"}
    plain, with_coordinates = method(5, **options), method(5, **options, coordconv=True)
    for module in (plain, with_coordinates):
        module.load_imagenet()
    image = dots()["image"]
    features = [module.eval().network.backbone(image) for module in (plain, with_coordinates)]
    torch.testing.assert_close(features[1], features[0])
    assert any(isinstance(module, CoordConv2d) for module in with_coordinates.network.backbone.modules())


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        (HRNet, {"backbone": "resnet18"}, "model.init_args.backbone is 'resnet18', expected an HRNet of timm"),
        (CPN, {"backbone": "efficientvit_m0"}, "model.init_args.backbone is 'efficientvit_m0', expected a convol"),
        (StackedHourglass, {"stacks": 0}, "model.init_args.stacks is 0, expected at least 1"),
        (StackedHourglass, {"pretrained": True}, "pretrained is True, but hourglasses have no ImageNet weights"),
        (StackedHourglass, {"width": 30}, "model.init_args.width is 30, expected a multiple of 4"),
        (SimpleBaselines, {"lr": -1.0}, "model.init_args.lr is -1.0, expected a number of at least 0"),
    ],
)
def test_options_out_of_range_are_refused(method, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        method(5, **{**METHODS[method], **options})
