"""The networks' shapes, and what they refuse."""

import pytest
import torch

from lightning_modules.two_step.networks import FeatureNetwork, HeatmapHead
from tests.one_sentence import one_sentence


@pytest.fixture(autouse=True)
def same_weights():
    torch.manual_seed(0)


def image(height=64, width=96):
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_features_and_heatmaps_have_the_images_resolution():
    network, head = FeatureNetwork(16, (8, 16, 16, 16, 16)), HeatmapHead(16, 7, width=8)
    features = network(image())
    assert features.shape == (2, 16, 64, 96)
    layers = head.layers(features)
    assert [layer.shape for layer in layers] == [(2, 8, 64, 96)] * 3
    torch.testing.assert_close(head.last(layers[-1]), head(features))
    assert head(features).shape == (2, 7, 64, 96)


def test_sides_need_not_be_divisible():
    """Those of Cat Head are 100: 50, 25, 12 and 6 below it."""
    assert FeatureNetwork(16, (8, 8, 8, 8, 8))(image(100, 102)).shape == (2, 16, 100, 102)


def test_all_blocks_are_used():
    network, head = FeatureNetwork(16, (8, 16, 24)), HeatmapHead(16, 7, width=8)
    head(network(image())).square().sum().backward()
    parameters = [*network.named_parameters(), *head.named_parameters()]
    assert [name for name, p in parameters if p.grad is None or not p.grad.any()] == []


def test_an_image_knows_nothing_of_its_batch():
    network = FeatureNetwork(16, (8, 16, 24))
    with torch.no_grad():
        torch.testing.assert_close(network(image()[:1]), network(image())[:1], rtol=1e-4, atol=1e-5)


def test_a_move_of_the_image_moves_the_features():
    """By a multiple of the coarsest cell, and away from the edges; but for the norms, which see the whole image."""
    network = FeatureNetwork(16, (8, 16)).eval()
    whole = image(64, 64)[:1]
    with torch.no_grad():
        one, other = network(whole), network(torch.roll(whole, 8, dims=3))
    similarity = torch.cosine_similarity(torch.roll(one, 8, dims=3)[..., 20:-20, 28:-20], other[..., 20:-20, 28:-20])
    assert similarity.min() > 0.99


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FeatureNetwork(16, (8,)), "widths is [8], expected at least two multiples of 8"),
        (lambda: FeatureNetwork(16, (8, 12)), "widths is [8, 12], expected at least two multiples of 8"),
        (lambda: HeatmapHead(16, 5, blocks=0), "blocks is 0, expected at least 1"),
        (lambda: HeatmapHead(16, 5, width=12), "width is 12, expected a multiple of 8"),
        (lambda: FeatureNetwork()(image(72, 8)), "images are 8 x 72 pixels, expected at least 16 for 4 halvings"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with one_sentence(words):
        make()
