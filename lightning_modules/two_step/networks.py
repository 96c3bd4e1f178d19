"""The networks (Rahaman et al. 2021, section 4.1): features F of every pixel, and heatmaps T of these.

The paper gives neither widths nor norms nor the depth of T; here they are options. Norms are group norms: an image's
features do not depend on its batch, and frozen ones are those that were trained. Letters: B images, D channels of
features, K landmarks, H x W pixels.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from lightning_modules.backbones.heatmap_convolution import HeatmapConv2d
from lightning_modules.backbones.normalization import IMAGENET, Normalization
from lightning_modules.heatmaps import precise

GROUPS = 8  # of a group norm


class FeatureNetwork(nn.Module):
    """F: images (B, 3, H, W) of any sides to features (B, D, H, W).

    Each block is two 3x3 convolutions; between blocks the encoder halves the resolution and the decoder doubles it,
    where features of the encoder at the same resolution are joined.

    Args:
        channels: D.
        widths: channels of the blocks from fine to coarse; a halving between each and the next. The paper's four
            halvings are five widths.

    Raises:
        ValueError: a width that is no multiple of 8, or only one.
    """

    def __init__(self, channels: int = 64, widths: Sequence[int] = (32, 64, 128, 128, 128)) -> None:
        super().__init__()
        if len(widths) < 2 or any(width < GROUPS or width % GROUPS for width in widths):
            raise ValueError(
                f"model.init_args.widths is {list(widths)}, expected at least two multiples of {GROUPS}, from fine to "
                "coarse"
            )
        self.channels, self.least_side = channels, 2 ** (len(widths) - 1)
        self.normalize = Normalization(*IMAGENET)
        self.down = nn.ModuleList(block(inputs, outputs) for inputs, outputs in pairwise((3, *widths)))
        self.up = nn.ModuleList(block(fine + coarse, fine) for fine, coarse in pairwise(widths))
        self.last = HeatmapConv2d(widths[0], channels, 1)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images of which the halvings leave nothing; sides that are odd somewhere lose their last line there.

        Raises:
            ValueError: names the least side.
        """
        if min(height, width) < self.least_side:
            raise ValueError(
                f"images are {width} x {height} pixels, expected at least {self.least_side} for "
                f"{len(self.up)} halvings; set data.init_args.size, or fewer model.init_args.widths"
            )

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        self.check_sides(*image.shape[-2:])
        features = self.down[0](self.normalize(image))
        kept = []
        for each in self.down[1:]:
            kept.append(features)
            features = each(max_pool2d(features, 2))
        for each, finer in zip(reversed(self.up), reversed(kept), strict=True):
            above = interpolate(features, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            features = each(torch.cat([finer, above], dim=1))
        found: Tensor = self.last(features)
        return found


class HeatmapHead(nn.Module):
    """T: features (B, D, H, W) to heatmaps (B, K, H, W), by residual blocks at full resolution.

    Args:
        channels: D.
        num_landmarks: K.
        width: channels of the blocks, a multiple of 8.
        blocks: how many; the paper's Layers 2 to 4 are three.

    Raises:
        ValueError: for no block, or another width.
    """

    def __init__(self, channels: int, num_landmarks: int, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"model.init_args.blocks is {blocks}, expected at least 1")
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"model.init_args.width is {width}, expected a multiple of {GROUPS}")
        self.enter = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.last = HeatmapConv2d(width, num_landmarks, 1)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.last(self.layers(features)[-1])
        return found

    def layers(self, features: Tensor) -> list[Tensor]:
        """What each block makes: Layers 2, 3, ... of the paper, whose Layer 1 are the features."""
        inner = self.enter(features)
        found = []
        for each in self.blocks:
            inner = each(inner)
            found.append(inner)
        return found


class Residual(nn.Module):
    """Two 3x3 convolutions with group norms, added to their input.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*unit(width, width), *unit(width, width)[:-1])

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return relu(features + self.body(features))


class GroupNorm(nn.GroupNorm):
    """Group norm in float32 under autocast too: on CPUs its backward pass is four times as fast as in bfloat16."""

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        with torch.autocast(features.device.type, enabled=False):
            normed: Tensor = super().forward(precise(features))
        return normed.to(features.dtype)


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two units."""
    return nn.Sequential(*unit(inputs, outputs), *unit(outputs, outputs))


def unit(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A 3x3 convolution, group norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return convolution, GroupNorm(GROUPS, outputs), nn.ReLU(inplace=True)
