"""Heatmaps by transposed convolutions after a backbone (Xiao et al. 2018, arXiv:1804.06208), at strides down to 1."""

from torch import Tensor

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.heatmap_convolution import HeatmapConv2d
from lightning_modules.backbones.strided import StridedBackbone


class HeatmapNetwork(StridedBackbone):
    """Images (B, 3, H, W) to heatmaps (B, N, H / stride, W / stride).

    Args:
        backbone: name of a timm model.
        num_landmarks: N.
        stride: of the heatmaps: see `StridedBackbone`.
        width: channels of the transposed convolutions.
    """

    def __init__(self, backbone: str, num_landmarks: int, stride: int, width: int = 512) -> None:
        super().__init__(backbone, stride, width)
        self.head = HeatmapConv2d(self.channels, num_landmarks, 1)
        self.initialize()
        channels_last(self)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.head(self.features(image))
        return found
