"""A run's folder as the report sees it: what was logged, what was measured, and what is missing and how to get it."""

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from callbacks.arguments import COMMAND, UsageError
from callbacks.report.files import Points, Row, mapping, read_json, read_metrics, read_rows, read_text
from callbacks.report.further import FurtherFiles, check_further, read_further

TABLE = ("subset", "faces", "nme", "fr10", "fr10_landmarks", "auc10", "normalizer", "box")
ABOUT = {  # what the report reads of a test's .json
    **dict.fromkeys(("data", "split", "box", "box_source", "box_used_by", "normalizer", "normalizer_meaning"), str),
    **dict.fromkeys(("markup", "model", "trained_on", "weights", "device", "date"), str),
    **dict.fromkeys(("faces", "faces_of_split", "size", "trained_size", "parameters", "side"), int),
    **dict.fromkeys(("edges", "drawn"), list),
    **dict.fromkeys(("parts", "packages", "method", "within", "moment", "changed", "tables", "pictures"), dict),
    "mean_normalizer": float,
}


class Like(NamedTuple):
    """What has to be the same where two tests are compared."""

    title: str  # of the data
    box: str
    normalizer: str
    faces: int

    def __str__(self) -> str:
        return f"{self.faces} faces, box {self.box}, NME {self.normalizer}"


@dataclass(frozen=True)
class Measurement:
    """One test of a run: the files ``test/<stem>*``; what is not there is empty, and `missing` says so."""

    stem: str
    rows: list[Row]  # by subset, all faces first
    about: dict[str, Any]
    ced: list[Row]
    landmarks: list[Row]
    by_face: list[Row]
    sheet: Path | None
    moment: str  # of the training that the weights are of
    changed: str  # a sentence where the run's weights are others by now
    missing: tuple[str, ...]
    further: FurtherFiles = field(default_factory=FurtherFiles)

    @property
    def full(self) -> Row:
        """The numbers of all faces."""
        return self.rows[0]

    @property
    def subsets(self) -> list[Row]:
        """The rows of the named subsets."""
        return self.rows[1:]

    @property
    def title(self) -> str:
        """What it was measured on."""
        return str(self.about.get("data", self.stem))

    @property
    def variant(self) -> str:
        """Checkpoint, input size and options; empty for the run's best with the size and options of its training."""
        name = str(self.about.get("weights", "checkpoints/best.ckpt"))
        weights = "" if name == "checkpoints/best.ckpt" else name.removeprefix("checkpoints/").removesuffix(".ckpt")
        size = f"at {self.size} pixels" if self.size != self.about.get("trained_size", self.size) else ""
        return ", ".join(part for part in (weights, size, *self.options()) if part)

    def options(self, part: str = "") -> list[str]:
        """``num_test 50``: the options, of ``model``, ``data`` or both, that are not those of the training."""
        changed = self.about.get("changed", {}).items()
        return [f"{key.partition('.')[2]} {of['tested']}" for key, of in changed if key.startswith(part)]

    @property
    def otherwise(self) -> str:
        """What was done otherwise than in training, as a sentence; empty where nothing was."""
        changed = self.about.get("changed", {}).items()
        usual = [next(f"{word}: {value}" for word, value in of.items() if word != "tested") for _, of in changed]
        words = [f"{option} ({value})" for option, value in zip(self.options(), usual, strict=True)]
        return f"Tested with {', '.join(words)}." if words else ""

    @property
    def size(self) -> int:
        """Side of the network's input in pixels; 0 where it is not known."""
        return int(self.about.get("size", 0))

    @property
    def like(self) -> Like:
        """Only tests that agree in these can be compared."""
        full = self.full
        title = ", ".join([self.title, *self.options("data")])
        return Like(title, str(full["box"]), str(full["normalizer"]), int(full["faces"]))


