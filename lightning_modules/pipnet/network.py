"""PIPNet's network: a backbone, layers that change its stride, and one head (Jin et al. 2021, section 3.1 and 3.2)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.timm_backbone import PROBE, TimmBackbone
from lightning_modules.pipnet.targets import decode

RESTRIDE_WIDTH = 512


class Detection(NamedTuple):
    """What the head says in the cell where a landmark's score is highest, points in input pixels."""

    scores: Tensor  # (B, N, h, w) of all cells
    best: Tensor  # (B, N) the highest
    own: Tensor  # (B, N, 2) where the landmark is
    neighbours: Tensor  # (B, N, C, 2) where its neighbours are


class StridedBackbone(nn.Module):
    """Images (B, 3, H, W) to features (B, ``channels``, H / ``stride``, W / ``stride``).

    Args:
        backbone: name of a timm model.
        stride: the backbone's, or as many powers of 2 above or below it as wanted.

    Raises:
        ValueError: the backbone has no feature map, or cannot have the stride.
    """

    def __init__(self, backbone: str, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.backbone = TimmBackbone(backbone)
        self.restride = restride(self.backbone, stride)
        self.channels = RESTRIDE_WIDTH if len(self.restride) else self.backbone.channels
        self.least_side = max(stride, self.backbone.stride)  # of images, whose sides are multiples of it
        self.usual_side = self.least_side * math.ceil(PROBE / self.least_side)  # some backbones take none too small

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images of the wrong size.

        Raises:
            ValueError: the stride does not divide the sides.
        """
        if height % self.least_side or width % self.least_side:
            other = "stride" if self.least_side > self.backbone.stride else "backbone"
            raise ValueError(
                f"images are {width} x {height} pixels, expected sides divisible by {self.least_side}; set "
                f"data.init_args.size to a multiple of it, or choose another model.init_args.{other}"
            )

    def features(self, image: Tensor) -> Tensor:
        """Features of images."""
        self.check_sides(*image.shape[-2:])
        found: Tensor = self.restride(self.backbone(image))
        return found

    def initialize(self) -> None:
        """All but the backbone as in the released code (and in that of Xiao et al.): weights N(0, 0.001), no bias."""
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


class PIPNetwork(StridedBackbone):
    """Images to features, features to scores (B, N, h, w) of cells and to offsets within chosen cells.

    The released network has five 1x1 convolutions, of N (score), N (x), N (y), CN (neighbours' x) and CN (their y)
    channels. Here the first is ``score``, and ``offset`` has the rows of the other four, landmark by landmark: its own
    x and y, then those of its first neighbour, of its second, ... An offset is only ever looked at in one cell for each
    landmark, where its score is highest or, in training, where the landmark is; so it is only computed there, which
    is 1 / (h w) of the work and the same numbers and gradients.

    Args:
        backbone: name of a timm model.
        num_landmarks: N.
        num_neighbours: C; 0 is PIP regression without the neighbour regression module.
        stride: of the score maps: see `StridedBackbone`.
    """

    def __init__(self, backbone: str, num_landmarks: int, num_neighbours: int, stride: int) -> None:
        super().__init__(backbone, stride)
        self.num_landmarks, self.num_neighbours = num_landmarks, num_neighbours
        self.score = nn.Linear(self.channels, num_landmarks)
        self.offset = nn.Linear(self.channels, num_landmarks * (1 + num_neighbours) * 2)
        self.initialize()
        channels_last(self.backbone)
        channels_last(self.restride)

    def forward(self, image: Tensor) -> Detection:
        """Every landmark of images (B, 3, H, W), read in the cell of its highest score."""
        features = self.features(image)
        scores = self.scores(features)
        best, cell = scores.flatten(2).max(dim=-1)
        points = decode(cell, self.offsets(features, cell), self.stride, scores.shape[-1])
        return Detection(scores, best, points[:, :, 0], points[:, :, 1:])

    def scores(self, features: Tensor) -> Tensor:
        """Score (B, N, h, w) of every cell, about 1 where the landmark is and 0 elsewhere; no activation."""
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 rounds offsets to a hundredth of a cell
            cells = features.flatten(2).mT.to(self.score.weight.dtype)  # as they lie in memory, channels last
            found: Tensor = self.score(cells).mT.unflatten(2, features.shape[-2:])
        return found

    def offsets(self, features: Tensor, cell: Tensor) -> Tensor:
        """What the head says in cells (B, N) of where each landmark and, after it, its C neighbours are.

        (B, N, 1 + C, 2), in cells from the cell's top-left corner. Cells are counted along the rows of the map.
        """
        n, (weight, bias) = self.num_landmarks, self.offset.parameters()
        face = torch.arange(len(cell), device=cell.device)
        chosen = features.flatten(2).permute(2, 0, 1)[cell.T, face]  # (N, B, F)
        with torch.autocast(features.device.type, enabled=False):
            # For each landmark a product of its own (2 + 2C, F) with (F, B): its cells are not the others'. The other
            # way around, weights would have to be turned, which takes longer than the product.
            chosen = chosen.to(weight.dtype).mT
            found = torch.baddbmm(bias.view(n, -1, 1), weight.view(n, -1, self.channels), chosen)
        return found.view(n, 1 + self.num_neighbours, 2, -1).permute(3, 0, 1, 2)


def restride(backbone: TimmBackbone, stride: int) -> nn.Sequential:
    """Layers after a backbone that give its map another stride (section 4.2.1); none where it has it already.

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
            layers.append(nn.Conv2d(channels, RESTRIDE_WIDTH, 3, stride=2, padding=1, bias=False))
        else:
            layers.append(nn.ConvTranspose2d(channels, RESTRIDE_WIDTH, 4, stride=2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(RESTRIDE_WIDTH), nn.ReLU(inplace=True)]
        channels, now = RESTRIDE_WIDTH, now * 2 if stride > now else now // 2
    return nn.Sequential(*layers)
