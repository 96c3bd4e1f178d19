"""MapNet: a heatmap for each landmark, the PIPNet paper's baseline of heatmap regression (section 4.3.1).

The network is that of Xiao et al. (2018, arXiv:1804.06208), at strides down to 1.
"""

import math
from typing import Any

from torch import Tensor

from datamodules.batch import LandmarkBatch
from lightning_modules.backbones.detector import BackboneDetector
from lightning_modules.backbones.heatmap_network import HeatmapNetwork
from lightning_modules.base import LandmarkPrediction
from lightning_modules.heatmaps import argmax, cell_to_pixel, pixel_to_cell, render


class MapNet(BackboneDetector):
    """Heatmap regression: transposed convolutions after the backbone, L2 loss, the cell of the highest response.

    Args:
        num_landmarks: N, e.g. 98 on WFLW.
        backbone: name of a convolutional model of timm.
        stride: input pixels a cell of the heatmaps; the paper has 4, 2 and 1.
        sigma: of the Gaussians, in input pixels: the paper's radii of 1, 2 and 4 cells at strides 4, 2 and 1 are all 4
            pixels of 256.
        **options: of `BackboneDetector`.

    Raises:
        ValueError: for a backbone without feature map, or a stride it cannot have.
    """

    network: HeatmapNetwork

    def __init__(
        self,
        num_landmarks: int,
        backbone: str = "resnet18",
        stride: int = 2,
        sigma: float = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(num_landmarks, **options)
        if not sigma > 0:
            raise ValueError(f"model.init_args.sigma is {sigma}, expected more than 0 pixels")
        self.sigma = sigma
        self.network = HeatmapNetwork(backbone, num_landmarks, stride)

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of images (B, 3, H, W). Confidence is the highest response, cut to [0, 1]."""
        heatmaps = self.detector(image)
        landmarks = cell_to_pixel(argmax(heatmaps), self.network.stride)
        return LandmarkPrediction(landmarks, heatmaps.amax(dim=(-2, -1)).clamp(0, 1), heatmaps)

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Squared error against Gaussians; of a landmark outside the crop, what of its Gaussian reaches into it.

        In shares of a whole Gaussian's squares, so that an empty heatmap costs 1. The usual mean over cells is the same
        but for a factor of 1e-3, which would bring the gradients of a trained network near Adam's epsilon.
        """
        heatmaps, stride = self.network(batch["image"]), self.network.stride
        height, width = heatmaps.shape[-2:]
        sigma = self.sigma / stride
        target = render(pixel_to_cell(batch["landmarks"], stride), sigma, width, height)
        loss = (heatmaps - target).square().sum(dim=(-2, -1)).mean() / (math.pi * sigma**2)
        self.log("train/loss", loss, prog_bar=True)
        return loss
