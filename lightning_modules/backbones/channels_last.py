"""The layout of weights in which convolutions of images are fastest."""

import torch
from torch import nn


def channels_last(network: nn.Module) -> nn.Module:
    """Lay out the weights of a network's 2-D convolutions so, and give it back.

    ``network.to(memory_format=torch.channels_last)`` fails where it has 3-D ones, as networks of lambda layers do.
    """
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)
    return network
