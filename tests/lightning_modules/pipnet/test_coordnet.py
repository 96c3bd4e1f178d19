"""CoordNet: its size, its coordinates, its loss, and what it refuses."""

import re

import pytest
import torch
from torch.nn.functional import linear, relu

from lightning_modules.pipnet import CoordNet
from tests.lightning_modules.dots import dots, fall


def small(**options):
    torch.manual_seed(0)
    return CoordNet(5, **{"backbone": "resnet10t", "size": 64, "pretrained": False, **options})


@pytest.mark.parametrize(("backbone", "millions"), [("resnet18", 28.3), ("resnet50", 91.0), ("resnet101", 110.0)])
def test_it_is_as_large_as_in_the_paper(backbone, millions):
    """Table 9, at 256 pixels and 98 landmarks."""
    module = CoordNet(98, backbone, pretrained=False)
    assert sum(p.numel() for p in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_head_is_three_linear_layers_on_the_flattened_map():
    module, image = small().eval(), dots()["image"]
    network = module.network
    weights = list(network.head.parameters())
    assert [tuple(p.shape) for p in weights[::2]] == [(512, 4 * network.backbone.channels), (512, 512), (10, 512)]
    hidden = network.backbone(image).flatten(1)
    hidden = relu(linear(hidden, *weights[:2]))
    shares = linear(relu(linear(hidden, *weights[2:4])), *weights[4:])  # x0 y0 x1 y1 ...
    expected = torch.stack([64 * shares[:, ::2] - 0.5, 64 * shares[:, 1::2] - 0.5], dim=-1)
    found = module(image)
    torch.testing.assert_close(found.landmarks, expected)
    assert (found.confidence == 1).all()
    assert found.confidence.shape == (4, 5)
    assert found.heatmaps is None


def test_loss_is_the_mean_distance_along_an_axis_in_shares_of_the_side(silent):
    module, batch = small().eval(), dots()
    batch["landmarks"][0, 0] = torch.tensor([-30.0, 90.0])  # a landmark outside is one as any
    expected = (module(batch["image"]).landmarks - batch["landmarks"]).abs().mean() / 64
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_loss_falls_on_its_own_batch_and_every_weight_learns(silent):
    module = small()
    losses = fall(module, lr=1e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("size", [32, 64])
def test_the_folded_network_finds_the_same(size):
    module, image = small(size=size).eval(), dots(size=size)["image"]
    plain = module(image).landmarks
    module.fold()
    torch.testing.assert_close(module(image).landmarks, plain, atol=1e-4, rtol=0)


def test_autocast_does_not_round_coordinates():
    module, image = small().eval(), dots()["image"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = module(image).landmarks
    assert found.dtype == torch.float32
    assert (found - found.bfloat16().float()).abs().max() > 0  # finer than bfloat16
    assert (found - module(image).landmarks).abs().max() < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 100}, "model.init_args.size is 100, expected a multiple of resnet10t's stride 32"),
        ({"size": 0}, "model.init_args.size is 0, expected a multiple of resnet10t's stride 32"),
        ({"size": -64}, "model.init_args.size is -64, expected a multiple"),
        ({"backbone": "vit_tiny_patch16_224"}, "model.init_args.backbone is 'vit_tiny_patch16_224', expected a convol"),
        ({"backbone": "resnet81"}, "model.init_args.backbone is 'resnet81'"),
        ({"lr": -1.0}, "model.init_args.lr is -1.0, expected a number of at least 0"),
        ({"lr": float("nan")}, "model.init_args.lr is nan, expected a number of at least 0"),
        ({"weight_decay": -0.1}, "model.init_args.weight_decay is -0.1, expected a number of at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        small(**options)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 96), (32, 32)])
def test_images_of_another_size_are_refused(height, width):
    words = f"images are {width} x {height} pixels, but model.init_args.size is 64 .* set it and data.init_args.size"
    with pytest.raises(ValueError, match=words):
        small()(torch.zeros(1, 3, height, width, dtype=torch.uint8))
