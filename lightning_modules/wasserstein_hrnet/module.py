"""Heatmap regression with any loss, decoding and network (Yan et al. 2021, Pattern Recognition 120, hal-03162012)."""

from typing import Any

import torch
from torch import Tensor

from datamodules.batch import LandmarkBatch
from lightning_modules.backbones.detector import BackboneDetector
from lightning_modules.base import LandmarkPrediction
from lightning_modules.heatmaps import HeatmapLoss, cell_to_pixel, pixel_to_cell
from lightning_modules.wasserstein_hrnet.coordconv import add_coordinates, without_coordinates
from lightning_modules.wasserstein_hrnet.cpn import CascadedPyramid
from lightning_modules.wasserstein_hrnet.decoding import Barycentre, Decoding
from lightning_modules.wasserstein_hrnet.hourglass import StackedHourglassNetwork
from lightning_modules.wasserstein_hrnet.hrnet import HRNetwork
from lightning_modules.wasserstein_hrnet.losses import Wasserstein
from lightning_modules.wasserstein_hrnet.simple_baselines import SimpleBaselinesNetwork


class HeatmapModule(BackboneDetector):
    """What the four networks have in common; a subclass makes the ``network`` and calls `ready`.

    Args:
        num_landmarks: N, e.g. 68 on 300-W.
        loss: of each heatmap; where a network makes several for a landmark, their losses are added.
        decoding: of the last heatmaps.
        coordconv: replace all convolutions by `CoordConv2d`.
        **options: of `BackboneDetector`.
    """

    def __init__(
        self,
        num_landmarks: int,
        loss: HeatmapLoss = Wasserstein(),
        decoding: Decoding = Barycentre(),
        coordconv: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(num_landmarks, **options)
        self.loss, self.decoding, self.coordconv = loss, decoding, coordconv

    def ready(self, network: Any) -> None:
        """Take the network."""
        if self.coordconv:
            add_coordinates(network)
        self.network = network

    def load_imagenet(self) -> None:
        """As `BackboneDetector`; weights of coordinates stay."""
        with without_coordinates(self.network):
            super().load_imagenet()

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of images (B, 3, H, W)."""
        heatmaps = self.detector(image)[-1]
        cells, confidence = self.decoding(heatmaps, self.loss.of_softmax)
        return LandmarkPrediction(cell_to_pixel(cells, self.network.stride), confidence, heatmaps)

    def mass(self, prediction: LandmarkPrediction) -> Tensor | None:
        """The softmax where its barycentre is read; else as `LandmarkModule`, of what the decoding reads."""
        of_barycentre = isinstance(self.decoding, Barycentre)
        if prediction.heatmaps is None or not (of_barycentre or self.loss.of_softmax):
            return super().mass(prediction)
        softmax = prediction.heatmaps.float().flatten(-2).softmax(dim=-1).view(prediction.heatmaps.shape)
        return softmax if of_barycentre else super().mass(prediction._replace(heatmaps=softmax))

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """The mean loss of the annotated landmarks."""
        centres = pixel_to_cell(batch["landmarks"], self.network.stride)
        loss = torch.stack([self.loss.mean(heatmaps, centres) for heatmaps in self.network(batch["image"])]).sum()
        self.log("train/loss", loss, prog_bar=True)
        return loss


class HRNet(HeatmapModule):
    """HRNet-W18 with the face head: the paper's network.

    Args:
        num_landmarks: N, e.g. 68 on 300-W.
        backbone: an HRNet of timm: ``hrnet_w18``, ``hrnet_w18_small_v2``, ``hrnet_w18_small``, ``hrnet_w32``, ...; with
            ``.ms_in1k`` the ImageNet weights are those of HRNet's authors, without it timm's.
        **options: of `HeatmapModule`.

    Raises:
        ValueError: for a backbone that is no HRNet of timm.
    """

    def __init__(self, num_landmarks: int, backbone: str = "hrnet_w18.ms_in1k", **options: Any) -> None:
        super().__init__(num_landmarks, **options)
        self.ready(HRNetwork(backbone, num_landmarks))


class SimpleBaselines(HeatmapModule):
    """A backbone and three transposed convolutions.

    Args:
        num_landmarks: N, e.g. 68 on 300-W.
        backbone: name of a convolutional model of timm.
        **options: of `HeatmapModule`.

    Raises:
        ValueError: for a backbone without feature map.
    """

    def __init__(self, num_landmarks: int, backbone: str = "resnet50", **options: Any) -> None:
        super().__init__(num_landmarks, **options)
        self.ready(SimpleBaselinesNetwork(backbone, num_landmarks))


class CPN(HeatmapModule):
    """Cascaded pyramid network: five heatmaps a landmark, of which the last is read.

    Args:
        num_landmarks: N, e.g. 68 on 300-W.
        backbone: name of a convolutional model of timm with maps of strides 4, 8, 16 and 32.
        **options: of `HeatmapModule`.

    Raises:
        ValueError: for a backbone without such maps.
    """

    def __init__(self, num_landmarks: int, backbone: str = "resnet50", **options: Any) -> None:
        super().__init__(num_landmarks, **options)
        self.ready(CascadedPyramid(backbone, num_landmarks))


class StackedHourglass(HeatmapModule):
    """Hourglasses one after the other, one heatmap a landmark of each, of which the last is read. No ImageNet weights.

    Args:
        num_landmarks: N, e.g. 68 on 300-W.
        stacks: hourglasses.
        width: channels of all features, a multiple of 4.
        pretrained: there are no ImageNet weights of it.
        **options: of `HeatmapModule`.

    Raises:
        ValueError: for no hourglass, another width, or ``pretrained``.
    """

    def __init__(
        self, num_landmarks: int, stacks: int = 4, width: int = 256, pretrained: bool = False, **options: Any
    ) -> None:
        super().__init__(num_landmarks, pretrained=pretrained, **options)
        if pretrained:
            raise ValueError(
                "model.init_args.pretrained is True, but hourglasses have no ImageNet weights; leave it out"
            )
        if stacks < 1:
            raise ValueError(f"model.init_args.stacks is {stacks}, expected at least 1")
        if width < 4 or width % 4:
            raise ValueError(f"model.init_args.width is {width}, expected a multiple of 4")
        self.ready(StackedHourglassNetwork(num_landmarks, stacks, width))
