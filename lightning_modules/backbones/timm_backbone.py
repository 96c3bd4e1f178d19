"""The last feature map of any convolutional network of timm, from plain uint8 images."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.backbones.normalization import Normalization
from lightning_modules.backbones.timm_models import create, load_imagenet, no_map

PROBE = 128  # side of the image that tells a network's channels and stride
SECOND_PROBE = 192  # and of one that tells whether the stride is the same for all


class TimmBackbone(nn.Module):
    """Images (B, 3, H, W), uint8, to the last feature map (B, ``channels``, H / ``stride``, W / ``stride``).

    Layers that only a classifier would use are left out. Weights are random: see `load_imagenet`.

    Args:
        name: of a model of timm that keeps a map, e.g. ``resnet18``, ``mobilenetv3_large_100``,
            ``tf_efficientnet_lite0``.

    Raises:
        ValueError: timm has no such model, or it has no feature map.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.body = create(name, num_classes=0)
        config: dict[str, Any] = self.body.pretrained_cfg
        self.normalize = Normalization(config["mean"], config["std"])
        self.channels, self.stride = self._probe()

    def _probe(self) -> tuple[int, int]:
        """Channels and stride; drops what the map does not depend on, which DDP would wait for."""
        training = self.training
        self.eval()
        with torch.enable_grad():
            features = self._probed(PROBE)
        with torch.no_grad():
            cells = (features.shape[2], self._probed(SECOND_PROBE).shape[2])
        stride = PROBE // cells[0]
        if (stride * cells[0], stride * cells[1]) != (PROBE, SECOND_PROBE):
            raise ValueError(
                f"{no_map(self.name)}: images {PROBE} and {SECOND_PROBE} pixels wide give maps of {cells[0]} and "
                f"{cells[1]} cells, which is no common stride"
            )
        torch.autograd.backward(features.sum())
        for path, module in [*self.body.named_modules()]:
            own = list(module.parameters(recurse=False))
            if own and all(p.grad is None for p in own):
                self.body.set_submodule(path, nn.Identity())
        self.zero_grad(set_to_none=True)
        self.train(training)
        return features.shape[1], stride

    def _probed(self, side: int) -> Tensor:
        """The map (1, C, h, h) of a blank image."""
        try:
            features: Tensor = self(torch.zeros(1, 3, side, side, dtype=torch.uint8))
        except (AssertionError, RuntimeError, AttributeError) as error:
            told = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"{no_map(self.name)}: no map comes of {side} x {side} pixels ({told})") from error
        if features.ndim != 4 or features.shape[2] != features.shape[3]:
            raise ValueError(f"{no_map(self.name)}: it makes features of shape {tuple(features.shape)}")
        return features

    def load_imagenet(self) -> None:
        """ImageNet weights: see `load_imagenet`."""
        load_imagenet(self.body, self.name, num_classes=0)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.body.forward_features(self.normalize(image))
        if features.ndim == 4 and features.shape[1] != self.body.num_features == features.shape[3]:
            features = features.permute(0, 3, 1, 2)  # some networks keep channels last
        return features
