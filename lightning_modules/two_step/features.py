"""Features of another run for step 2."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_modules.base import first_difference

PREFIX = "feature_network."


def load_features(network: nn.Module, path: str) -> str:
    """Give a feature network the weights in a checkpoint of `Discovery`; a sentence that says which these are.

    Raises:
        FileNotFoundError, ValueError: one sentence naming the file, which is not there, is no checkpoint, has no
            features, or those of another network.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"model.init_args.features is {path}, which is not there; set it to a checkpoint of Discovery, such as "
            "runs/NAME/checkpoints/last.ckpt"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        state = checkpoint["state_dict"]
    except Exception as error:
        raise ValueError(f"{path}: not a readable checkpoint; set model.init_args.features to another") from error
    found = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    if not found:
        raise ValueError(f"{path}: not a checkpoint of Discovery; set model.init_args.features to one")
    if difference := first_difference(network.state_dict(), found):
        raise ValueError(
            f"{path} has other features: {difference}; give the channels and widths under model.init_args that it was "
            "trained with"
        )
    network.load_state_dict(found)
    moment = (checkpoint.get(key, "unknown") for key in ("epoch", "global_step"))
    return "features of {}, after epoch {} (step {})".format(path, *moment)
