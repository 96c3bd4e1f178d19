"""HRNet for faces: maps of four resolutions side by side, joined into heatmaps (Wang et al. 2020, arXiv:1908.07919)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.heatmap_convolution import HeatmapConv2d
from lightning_modules.backbones.sides import check_sides
from lightning_modules.backbones.timm_pyramid import TimmPyramid


class HRNetwork(nn.Module):
    """Images (B, 3, H, W) to heatmaps [(B, N, H / 4, W / 4)].

    The body is timm's, made the released face network's, which enlarges maps bilinearly where timm takes the nearest
    cell. So is the head: maps enlarged to the finest and joined, a 1x1 convolution as wide as they are together, batch
    norm, ReLU, a 1x1 convolution to the heatmaps.

    Args:
        backbone: an HRNet of timm.
        num_landmarks: N.
    """

    stride = 4
    least_side = usual_side = 32

    def __init__(self, backbone: str, num_landmarks: int) -> None:
        super().__init__()
        if not backbone.startswith("hrnet_"):
            raise ValueError(f"model.init_args.backbone is '{backbone}', expected an HRNet of timm such as hrnet_w18")
        self.backbone = TimmPyramid(backbone, feature_location="")
        width = sum(self.backbone.channels)
        self.join = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.last = HeatmapConv2d(width, num_landmarks, 1)
        for name, values in [*self.join.named_parameters(), *self.last.named_parameters()]:
            nn.init.normal_(values, std=0.001 if name == "weight" else 0.0)
        for module in self.modules():
            if isinstance(module, nn.Upsample):
                module.mode = "bilinear"
            elif isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01  # the released code's
        channels_last(self)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images that maps of stride 32 do not fit."""
        check_sides(height, width, self.least_side)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        self.check_sides(*image.shape[-2:])
        finest, *others = self.backbone(image)
        whole = [finest, *(interpolate(each, finest.shape[-2:], mode="bilinear") for each in others)]
        return [self.last(relu(self.norm(self.join(torch.cat(whole, dim=1)))))]
