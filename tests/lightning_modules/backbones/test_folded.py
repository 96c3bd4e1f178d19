"""Folded networks: the same outputs, and which batch norms stay."""

import pytest
import timm
import torch
from torch import nn

from lightning_modules.backbones.folded import folded
from lightning_modules.backbones.timm_backbone import TimmBackbone

SIDE = 128


def trained(network):
    """With batch norms as training leaves them: statistics and scales of their own for each channel."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean.copy_(0.2 * torch.randn(shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
    return network.eval()


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def picture(side=SIDE):
    return torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize(
    ("name", "stay"),
    [
        ("resnet18", 0),
        ("mobilenetv2_100", 0),
        ("mobilenetv3_large_100", 0),
        ("tf_efficientnet_lite0", 0),  # convolutions that pad on one side
        ("hrnet_w18_small", 0),
        ("repvgg_a0", 17),  # of branches without a convolution
        ("densenet121", 62),  # before convolutions, and after all of them
        ("resnetv2_18", 9),
        ("convnext_atto", 0),  # has none
    ],
)
def test_a_folded_network_is_the_same_function(name, stay):
    """In float64, where nothing but rounding in the last digits can differ."""
    torch.manual_seed(0)
    network = trained(timm.create_model(name, num_classes=0)).double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast = folded(network, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64))
    with torch.inference_mode():
        expected, found = network(picture()), fast(picture())
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert norms(fast) == stay
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    assert not any(p.requires_grad for p in fast.parameters())


class Cases(nn.Module):
    """Convolutions and batch norms in every relation."""

    def __init__(self):
        super().__init__()
        self.plain, self.after_plain = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.up, self.after_up = nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.down, self.after_down = nn.Conv2d(6, 4, 2, stride=2), nn.BatchNorm2d(4)
        self.derived, self.after_derived = Halved(4, 4, 1), nn.BatchNorm2d(4)
        self.twice, self.after_twice, self.after_twice_again = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.last, self.shared = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        x = self.after_plain(self.plain(image / 255)).relu()
        down = self.down(self.after_up(self.up(x)))
        x = x + self.after_down(down) + down  # what the convolution feeds is used once more
        x = self.after_derived(self.derived(x))
        x = self.after_twice(self.twice(x)) + self.after_twice_again(self.twice(x + 1))
        return self.shared(self.last(x)), self.shared(self.other(x).relu())


class Halved(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) / 2


def test_only_what_can_be_folded_is():
    torch.manual_seed(0)
    network = trained(Cases()).double()
    fast = folded(network, picture(8))
    stay = {name for name, module in fast.named_children() if isinstance(module, nn.BatchNorm2d)}
    assert stay == {"after_down", "after_derived", "after_twice", "after_twice_again", "shared"}
    with torch.inference_mode():
        for found, expected in zip(fast(picture(8)), network(picture(8)), strict=True):
            torch.testing.assert_close(found, expected)


def test_it_can_be_folded_in_inference_mode_and_while_training():
    network = trained(TimmBackbone("test_resnet")).train()
    with torch.inference_mode():
        fast = folded(network, picture())
        found = fast(picture())
        assert network.training
        torch.testing.assert_close(found, network.eval()(picture()), rtol=1e-4, atol=1e-5)
    assert not fast.training
    assert norms(fast) == 0
