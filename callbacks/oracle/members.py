"""The members of an ensemble, from the folders of their runs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule

from callbacks.arguments import UsageError, read_config, run_suggestion
from callbacks.checkpoints import BEST, LAST, read_checkpoint
from callbacks.option_mistakes import FullNames
from lightning_modules.video.ensemble import Ensemble


def read_ensemble(members: Sequence[str], runs: Path, last: bool) -> tuple[Ensemble, str]:
    """The trained models of these runs as one, and the box that their crops were cut by.

    Raises:
        UsageError, ValueError: one sentence, for a run that is not there or not trained, or for runs that do not fit
            each other.
    """
    read = []
    for member in members:
        folder = Path(member) if Path(member, "config.yaml").is_file() else runs / member
        if not (folder / "config.yaml").is_file():
            raise UsageError(f"--members: there is no run {member}{run_suggestion(folder, '{}')}")
        read.append(read_model(folder, last))
    boxes = [str(stored.get("box", "landmarks-1.2")) for _, stored in read]
    if len(set(boxes)) > 1:
        raise UsageError(f"--members were trained with other boxes ({', '.join(boxes)}), expected one")
    return Ensemble([model for model, _ in read]).eval(), boxes[0]


def read_device(wanted: str | None) -> torch.device:
    """The device of ``--device``; without it a GPU where there is one.

    Raises:
        UsageError: it is none, or there is no such GPU.
    """
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", wanted)
    if not found:
        raise UsageError(f"--device is '{wanted}', expected cpu, cuda or a GPU by its number, such as cuda:1")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted != "cpu" and int(found[1] or 0) >= count:
        raise UsageError(f"--device is '{wanted}', but {count} GPUs can be used here; give another, or cpu")
    return torch.device(wanted)


def read_model(folder: Path, last: bool) -> tuple[Any, dict[str, Any]]:
    """The trained model of a run, and its best or last checkpoint.

    Raises:
        UsageError, ValueError: there is no such checkpoint, or it is of another model.
    """
    file = folder / "checkpoints" / (LAST if last else BEST)
    if not file.is_file():
        raise UsageError(
            f"run {folder.name} has no {file}; train it first, or ask for its {'best' if last else 'last'}"
        )
    stored = read_checkpoint(file)
    model = _model(read_config(folder / "config.yaml")["model"])
    model.on_load_checkpoint(stored)
    model.load_state_dict(stored["state_dict"])
    return model.eval(), stored


def _model(config: dict[str, Any]) -> Any:
    parser: Any = FullNames(exit_on_error=False)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True, required=True)
    if "pretrained" in config.get("init_args", {}):
        config = {**config, "init_args": {**config["init_args"], "pretrained": False}}  # the checkpoint has the weights
    return parser.instantiate(parser.parse_object({"model": config})).model
