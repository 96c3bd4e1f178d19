"""PIPNet: a cell for each landmark, offsets in it, and what its neighbours say (Jin et al. 2021, arXiv:2003.03771)."""

import math
from typing import Any

import torch
from torch import Tensor

from datamodules.batch import LandmarkBatch
from lightning_modules.backbones.detector import BackboneDetector
from lightning_modules.base import LandmarkPrediction
from lightning_modules.pipnet.losses import OFFSET_WEIGHT, SCORE_WEIGHT, losses
from lightning_modules.pipnet.neighbours import Mean, Merge, nearest
from lightning_modules.pipnet.network import Detection, PIPNetwork


class PIPNet(BackboneDetector):
    """Pixel-in-pixel network, trained with labels.

    The neighbours come from the mean shape of the training faces and travel in the checkpoint.

    Args:
        num_landmarks: N, e.g. 98 on WFLW.
        backbone: name of a convolutional model of timm.
        stride: input pixels a cell of the score maps; ``data.init_args.size`` must be a multiple of it and of the
            backbone's own.
        num_neighbours: C; 0 is PIP regression without the neighbour regression module.
        merge: how what landmarks say of their neighbours is merged.
        offset_weight: of the landmarks' and the neighbours' offsets, beside 10 for the scores; None is the paper's for
            the stride at 256 px.
        **options: of `BackboneDetector`.

    Raises:
        ValueError: for a backbone without feature map, a stride it cannot have, more neighbours than landmarks.
    """

    network: PIPNetwork
    neighbours: Tensor  # (N, C) int64

    def __init__(
        self,
        num_landmarks: int,
        backbone: str = "resnet18",
        stride: int = 32,
        num_neighbours: int = 10,
        merge: Merge = Mean(),
        offset_weight: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(num_landmarks, **options)
        for key, value in {"num_neighbours": num_neighbours, "offset_weight": offset_weight}.items():
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"model.init_args.{key} is {value}, expected a number of at least 0")
        # Neighbours of the right shape, and refused here where there are too few landmarks; replaced by `setup`.
        anywhere = torch.arange(num_landmarks).unsqueeze(1).expand(-1, 2)
        self.register_buffer("neighbours", nearest(anywhere, num_neighbours))
        self.network = PIPNetwork(backbone, num_landmarks, num_neighbours, stride)
        if offset_weight is None and stride not in OFFSET_WEIGHT:
            raise ValueError(
                f"model.init_args.offset_weight has no default for stride {stride} (only for "
                f"{', '.join(map(str, OFFSET_WEIGHT))}); give one"
            )
        self.merge = merge
        self.offset_weight = OFFSET_WEIGHT[stride] if offset_weight is None else offset_weight

    def setup(self, stage: str) -> None:
        """Take the neighbours from the training faces; and as `BackboneDetector`."""
        super().setup(stage)
        if stage == "fit" and bool(self.mean_shape.any()):
            self.neighbours.copy_(nearest(self.mean_shape.cpu(), self.neighbours.shape[1]))

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of images (B, 3, H, W). Confidence is the score of the chosen cell, cut to [0, 1]."""
        found: Detection = self.detector(image)
        landmarks = self.merge(found.own, found.neighbours, self.neighbours)
        return LandmarkPrediction(landmarks, found.best.clamp(0, 1), found.scores)

    def mass(self, prediction: LandmarkPrediction) -> None:
        """None: scores choose a cell of 32 pixels, in which offsets and neighbours place the landmark."""

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Score and offset losses of the annotated landmarks, those outside the crop included."""
        task = torch.full_like(batch["index"], self.network.stride)
        return self.loss(self.network.features(batch["image"]), batch["landmarks"], task, self.network.stride)

    def loss(self, features: Tensor, landmarks: Tensor, task: Tensor, coarsest: int) -> Tensor:
        """The weighted sum of `losses`, and its parts in the log."""
        parts = losses(self.network, features, landmarks, self.neighbours, task, coarsest)
        loss = SCORE_WEIGHT * parts.score + self.offset_weight * (parts.own + parts.neighbours)
        self.log("train/loss", loss, prog_bar=True)
        named = {"train/score": parts.score, "train/offset": parts.own, "train/neighbour": parts.neighbours}
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=True)
        return loss
