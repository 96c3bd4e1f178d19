"""The network against the published architecture."""

import pytest
import torch
from torch import nn

from lightning_modules.ldeq.network import Cell, ConvUnit, Hourglass, Stem, initialize, normalize


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_of_the_released_code():
    """Its debug widths (I = w = 224, i = 24, one group) give 16,531,346 parameters, part by part."""
    stem, cell = Stem(224), Cell(98, 224, 224, 24, 4, 1, 2.5)
    assert parameters(stem) == 291_648
    assert parameters(cell.merge) == 72_800
    assert parameters(cell.hourglass) == 16_144_848
    assert parameters(cell.head) == 22_050


def test_default_widths_come_closest_to_the_paper():
    assert parameters(Stem(256)) + parameters(Cell(98, 256, 256, 28, 4, 4, 2.5)) == 21_728_218


def test_a_unit_activates_before_it_normalises():
    kinds = [type(layer) for layer in ConvUnit(3, 8, 3, nn.GroupNorm(4, 8))]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, nn.GroupNorm]


def test_shapes_at_the_papers_size():
    stem, hourglass = Stem(16), Hourglass(16, 4, 4, 4)
    x = stem(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
    assert x.shape == (1, 16, 64, 64)
    widths = []
    hourglass.bottleneck.register_forward_hook(lambda layer, inputs, output: widths.append(output.shape))
    assert hourglass(x).shape == (1, 16, 64, 64)
    assert widths == [(1, 32, 4, 4)]


def test_stem_takes_bytes_and_normalises_with_imagenet():
    grey = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    stem = Stem(8).eval()
    seen = []
    stem.enter[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    stem(grey)
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 32, 32), atol=1e-5, rtol=0)


def test_normalised_heatmaps_peak_at_one_and_sharpen_when_cold():
    heatmaps = torch.randn(2, 3, 8, 8)
    warm, cold = normalize(heatmaps, 2.5), normalize(heatmaps, 0.5)
    assert torch.equal(warm.amax(dim=(-2, -1)), torch.ones(2, 3))
    torch.testing.assert_close(warm**5, cold)  # exp(x / 2.5) ** 5 = exp(x / 0.5)


def test_half_precision_heatmaps_are_normalised_in_float32():
    assert normalize(torch.randn(1, 1, 4, 4, dtype=torch.bfloat16), 2.5).dtype == torch.float32


def test_initialisation_is_xavier_normal():
    torch.manual_seed(0)
    cell = Cell(4, 32, 64, 16, 1, 4, 2.5)
    initialize(cell)
    weight = cell.hourglass.refine[0][0].weight
    assert weight.std().item() == pytest.approx((2 / (2 * 64 * 25)) ** 0.5, rel=0.02)
    assert cell.hourglass.refine[0][0].bias.abs().max() == 0
