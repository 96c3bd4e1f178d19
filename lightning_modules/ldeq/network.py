"""LDEQ's network (Micaelli et al. 2023, arXiv:2304.00600, Eq. 2-3), layer for layer as in its inference code.

The stem turns an image into the injection x once; the cell f(z, x) is what is iterated to its fixed point. Every
convolution is followed by its activation and *then* its normalisation, as in the released code.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.backbones.normalization import IMAGENET, Normalization

STRIDE = 4  # input pixels per heatmap cell


class ConvUnit(nn.Sequential):
    """Convolution (bias, 'same' padding) -> LeakyReLU(0.01) -> normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: nn.Module, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        super().__init__(convolution, nn.LeakyReLU(0.01), norm)


class Stem(nn.Module):
    """uint8 image (B, 3, H, W) to injection (B, C, H/4, W/4); batch-normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalize = Normalization(*IMAGENET)
        self.enter = ConvUnit(3, width // 4, 7, nn.BatchNorm2d(width // 4), stride=2)
        self.widen = ConvUnit(width // 4, width // 2, 3, nn.BatchNorm2d(width // 2))
        self.out = ConvUnit(width // 2, width, 3, nn.BatchNorm2d(width))

    def forward(self, image: Tensor) -> Tensor:
        """The injection x."""
        x = self.widen(self.enter(self.normalize(image)))
        return self.out(F.max_pool2d(x, 2))


class Hourglass(nn.Module):
    """``depth`` levels of widths w, w + i, w + 2i, ...; the input's sides must be divisible by 2 ** depth."""

    def __init__(self, width: int, step: int, depth: int, groups: int) -> None:
        super().__init__()
        widths = [width + step * level for level in range(depth + 1)]

        def unit(inputs: int, outputs: int, kernel: int) -> ConvUnit:
            return ConvUnit(inputs, outputs, kernel, nn.GroupNorm(groups, outputs))

        pairs = list(pairwise(widths))  # (finer, coarser)
        self.same = nn.ModuleList(unit(fine, fine, 3) for fine, _ in pairs)
        self.widen = nn.ModuleList(unit(fine, coarse, 3) for fine, coarse in pairs)
        self.bottleneck = unit(widths[-1], widths[-1], 3)
        self.narrow = nn.ModuleList(unit(coarse, fine, 3) for fine, coarse in pairs)
        self.fuse = nn.ModuleList(unit(2 * fine, fine, 1) for fine, _ in pairs)
        self.refine = nn.ModuleList(unit(fine, fine, 5) for fine, _ in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the input's size."""
        skips = []
        for same, widen in zip(self.same, self.widen, strict=True):
            skips.append(same(x))
            x = widen(F.avg_pool2d(skips[-1], 2))
        x = self.bottleneck(x)
        for level in reversed(range(len(skips))):
            upsampled = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.fuse[level](torch.cat([upsampled, skips[level]], dim=1))
            x = x + self.refine[level](x)
        return x


class Cell(nn.Module):
    """f(z, x): heatmaps (B, K, h, w) refined given the injection (B, C, h, w); the output lies in (0, 1] (Eq. 2-3)."""

    def __init__(
        self, maps: int, injection_width: int, width: int, step: int, depth: int, groups: int, temperature: float
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.merge = ConvUnit(maps + injection_width, width, 1, nn.GroupNorm(groups, width))
        self.hourglass = Hourglass(width, step, depth, groups)
        self.head = nn.Conv2d(width, maps, 1)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """One refinement of z (B, K, h, w)."""
        return normalize(self.head(self.hourglass(self.merge(torch.cat([z, x], dim=1)))), self.temperature)


def normalize(heatmaps: Tensor, temperature: float) -> Tensor:
    """exp((h - max h) / T) for each map (..., h, w), Eq. 3; at least float32, whatever autocast says.

    The released code multiplies by a beta = 1 / T; which value the released weights were trained with is not public.
    """
    heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    return ((heatmaps - heatmaps.amax(dim=(-2, -1), keepdim=True)) / temperature).exp()


def initialize(network: nn.Module) -> None:
    """Xavier-normal convolutions without bias, unit norms: the released code's initialisation."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
