"""What a test or a prediction does otherwise than the training of its weights: told, and part of a result's name."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any

from lightning import Callback

from callbacks.arguments import read_config
from callbacks.checkpoints import read_checkpoint
from callbacks.run_folder import Settings, flat, model_options, note

Changed = Mapping[str, Mapping[str, Any]]  # ``model.solver.memory``: its values when "trained" (or "default"), "tested"

# Options that change no number of given weights, and those that title, box or name of a result have already.
OF_TRAINING = "augmentation batch_size cache early_epochs early_gradient every from_scratch gradient loss lr num_train "
OF_TRAINING += "num_workers offset_weight pretrained ratio schedule seed sigma strength tasks train "
OF_TRAINING += "trajectories unlabelled validation_fraction warmup weight_decay"
NAMED = "box convert_to domain normalizer perturbation size"
UNCHANGING = frozenset(f"{OF_TRAINING} {NAMED}".split())  # any other option changes a result, or may


class OtherCrops(Callback):
    """Tells where crops have another size or box than those that the weights were trained on."""

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Compare the data with what the checkpoint says; one from elsewhere says nothing."""
        data, file = trainer.datamodule, trainer.ckpt_path
        size, box = checkpoint.get("input_size", data.size), checkpoint.get("box", data.box)
        if size != data.size:
            note(f"{file} was trained at {size} pixels, data.init_args.size is {data.size}")
        if box != data.box:
            note(f"{file} was trained with box {box}, data.init_args.box is {data.box}")


def result_changes(checkpoint: Path, settings: Settings) -> Changed:
    """The options that change a result and differ from those of the training, in the order of the config.

    The model's are compared with those in the checkpoint, the data's with the config of the run that it lies in. Data
    of another class, which its title tells, is compared with the defaults of the class.
    """
    stored, model = read_checkpoint(checkpoint).get("hyper_parameters", {}), settings["model"]
    found: dict[str, dict[str, Any]] = {}
    if stored:
        before = {**_defaults(model["class_path"]), **model_options(stored)}
        found |= _differing("model", "trained", before, model.get("init_args", {}))
    data, trained = _annotated(settings["data"]), _annotated(_trained_data(checkpoint))
    now, defaults = data.get("init_args", {}), _defaults(data["class_path"])
    if trained.get("class_path") == data["class_path"]:
        return found | _differing("data", "trained", {**defaults, **trained.get("init_args", {})}, now)
    return found | _differing("data", "default", {**now, **defaults}, now)  # an option without default is no change


def _differing(part: str, usual: str, before: Settings, now: Settings) -> dict[str, dict[str, Any]]:
    values, found = dict(flat(before)), {}
    for key, value in flat(now):
        old = values.get(key, "unset")
        if key.split(".")[0] not in UNCHANGING and not _same(key, old, value):
            short = f"{part}.{key}".replace(".init_args", "").removesuffix(".class_path")
            found[short] = {usual: old, "tested": value}
    return found


def _same(key: str, trained: Any, tested: Any) -> bool:
    if key == "root":
        return Path(str(trained)).name == Path(str(tested)).name  # the same folder, on another disk
    return bool(trained == tested)


def _trained_data(checkpoint: Path) -> Settings:
    folder = checkpoint.resolve().parent
    config = folder.parent / "config.yaml"
    of_run = folder.name == "checkpoints" and config.is_file()
    data = read_config(config).get("data") if of_run else None
    return data if isinstance(data, Mapping) else {}


def _annotated(data: Settings) -> Settings:
    """The settings of the faces that are tested on: of a `Mixture`, its annotated ones."""
    labelled = data.get("init_args", {}).get("labelled")
    return labelled if isinstance(labelled, Mapping) else data


def _defaults(class_path: str) -> dict[str, Any]:
    """The plain default values of a class's options, its bases' included."""
    module, _, name = class_path.rpartition(".")
    bases = reversed(getattr(import_module(module), name).__mro__)
    options = chain.from_iterable(signature(base.__init__).parameters.values() for base in bases)
    return {o.name: o.default for o in options if isinstance(o.default, bool | int | float | str | None)}
