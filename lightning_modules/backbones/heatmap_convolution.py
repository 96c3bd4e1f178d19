"""The convolution that heatmaps come out of."""

import torch
from torch import Tensor, nn


class HeatmapConv2d(nn.Conv2d):
    """A convolution in float32, also where others are in less: in bfloat16 the cells about a peak are equal."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        """See the class."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))
