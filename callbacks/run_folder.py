"""The folder of a run: whether it may be started, where it goes on, and its config."""

import fcntl
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import yaml
from lightning import Callback, LightningModule
from lightning.fabric.utilities.rank_zero import rank_zero_only

from callbacks.arguments import COMMAND, Arguments, UsageError, config_names, has_begun
from callbacks.checkpoints import BEST, LAST, PREVIOUS, epochs_done, read_checkpoint
from callbacks.metrics_csv import MetricsCSV

Settings = Mapping[str, Any]


def counted(number: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@rank_zero_only
def note(text: str) -> None:
    """Tell the user something that is no error, once however many processes there are."""
    print(f"note: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class RunFolder:
    """``runs/<name>``: config.yaml, checkpoints/, metrics.csv, test/, predictions/, wandb/."""

    path: Path
    _lock: list[TextIO] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Of the run."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The settings of the run as resolved; it serves as ``--config`` again."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """Everything logged, one row a step that logs."""
        return self.path / "metrics.csv"

    def checkpoint(self, file: str) -> Path:
        """A checkpoint of the run, by file name."""
        return self.path / "checkpoints" / file

    def last(self) -> Path:
        """The checkpoint that training goes on from: the last one, or the one before it where that was deleted."""
        last, previous = self.checkpoint(LAST), self.checkpoint(PREVIOUS)
        return previous if previous.is_file() and not last.is_file() else last

    def lock(self) -> None:
        """Keep other processes from training this run until it is unlocked, or this process ends, however that comes.

        Raises:
            UsageError: another process has the run.
        """
        if self._lock:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        file = (self.path / ".lock").open("w")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # loaders' workers, which outlive us, do not share it
        except BlockingIOError:
            raise self.taken() from None
        self._lock.append(file)

    def unlock(self) -> None:
        """Let others train this run."""
        while self._lock:
            self._lock.pop().close()

    def taken(self) -> UsageError:
        """What to say of a run that another process has."""
        return UsageError(f"another process is training run {self.name}; wait for its end or choose another --name")

    def start(self, resume: bool) -> Path | None:
        """The checkpoint that training goes on from, None for the beginning.

        Raises:
            UsageError: the run exists and is not to be resumed.
        """
        last = self.last()
        exists = has_begun(self.path)
        first = getattr(rank_zero_only, "rank", 0) == 0  # the other ranks may see what it has just made
        if exists and not resume and first:
            done = f"{epochs_done(read_checkpoint(last))} epochs done" if last.exists() else "no epoch done yet"
            raise UsageError(
                f"run {self.name} exists ({done}, {self.path}); add --resume to continue it, or choose another --name"
            )
        if resume and not exists:
            note(f"there is no run {self.name} in {self.path.parent} yet; starting it")
        elif resume and not last.exists():
            note(f"run {self.name} has no checkpoint yet; starting it from the beginning")
        return last if resume and last.exists() else None

    def weights(self, wanted: str | None) -> Path:
        """The checkpoint that ``--ckpt_path`` names: a file, or ``best`` (the default) or ``last`` of this run.

        Raises:
            UsageError: it does not exist.
        """
        if wanted not in (None, "best", "last"):
            path = Path(str(wanted))
            if not path.is_file():
                raise UsageError(f"--ckpt_path {path}: no such file; give a file, best or last")
            return path
        path = self.checkpoint(LAST if wanted == "last" else BEST)
        if path.name == BEST and not path.is_file() and self.checkpoint(LAST).is_file():
            raise UsageError(
                f"run {self.name} has no {path}, because no validation was done; add --ckpt_path last to use its last "
                "epoch"
            )
        if not path.is_file():
            raise UsageError(
                f"run {self.name} has no checkpoint {path}; train it first with: {self.training_command()}, or give "
                "another --name or --ckpt_path"
            )
        return path

    def training_command(self) -> str:
        """The command that trains the run from where it stands."""
        config = f"{self.name}.yaml"
        if self.config.is_file():
            words = ["--name", self.name, "--resume"]
        elif Path(config).is_file() or config in config_names():
            words = ["--config", config]
        else:
            words = ["--config", "CONFIG", "--name", self.name]
        runs = [] if self.path.parent == Path("runs") else ["--runs", str(self.path.parent)]
        return shlex.join([*COMMAND, "fit", *words, *runs])

    def settings(self) -> dict[str, Any]:
        """The content of the run's config."""
        return dict(yaml.safe_load(self.config.read_text()))


def changes(old: Settings, new: Settings) -> list[str]:
    """``key: old -> new`` for every setting that differs, in the order of ``new``; keys are dotted."""
    before, after = dict(flat(old)), dict(flat(new))
    keys = [*after, *(key for key in before if key not in after)]
    return [
        f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def name_changes(last: Path, old: Settings, new: Settings) -> None:
    """Tell every setting of the run that this start changes.

    Raises:
        UsageError: there are such, but all epochs are done: the config would be of what trained nothing.
    """
    changed, planned = changes(old, new), new["trainer"].get("max_epochs") or -1
    if changed and 0 < planned <= (done := epochs_done(read_checkpoint(last))):
        raise UsageError(
            f"{last} has done {done} of {planned} epochs, so {changed[0]} would train nothing; give "
            f"--trainer.max_epochs {done + 1} or more too, or another --name"
        )
    for change in changed:
        note(f"changed since this run's last start: {change}")


def name_training_changes(checkpoint: Path, settings: Settings) -> None:
    """Tell every setting of the model that differs from those a checkpoint was trained with.

    Raises:
        UsageError: the checkpoint holds a model of another class.
    """
    stored, model = read_checkpoint(checkpoint).get("hyper_parameters", {}), settings["model"]
    if stored.get("_class_path", model["class_path"]) != model["class_path"]:
        raise UsageError(
            f"{checkpoint} holds a {stored['_class_path']} but model.class_path is {model['class_path']}; "
            "use the config it was trained with or another --ckpt_path"
        )
    for change in changes(model_options(stored), model.get("init_args", {})) if stored else []:
        note(f"differs from {checkpoint}: model.init_args.{change}")


def model_options(stored: Settings) -> dict[str, Any]:
    """The options among the hyperparameters in a checkpoint."""
    return {key: value for key, value in stored.items() if key not in ("_class_path", "_instantiator")}


def flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested settings by their dotted keys."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class RunRecord(Callback):
    """Writes the run's config and cuts its metrics back to the checkpoint, once nothing can be refused any more.

    Args:
        run: the run's folder.
        arguments: the command line, for the first line of config.yaml.
        settings: the config as resolved.
        metrics: the run's metrics file.
    """

    def __init__(self, run: RunFolder, arguments: Arguments, settings: Settings, metrics: MetricsCSV) -> None:
        self.run, self.metrics, self.resumed = run, metrics, arguments.resume
        self.config = f"# {arguments.command()}\n{yaml.safe_dump(dict(settings), sort_keys=False)}"
        self.began = False  # whether it is this process that made the run

    def on_fit_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Lock the run and write config.yaml. A mistake in data or model has shown by now and leaves nothing behind.

        Raises:
            UsageError: another process has the run.
        """
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        self.run.lock()
        try:
            self.run.config.touch(exist_ok=self.resumed)  # whoever makes it first owns the run
        except FileExistsError:
            raise self.run.taken() from None
        self.began = not self.run.config.stat().st_size
        partial = self.run.config.with_suffix(".partial")
        partial.write_text(self.config)
        partial.replace(self.run.config)

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Forget the metrics of steps after the checkpoint: they will be made again."""
        loop = trainer.fit_loop.epoch_loop  # whose count metrics have as their step; Lightning corrects it later
        if not trainer.fast_dev_run:
            self.metrics.keep_before(loop._batches_that_stepped + loop.restarted_on_train_batch_end)

    def on_fit_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Unlock, and tell of a run that leaves no best checkpoint."""
        self.run.unlock()
        if trainer.fast_dev_run or self.run.checkpoint(BEST).is_file():
            return
        last = self.run.checkpoint(LAST).is_file()
        way = "test and predict need --ckpt_path last" if last else "there is no last.ckpt either: no epoch was done"
        note(f"no validation was done, so run {self.run.name} has no {BEST}; {way}")

    def on_exception(self, trainer: Any, pl_module: LightningModule, exception: BaseException) -> None:
        """Unlock; a mistake that shows before the first step leaves no run behind, and its name free."""
        if self.began and trainer.global_step == 0 and isinstance(exception, Exception):
            for file in (self.run.config, self.run.metrics):
                file.unlink(missing_ok=True)
        self.run.unlock()
