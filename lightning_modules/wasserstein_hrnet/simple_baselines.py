"""Simple baselines (Xiao et al. 2018, arXiv:1804.06208): three transposed convolutions after a backbone."""

from torch import Tensor

from lightning_modules.backbones.heatmap_network import HeatmapNetwork


class SimpleBaselinesNetwork(HeatmapNetwork):
    """Images (B, 3, H, W) to heatmaps [(B, N, H / 4, W / 4)].

    Args:
        backbone: name of a timm model.
        num_landmarks: N.
    """

    def __init__(self, backbone: str, num_landmarks: int) -> None:
        super().__init__(backbone, num_landmarks, stride=4, width=256)

    def forward(self, image: Tensor) -> list[Tensor]:  # type: ignore[override]
        """See the class."""
        return [super().forward(image)]