@dataclass(frozen=True)
class Run:
    """A run."""

    path: Path
    text: str  # of config.yaml
    settings: dict[str, Any]
    series: dict[str, Points]  # name of a metric -> (step, value), in order
    epochs: int  # begun, as far as metrics.csv tells
    fitted: dict[str, Any]  # what training left: fit.json
    measurements: list[Measurement]
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.name

    def best(self) -> tuple[float, float] | None:
        """Step and value of the lowest validation error."""
        values = [point for point in self.series.get("val/nme", []) if math.isfinite(point[1])]
        return min(values, key=lambda point: point[1]) if values else None

    def others(self, test: Measurement) -> int:
        """In how many of data and box a test differs from the run's own, as far as fit.json tells."""
        return sum(
            found != self.fitted.get(key, found) for key, found in (("data", test.title), ("box", test.like.box))
        )

    def kept(self) -> dict[str, int]:
        """The number of steps that the run's checkpoints are of, by file, as far as metrics.csv tells."""
        best, steps = self.best(), [step for points in self.series.values() for step, _ in points]
        steps_done = {"checkpoints/best.ckpt": best and best[0], "checkpoints/last.ckpt": max(steps, default=None)}
        return {file: int(step) + 1 for file, step in steps_done.items() if step is not None}  # steps count from 0

    @property
    def validation(self) -> str:
        """What the validation error is of; empty where fit.json does not say."""
        normalizer, box, faces = (self.fitted.get(key) for key in ("normalizer", "box", "validation"))
        return f"NME {normalizer}, box {box}, {faces}" if faces else ""


