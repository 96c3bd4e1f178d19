"""CoordNet: all coordinates from one vector, the PIPNet paper's baseline of coordinate regression (section 4.3.1)."""

from typing import Any

import torch
from torch import Tensor, nn

from datamodules.batch import LandmarkBatch
from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.detector import BackboneDetector
from lightning_modules.backbones.timm_backbone import TimmBackbone
from lightning_modules.base import LandmarkPrediction
from lightning_modules.heatmaps import precise

WIDTH = 512


class CoordinateNetwork(nn.Module):
    """Images (B, 3, S, S) to landmarks (B, N, 2) in shares of the side, which may lie outside the image.

    Args:
        backbone: name of a timm model.
        num_landmarks: N.
        size: S, which the first linear layer is made for.

    Raises:
        ValueError: the backbone has no feature map, or its stride does not divide the size.
    """

    def __init__(self, backbone: str, num_landmarks: int, size: int) -> None:
        super().__init__()
        self.size = self.usual_side = size
        self.backbone = TimmBackbone(backbone)
        if size < 1 or size % self.backbone.stride:
            raise ValueError(
                f"model.init_args.size is {size}, expected a multiple of {backbone}'s stride {self.backbone.stride}"
            )
        cells = (size // self.backbone.stride) ** 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.backbone.channels * cells, WIDTH),
            nn.ReLU(inplace=True),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(inplace=True),
            nn.Linear(WIDTH, 2 * num_landmarks),
            nn.Unflatten(1, (num_landmarks, 2)),
        )
        channels_last(self)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images of the wrong size.

        Raises:
            ValueError: a side is not ``size``.
        """
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"images are {width} x {height} pixels, but model.init_args.size is {self.size} and CoordNet's linear "
                "layers take no other; set it and data.init_args.size to the same number"
            )

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        self.check_sides(*image.shape[-2:])
        features = self.backbone(image)
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 would round to half a pixel of 256
            found: Tensor = self.head(precise(features))
        return found


class CoordNet(BackboneDetector):
    """Coordinate regression: the backbone's last map, three linear layers, L1 loss.

    Args:
        num_landmarks: N, e.g. 98 on WFLW.
        backbone: name of a convolutional model of timm.
        size: side of the images in pixels, which must be ``data.init_args.size``.
        **options: of `BackboneDetector`.

    Raises:
        ValueError: for a backbone without feature map, or a size that its stride does not divide.
    """

    network: CoordinateNetwork

    def __init__(self, num_landmarks: int, backbone: str = "resnet18", size: int = 256, **options: Any) -> None:
        super().__init__(num_landmarks, **options)
        self.network = CoordinateNetwork(backbone, num_landmarks, size)

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of images (B, 3, S, S). Confidence is 1: coordinate regression has none."""
        landmarks = self.detector(image) * self.network.size - 0.5
        return LandmarkPrediction(landmarks, torch.ones_like(landmarks[..., 0]))

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Mean absolute error in shares of the side; landmarks outside the crop count as any."""
        target = (batch["landmarks"] + 0.5) / self.network.size
        loss = (self.network(batch["image"]) - target).abs().mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss
