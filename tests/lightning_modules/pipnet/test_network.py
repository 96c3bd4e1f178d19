"""The network: one head that is the released five, its strides, its size, its precision."""

import pytest
import torch
from torch import nn

from lightning_modules.pipnet import PIPNet
from lightning_modules.pipnet.neighbours import RepeatedListMean, nearest
from lightning_modules.pipnet.network import PIPNetwork
from tests.lightning_modules.pipnet.released import ReleasedHead, released_landmarks, repeated_lists, rows_of, take_head

N, C = 7, 3


def network(landmarks=N, neighbours=C, stride=32, backbone="test_resnet"):
    torch.manual_seed(0)
    return PIPNetwork(backbone, landmarks, neighbours, stride)


def with_released_head(landmarks=N, neighbours=C, stride=32):
    """A network in float64 and a released head of the same weights, none of them small."""
    ours = network(landmarks, neighbours, stride).double().eval()
    released = ReleasedHead(ours.channels, landmarks, neighbours).double()
    take_head(ours, released)
    return ours, released


def features_of(ours, cells=4):
    torch.manual_seed(1)
    return torch.randn(3, ours.channels, cells, cells, dtype=torch.float64)


def test_scores_and_offsets_are_those_of_the_released_maps():
    ours, released = with_released_head()
    features = features_of(ours)
    score, x, y, nb_x, nb_y = released(features)
    torch.testing.assert_close(ours.scores(features), score, rtol=1e-10, atol=1e-10)
    cell = torch.randint(16, (3, N))
    found = ours.offsets(features, cell)
    for b in range(3):
        for i in range(N):
            row, column = divmod(cell[b, i].item(), 4)
            expected = torch.stack([x[b, i, row, column], y[b, i, row, column]])
            torch.testing.assert_close(found[b, i, 0], expected, rtol=1e-10, atol=1e-10)
            slots = slice(i * C, (i + 1) * C)  # landmark by landmark
            expected = torch.stack([nb_x[b, slots, row, column], nb_y[b, slots, row, column]], dim=-1)
            torch.testing.assert_close(found[b, i, 1:], expected, rtol=1e-10, atol=1e-10)


