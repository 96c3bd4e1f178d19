"""PIPNet's network: a backbone, layers that change its stride, and one head (Jin et al. 2021, section 3.1 and 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.strided import StridedBackbone
from lightning_modules.pipnet.targets import decode


class Detection(NamedTuple):
    """What the head says in the cell where a landmark's score is highest, points in input pixels."""

    scores: Tensor  # (B, N, h, w) of all cells
    best: Tensor  # (B, N) the highest
    own: Tensor  # (B, N, 2) where the landmark is
    neighbours: Tensor  # (B, N, C, 2) where its neighbours are


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

    def anew(self) -> "PIPNetwork":
        """Another of the same kind, with new random weights."""
        return PIPNetwork(self.backbone.name, self.num_landmarks, self.num_neighbours, self.stride)

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
