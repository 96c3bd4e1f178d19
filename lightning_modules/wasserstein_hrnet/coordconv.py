"""CoordConv (Liu et al. 2018, arXiv:1807.03247): convolutions that know where they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn


class CoordConv2d(nn.Module):
    """A convolution of features (B, C, h, w) and, beside them, of their cells' x and y in [-1, 1].

    Instead of joining coordinates to features, two convolutions are added, which is the same and leaves that of the
    features as it is: its weights, its groups, and what a faster library has for it. The coordinates' is computed once
    for a batch.

    Args:
        convolution: of the features, kept whole.
        radius: also of the distance from the middle.
    """

    def __init__(self, convolution: nn.Conv2d, radius: bool = False) -> None:
        super().__init__()
        self.features, self.radius = convolution, radius
        self.coordinates = deepcopy(convolution)  # of its class, which may pad in a way of its own
        self.coordinates.in_channels, self.coordinates.groups = 2 + radius, 1
        size = (convolution.out_channels, 2 + radius, *convolution.kernel_size)
        self.coordinates.weight = nn.Parameter(convolution.weight.new_zeros(size))
        self.coordinates.bias = None

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        height, width = features.shape[-2:]
        x, y = (torch.linspace(-1, 1, size, dtype=features.dtype, device=features.device) for size in (width, height))
        places = [x.expand(height, width), y.unsqueeze(1).expand(height, width)]
        if self.radius:
            places.append(torch.hypot(*places))
        found: Tensor = self.features(features) + self.coordinates(torch.stack(places).unsqueeze(0))
        return found


@contextmanager
def without_coordinates(network: nn.Module) -> Iterator[None]:
    """The same network with plain convolutions again for a while, whose weights have their own names there."""
    converted = {path: module for path, module in network.named_modules() if isinstance(module, CoordConv2d)}
    for path, module in converted.items():
        network.set_submodule(path, module.features)
    try:
        yield
    finally:
        for path, module in converted.items():
            network.set_submodule(path, module)


def add_coordinates(network: nn.Module, radius: bool = False) -> None:
    """Make every convolution of a network a `CoordConv2d`, in place; until it is trained, the same function.

    Weights of coordinates begin at 0, so that ImageNet weights keep their meaning. Transposed convolutions stay.
    """
    for path, module in [*network.named_modules()]:
        if isinstance(module, nn.Conv2d):
            network.set_submodule(path, CoordConv2d(module, radius))