def read_run(path: Path) -> Run:
    """Read a run's folder.

    Raises:
        UsageError: it is none.
    """
    if not any((path / name).exists() for name in ("config.yaml", "metrics.csv", "test")):
        found = "has neither config.yaml nor metrics.csv nor test/"
        raise UsageError(f"{path} {found}, so it is no run; give a folder that fit has made, such as runs/NAME")
    missing: list[str] = []
    text, epochs = "", 0
    settings: dict[str, Any] = {}
    fitted: dict[str, Any] = {}
    series: dict[str, Points] = {}
    again = command(path, "fit", "--resume")
    try:
        text = read_text(path / "config.yaml", f"fit writes it: {command(path, 'fit', '--config', 'NAME')}")
        settings = mapping(path / "config.yaml", yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:
        missing.append(f"The configuration is missing: {_line(error)}.")
    try:
        series, epochs, complaints = read_metrics(path / "metrics.csv")
        missing += complaints
    except ValueError as error:
        missing.append(f"The training curves are missing: {_line(error)}.")
    if (path / "fit.json").is_file():
        try:
            fitted = read_json(path / "fit.json")
        except ValueError as error:
            missing.append(f"{_line(error)}.")
    tests = [file for file in sorted((path / "test").glob("*.csv")) if _is_table(file)]
    run = Run(path, text, settings, series, epochs, fitted, [], missing)
    for file in tests:
        try:
            run.measurements.append(_measurement(run, file))
        except ValueError as error:
            missing.append(f"A result is left out: {_line(error)}.")
    run.measurements.sort(
        key=lambda test: (run.others(test), bool(test.variant), test.full["faces"] < _of(test), test.title)
    )
    missing += _unfinished(run, again)
    return run


def command(path: Path, subcommand: str, *options: str) -> str:
    """The command line that does something with the run in this folder."""
    runs = () if path.parent == Path("runs") else ("--runs", str(path.parent))
    return shlex.join([*COMMAND, subcommand, *options, "--name", path.name, *runs])


def _unfinished(run: Run, again: str) -> Iterable[str]:
    """What a run that is whole would have."""
    trainer = run.settings.get("trainer") or {}
    planned = trainer.get("max_epochs") or -1
    if run.series and run.fitted.get("epochs", -1) < run.epochs < planned:
        yield f"The training is in epoch {run.epochs} of {planned}: under way, or interrupted; to go on: {again}"
    if run.series and "val/nme" not in run.series:
        why = (
            "trainer.limit_val_batches is 0" if trainer.get("limit_val_batches") == 0 else "no epoch with one was done"
        )
        yield f"No validation was logged ({why}), so there is no val/nme and no best checkpoint; to go on: {again}"
    if not run.measurements:
        yield no_test(run)


def no_test(run: Run) -> str:
    """How to get the first test of a run.

    Of a `Mixture` it is the last checkpoint's: labelled faces alone choose the best, early in the training maybe.
    """
    last = ((run.settings.get("data") or {}).get("init_args") or {}).get("unlabelled")
    words, options = ("last", ("--ckpt_path", "last")) if last else ("best", ())
    return f"There is no test yet; to measure the {words} checkpoint: {command(run.path, 'test', *options)}"


def _measurement(run: Run, table: Path) -> Measurement:
    """Read the files of a test, whose table is given.

    Raises:
        ValueError: the table is not as test writes it.
    """
    stem, missing, rows = table.stem, [], read_rows(table, TABLE)
    parts: dict[str, Any] = {"about": {}, "ced": [], "landmarks": [], "by_face": []}
    readers = {
        "about": ("What the numbers mean", ".json", _about),
        "ced": ("The error curve", "_ced.csv", lambda path: read_rows(path, ("threshold_percent", "model"))),
        "landmarks": ("The error by landmark", "_landmarks.csv", lambda path: read_rows(path, ("landmark", "nme"))),
        "by_face": ("The error by face", "_faces.csv", lambda path: read_rows(path, ("index", "nme"))),
    }
    for part, (what, end, read) in readers.items():
        try:
            parts[part] = read(table.with_name(stem + end))
        except ValueError as error:
            missing.append(f"{what} is missing: {_line(error)}.")
    further, complaints = read_further(table, parts["about"])
    missing += complaints
    sheet = table.with_name(f"{stem}_overlays.png")
    if not sheet.is_file():
        missing.append(f"The drawings are missing: {sheet.name} is not there.")
    if "mean_shape_nme" not in rows[0]:
        missing.append("The mean-shape predictor is missing: these weights hold no mean shape of training faces.")
    if missing:
        missing.append(f"To make all of it again: {command(run.path, 'test')}")
    moment, changed = _moment(run, parts["about"])
    found = sheet if sheet.is_file() else None
    return Measurement(
        stem, rows, **parts, further=further, sheet=found, moment=moment, changed=changed, missing=tuple(missing)
    )


def _moment(run: Run, about: dict[str, Any]) -> tuple[str, str]:
    """The moment of the training that was measured, and a sentence where the run has other weights by now."""
    moment, weights = about.get("moment", {}), about.get("weights", "")
    try:
        epoch, step = int(moment["epoch"]), int(moment["step"])
    except (KeyError, TypeError, ValueError):
        return "epoch not recorded", ""
    words, now = f"epoch {epoch} (step {step})", run.kept().get(weights, step)
    if now == step:
        return words, ""
    return words, f"Measured on the weights of {words}; {weights} is now that of step {now}: test again."


def _of(test: Measurement) -> int:
    return int(test.about.get("faces_of_split", 0))


def _is_table(path: Path) -> bool:
    with path.open(errors="replace") as file:  # by its content: ``x_32_faces.csv`` is the table of 32 faces
        return file.readline().startswith("subset,")


def _about(path: Path) -> dict[str, Any]:
    later = ("within", "moment", "changed", "tables", "pictures")  # earlier results do not have these
    about = {**{key: {} for key in later}, **read_json(path)}
    for key, kind in ABOUT.items():
        if not isinstance(about.get(key), kind):
            raise ValueError(f"{path}: {key} is {about.get(key)!r:.40}, expected {kind.__name__}, as test writes it")
    for key, values in about["changed"].items():
        if not isinstance(values, dict) or "tested" not in values or len(values) != 2:
            raise ValueError(f"{path}: changed: {key} is {values!r:.40}, expected two values, as test writes them")
    check_further(path, about)
    return about


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