def test_gradients_are_those_through_the_released_maps():
    ours, released = with_released_head()
    cell = torch.randint(16, (3, N))
    torch.manual_seed(2)
    weights = torch.randn(3, N, 1 + C, 2, dtype=torch.float64)

    features = features_of(ours).requires_grad_()
    each = ours.offsets(features, cell)
    ((each * weights).sum() + ours.scores(features).square().sum()).backward()

    theirs = features_of(ours).requires_grad_()
    score, *maps = released(theirs)
    looked_at = [each.unflatten(1, (N, -1)).flatten(3) for each in maps]  # (B, N, 1 or C, hw)
    x, y, nb_x, nb_y = (
        each.gather(3, cell.view(3, N, 1, 1).expand(-1, -1, each.shape[2], -1)).squeeze(-1) for each in looked_at
    )
    expected = torch.stack([torch.cat([x, nb_x], dim=2), torch.cat([y, nb_y], dim=2)], dim=-1)
    torch.testing.assert_close(each, expected, rtol=1e-10, atol=1e-10)
    ((expected * weights).sum() + score.square().sum()).backward()

    torch.testing.assert_close(features.grad, theirs.grad, rtol=1e-6, atol=1e-10)
    for name in ("weight", "bias"):
        rows = rows_of([getattr(layer, name).grad.squeeze() for layer in released.layers])
        for layer, expected in zip((ours.score, ours.offset), rows, strict=True):
            torch.testing.assert_close(getattr(layer, name).grad, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("stride", [16, 32, 64, 128])
def test_landmarks_are_those_of_the_released_decoding(stride):
    torch.manual_seed(0)
    module = PIPNet(20, "test_resnet", pretrained=False, stride=stride, num_neighbours=4, merge=RepeatedListMean())
    angle = (0.2 + 0.2 * torch.rand(20)).cumsum(0)  # on a ring, where each is somebody's neighbour
    module.neighbours.copy_(nearest(torch.stack([angle.cos(), angle.sin()], dim=-1), 4))
    released = ReleasedHead(module.network.channels, 20, 4)
    take_head(module.network, released)
    image = torch.randint(0, 256, (2, 3, 256, 384), dtype=torch.uint8)
    with torch.no_grad():  # in training mode, where batch norms make random weights' features large
        found = module(image)
        maps = released(module.network.features(image))
        shares = released_landmarks(maps, module.neighbours, repeated_lists(module.neighbours))
    torch.testing.assert_close(found.landmarks, shares * torch.tensor([384, 256]) - 0.5, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(found.confidence, maps[0].amax(dim=(-2, -1)).clamp(0, 1))
    torch.testing.assert_close(found.heatmaps, maps[0])
    assert found.heatmaps.shape == (2, 20, 256 // stride, 384 // stride)


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        ("resnet18", 12.0),
        ("resnet50", 26.7),
        ("resnet101", 45.7),
        ("mobilenetv2_100", 4.2),
        ("mobilenetv3_large_100", 4.5),
    ],
)
def test_it_is_as_large_as_in_the_paper(backbone, millions):
    """Table 9. Its text speaks of WFLW, but its figures are those of 68 landmarks; with 98 ResNet-18 has 12.3 M."""
    ours = network(68, 10, 32, backbone)
    assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    ("stride", "layers"), [(16, ["ConvTranspose2d"]), (32, []), (64, ["Conv2d"]), (128, ["Conv2d"] * 2)]
)
def test_layers_that_change_the_stride(stride, layers):
    """3x3 convolutions, or one that is transposed and 4x4; 512 channels, batch norm, ReLU (section 4.2.1)."""
    ours = network(stride=stride)
    kinds = [type(layer).__name__ for layer in ours.restride]
    assert kinds == [kind for layer in layers for kind in (layer, "BatchNorm2d", "ReLU")]
    for layer in ours.restride[::3]:
        side = 4 if isinstance(layer, nn.ConvTranspose2d) else 3
        assert (layer.kernel_size, layer.stride, layer.out_channels, layer.bias) == ((side, side), (2, 2), 512, None)
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.05)
    for layer in (ours.score, ours.offset):
        assert layer.in_features == (512 if layers else 96)
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.1)
        assert layer.bias.abs().max() == 0
    scores = ours(torch.zeros(2, 3, 256, 128, dtype=torch.uint8)).scores
    assert scores.shape == (2, N, 256 // stride, 128 // stride)


@pytest.mark.parametrize("stride", [48, 33, 0, -32, 24, 96])
def test_a_stride_that_no_layers_make_is_refused(stride):
    with pytest.raises(ValueError, match=rf"stride is {stride}, expected test_resnet's 32, halved or doubled any"):
        network(stride=stride)


@pytest.mark.parametrize(("stride", "size", "step"), [(32, 80, 32), (16, 80, 32), (128, 192, 128)])
def test_a_size_that_the_stride_does_not_divide_is_refused(stride, size, step):
    sentence = rf"images are {size} x {size} pixels, expected sides divisible by {step}; set the data's size"
    with pytest.raises(ValueError, match=sentence):
        network(stride=stride)(torch.zeros(1, 3, size, size, dtype=torch.uint8))


def test_the_head_is_float32_under_autocast():
    ours = network().eval()
    take_head(ours, ReleasedHead(ours.channels, N, C))
    image = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = ours.features(image)
        cell = ours.scores(features).flatten(2).argmax(dim=-1)
        scores, offsets, found = ours.scores(features), ours.offsets(features, cell), ours(image)
    assert features.dtype == torch.bfloat16
    with torch.no_grad():
        expected, expected_offsets = ours.scores(features.float()), ours.offsets(features.float(), cell)
    assert {scores.dtype, offsets.dtype, found.own.dtype, found.neighbours.dtype} == {torch.float32}
    assert torch.equal(scores, expected)
    assert torch.equal(offsets, expected_offsets)
    assert torch.equal(found.scores, scores)


def test_without_neighbours_the_head_has_three_numbers_a_landmark():
    ours = network(landmarks=1, neighbours=0)
    assert (ours.score.out_features, ours.offset.out_features) == (1, 2)
    found = ours.eval()(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert (found.own.shape, found.neighbours.shape) == ((2, 1, 2), (2, 1, 0, 2))
