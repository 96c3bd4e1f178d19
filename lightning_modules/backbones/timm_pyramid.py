"""The feature maps of several strides of any convolutional network of timm, from plain uint8 images."""

from typing import Any

from torch import Tensor, nn

from lightning_modules.backbones.normalization import Normalization
from lightning_modules.backbones.timm_models import create, load_imagenet, no_map

STRIDES = (4, 8, 16, 32)


class TimmPyramid(nn.Module):
    """Images (B, 3, H, W), uint8, to maps (B, ``channels[i]``, H / s, W / s) of strides s = 4, 8, 16, 32.

    Weights are random: see `load_imagenet`.

    Args:
        name: of a model of timm, e.g. ``resnet50``.
        **options: of ``timm.create_model``.

    Raises:
        ValueError: timm has no such model, or it has no map of one of the strides.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__()
        self.name = name
        self.options = {"features_only": True, "out_indices": (1, 2, 3, 4), **options}
        self.body = create(name, **self.options)
        found = tuple(self.body.feature_info.reduction())
        if found != STRIDES:
            raise ValueError(f"{no_map(name)}: its maps have strides {found}, expected {STRIDES}")
        self.channels: list[int] = self.body.feature_info.channels()
        config: dict[str, Any] = self.body.pretrained_cfg
        self.normalize = Normalization(config["mean"], config["std"])

    def load_imagenet(self) -> None:
        """ImageNet weights: see `timm_models.load_imagenet`."""
        load_imagenet(self.body, self.name, **self.options)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        found: list[Tensor] = self.body(self.normalize(image))
        return found
