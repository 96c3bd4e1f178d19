"""The datamodule of a config, made as ``fit`` would make it, without model or trainer."""

import json
from pathlib import Path
from typing import Any

from lightning import LightningDataModule

from callbacks.arguments import OWN_FILES, Arguments, UsageError, option_key
from callbacks.option_mistakes import FullNames, parse
from callbacks.result_names import slug
from callbacks.run_folder import note

OF_FIT = ("--model", "--trainer", "--seed_everything", "--resume", "--wandb", "--ckpt_path")


def read_data(arguments: Arguments) -> tuple[Any, Path]:
    """The datamodule, and the folder for what `inspect` finds.

    Raises:
        UsageError: no config says which data; an option is wrong; the data has no faces.
    """
    parser: Any = FullNames(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True, required=True)
    for option in ("--name", "--runs", "--out"):
        parser.add_argument(option, type=str | None)
    options = parse(parser, _words(arguments), arguments, parser)
    data = parser.instantiate(options).data
    if not (hasattr(data, "fit_faces") and hasattr(data, "dataset")):
        raise UsageError(f"data.class_path is {type(data).__name__}, which has no faces to inspect")
    return data, Path(options.out or arguments.runs / "inspect" / slug(data.title))


def _words(arguments: Arguments) -> list[str]:
    """The data of each config, and the options but those of model and trainer, which a line copied from fit has."""
    words = []
    for path, content in zip(arguments.configs, arguments.contents, strict=True):
        if data := content.get("data"):
            data = str(path.parent / data) if isinstance(data, str) else data  # as the parser of fit resolves it
            words.append(f"--config={json.dumps({'data': data})}")
    if arguments.own_files:
        words.append(f"--config={json.dumps({'data': {'class_path': OWN_FILES}})}")
    for option in arguments.given:
        if option_key(option).split(".")[0] in OF_FIT:
            note(f"{arguments.subcommand} looks at data alone, {option[0]} is left aside")
        else:
            words += option
    return words
