"""Cascaded pyramid network (Chen et al. 2018, arXiv:1711.07319): heatmaps of four resolutions, then refined ones."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.heatmap_convolution import HeatmapConv2d
from lightning_modules.backbones.sides import check_sides
from lightning_modules.backbones.timm_pyramid import TimmPyramid

WIDTH = 256


class CascadedPyramid(nn.Module):
    """Images (B, 3, H, W) to five heatmaps (B, N, H / 4, W / 4): those of GlobalNet from coarse to fine, and refined.

    Args:
        backbone: name of a timm model.
        num_landmarks: N.
    """

    stride = 4
    least_side = usual_side = 32

    def __init__(self, backbone: str, num_landmarks: int) -> None:
        super().__init__()
        self.backbone = TimmPyramid(backbone)
        coarse_first = self.backbone.channels[::-1]
        self.lateral = nn.ModuleList(_convolution(channels, WIDTH, 1) for channels in coarse_first)
        self.upwards = nn.ModuleList(nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 1, bias=False), _norm()) for _ in range(3))
        self.whole = nn.ModuleList(
            nn.Sequential(_convolution(WIDTH, WIDTH, 1), HeatmapConv2d(WIDTH, num_landmarks, 3, padding=1))
            for _ in coarse_first
        )
        # Three bottlenecks after the coarsest map, none after the finest, as in the paper's Fig. 2
        self.refine = nn.ModuleList(nn.Sequential(*(Bottleneck(WIDTH) for _ in range(count))) for count in (3, 2, 1, 0))
        self.join = Bottleneck(4 * WIDTH, WIDTH)
        self.last = HeatmapConv2d(WIDTH, num_landmarks, 3, padding=1)
        channels_last(self)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images that maps of stride 32 do not fit."""
        check_sides(height, width, self.least_side)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        self.check_sides(*image.shape[-2:])
        maps = self.backbone(image)
        size = maps[0].shape[-2:]
        features: list[Tensor] = []
        for level, (each, lateral) in enumerate(zip(reversed(maps), self.lateral, strict=True)):
            found = lateral(each)
            if features:
                above = interpolate(features[-1], found.shape[-2:], mode="bilinear")
                found = found + self.upwards[level - 1](above)
            features.append(found)
        refined = [_enlarged(blocks(each), size) for blocks, each in zip(self.refine, features, strict=True)]
        whole = [_enlarged(head(each), size) for head, each in zip(self.whole, features, strict=True)]
        return [*whole, self.last(self.join(torch.cat(refined, dim=1)))]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with batch norms, added to their input (B, C, h, w) or a 1x1 convolution of it.

    Args:
        channels: C.
        width: channels that come out; C by default.
    """

    def __init__(self, channels: int, width: int | None = None) -> None:
        super().__init__()
        width = width or channels
        self.body = nn.Sequential(
            _convolution(channels, width // 2, 1),
            _convolution(width // 2, width // 2, 3),
            nn.Conv2d(width // 2, width, 1, bias=False),
            _norm(width),
        )
        straight = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), _norm(width))
        self.shortcut = nn.Identity() if width == channels else straight

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return relu(self.body(features) + self.shortcut(features))


def _convolution(channels: int, width: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, side, padding=side // 2, bias=False)
    return nn.Sequential(convolution, _norm(width), nn.ReLU(inplace=True))


def _norm(width: int = WIDTH) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width)


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[-2:] == size else interpolate(maps, size, mode="bilinear")
