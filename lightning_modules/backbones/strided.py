"""A backbone whose map gets another stride by layers after it."""

import math

from torch import Tensor, nn

from lightning_modules.backbones.sides import check_sides
from lightning_modules.backbones.timm_backbone import PROBE, TimmBackbone


class StridedBackbone(nn.Module):
    """Images (B, 3, H, W) to features (B, ``channels``, H / ``stride``, W / ``stride``).

    Args:
        backbone: name of a timm model.
        stride: the backbone's, or as many powers of 2 above or below it as wanted.
        width: channels of the layers that change it.

    Raises:
        ValueError: the backbone has no feature map, or cannot have the stride.
    """

    def __init__(self, backbone: str, stride: int, width: int = 512) -> None:
        super().__init__()
        self.stride = stride
        self.backbone = TimmBackbone(backbone)
        self.restride = restride(self.backbone, stride, width)
        self.channels = width if len(self.restride) else self.backbone.channels
        self.least_side = max(stride, self.backbone.stride)  # of images, whose sides are multiples of it
        self.usual_side = self.least_side * math.ceil(PROBE / self.least_side)  # some backbones take none too small

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images of the wrong size.

        Raises:
            ValueError: the stride does not divide the sides.
        """
        other = "stride" if self.least_side > self.backbone.stride else "backbone"
        check_sides(height, width, self.least_side, f", or choose another model.init_args.{other}")

    def features(self, image: Tensor) -> Tensor:
        """Features of images."""
        self.check_sides(*image.shape[-2:])
        found: Tensor = self.restride(self.backbone(image))
        return found

    def initialize(self) -> None:
        """All but the backbone as in the codes of PIPNet and of Xiao et al. (2018): weights N(0, 0.001), no bias."""
        inherited = set(self.backbone.modules())
        for module in self.modules():
            if module in inherited:
                continue
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()


def restride(backbone: TimmBackbone, stride: int, width: int) -> nn.Sequential:
    """Layers after a backbone that give its map another stride (PIPNet, section 4.2.1); none where it has it already.

    Raises:
        ValueError: the stride is no power of 2 times or below the backbone's.
    """
    layers: list[nn.Module] = []
    channels, now = backbone.channels, backbone.stride
    while now != stride:
        if stride <= 0 or max(stride, now) % min(stride, now) or not max(stride, now) // min(stride, now) % 2 == 0:
            raise ValueError(
                f"model.init_args.stride is {stride}, expected {backbone.name}'s {backbone.stride}, halved or doubled "
                "any number of times"
            )
        if stride > now:
            layers.append(nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False))
        else:
            layers.append(nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels, now = width, now * 2 if stride > now else now // 2
    return nn.Sequential(*layers)
