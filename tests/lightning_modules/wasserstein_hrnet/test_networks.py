"""The networks: their shapes and sizes, the released HRNet, coordinates, and what is refused."""

import pytest
import torch
from torch import nn

from lightning_modules.wasserstein_hrnet.coordconv import CoordConv2d, add_coordinates
from lightning_modules.wasserstein_hrnet.cpn import CascadedPyramid
from lightning_modules.wasserstein_hrnet.hourglass import StackedHourglassNetwork
from lightning_modules.wasserstein_hrnet.hrnet import HRNetwork
from lightning_modules.wasserstein_hrnet.simple_baselines import SimpleBaselinesNetwork
from tests.lightning_modules.wasserstein_hrnet.released_hrnet import Released
from tests.one_sentence import one_sentence

MAKERS = {
    "hrnet": lambda n: HRNetwork("hrnet_w18_small", n),
    "simple": lambda n: SimpleBaselinesNetwork("test_resnet", n),
    "cpn": lambda n: CascadedPyramid("resnet10t", n),
    "hourglass": lambda n: StackedHourglassNetwork(n, 2, 32),
}
HEATMAPS = {"hrnet": 1, "simple": 1, "cpn": 5, "hourglass": 2}
every = pytest.mark.parametrize("name", MAKERS)


def lively(network, seed=0):
    """As after training: batch norms that do something, and weights none of which is small."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1, generator=generator)
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return network.double().eval()


@every
def test_heatmaps_have_stride_four(name):
    network = MAKERS[name](7).eval()
    side = network.usual_side * 2
    found = network(torch.zeros(2, 3, side, 2 * side, dtype=torch.uint8))
    assert [tuple(each.shape) for each in found] == [(2, 7, side // 4, side // 2)] * HEATMAPS[name]


@every
def test_a_size_that_does_not_fit_is_refused(name):
    network = MAKERS[name](3)
    with one_sentence("images are 72 x 72 pixels, expected sides divisible by", "data.init_args.size"):
        network(torch.zeros(1, 3, 72, 72, dtype=torch.uint8))


@every
def test_everything_learns(name):
    """No weight is left without a gradient, for which DDP would wait."""
    network = MAKERS[name](3)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    sum(each.square().sum() for each in network(image)).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


@every
def test_the_last_layers_are_float32_under_autocast(name):
    network = MAKERS[name](3).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8))
    assert {each.dtype for each in found} == {torch.float32}


@pytest.mark.parametrize("backbone", ["hrnet_w18", "hrnet_w18_small_v2"])
def test_hrnet_is_the_released_network(backbone):
    ours = lively(HRNetwork(backbone, 5))
    head = {key: value for key, value in ours.state_dict().items() if not key.startswith("backbone.")}
    modules = (
        {"stage2": 1, "stage3": 4, "stage4": 3} if backbone == "hrnet_w18" else {"stage2": 1, "stage3": 3, "stage4": 2}
    )
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        (found,) = ours(image)
        expected = Released(ours.backbone.body.state_dict(), head, modules)(image.double())
    assert expected.std() > 1e-3
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_hrnet_begins_as_the_released_code():
    network = HRNetwork("hrnet_w18", 98)
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}
    assert network.last.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert network.last.bias.abs().max() == 0
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(9.66, abs=0.01)


def test_only_an_hrnet_is_an_hrnet():
    with one_sentence("model.init_args.backbone is 'resnet18', expected an HRNet of timm such as hrnet_w18"):
        HRNetwork("resnet18", 5)


def joined(layer, features):
    """A convolution of features and coordinates in one tensor, with the weights of both joined."""
    height, width = features.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    places = [x, y, torch.hypot(x, y)][: 2 + layer.radius]
    whole = torch.cat([features, torch.stack(places).expand(len(features), -1, -1, -1)], dim=1)
    inner = layer.features
    weight = torch.cat([inner.weight, layer.coordinates.weight], dim=1)
    return nn.functional.conv2d(whole, weight, inner.bias, inner.stride, inner.padding, inner.dilation)


@pytest.mark.parametrize("radius", [False, True])
@pytest.mark.parametrize(("side", "stride", "bias"), [(1, 1, True), (3, 1, False), (3, 2, True), (7, 2, False)])
def test_coordinates_are_as_if_joined_to_the_features(radius, side, stride, bias):
    torch.manual_seed(0)
    layer = CoordConv2d(nn.Conv2d(5, 6, side, stride, side // 2, bias=bias), radius)
    features = torch.randn(2, 5, 9, 12)
    torch.testing.assert_close(layer(features), layer.features(features))  # until it is trained
    nn.init.normal_(layer.coordinates.weight)
    found = layer(features)
    torch.testing.assert_close(found, joined(layer, features), rtol=1e-4, atol=1e-5)
    assert (found - layer.features(features)).abs().max() > 1


@pytest.mark.parametrize("name", ["hrnet", "cpn", "hourglass"])
def test_any_network_takes_coordinates(name):
    torch.manual_seed(0)
    network = MAKERS[name](3).eval()
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in network.modules())
    with torch.no_grad():
        before = network(image)[-1]
    add_coordinates(network)
    assert sum(isinstance(m, CoordConv2d) for m in network.modules()) == convolutions
    with torch.no_grad():
        torch.testing.assert_close(network(image)[-1], before)
    network(image)[-1].square().sum().backward()
    added = [m.coordinates.weight.grad for m in network.modules() if isinstance(m, CoordConv2d)]
    assert sum(grad is not None and bool(grad.any()) for grad in added) > 0.9 * convolutions / HEATMAPS[name]


def test_grouped_convolutions_and_those_that_pad_by_themselves_take_them_too():
    network = CascadedPyramid("tf_efficientnet_lite0", 3).eval()
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before = network(image)[-1]
        add_coordinates(network)
        torch.testing.assert_close(network(image)[-1], before)
