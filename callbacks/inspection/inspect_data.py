"""The whole of an inspection: every check of every split, the table, the CSV and the drawings."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from callbacks.inspection.checks import (
    Split,
    annotation_checks,
    count_checks,
    duplicate_checks,
    open_split,
    overlap_check,
    picture_checks,
)
from callbacks.inspection.findings import FAILED, LOOK, Check, Finding, print_checks, write_findings
from callbacks.inspection.pictures import look_at
from callbacks.inspection.sheet import contact_sheet

DRAWN = 24  # faces of a sheet
UNTAUGHT = "it is trained on, though without its landmarks"  # why it may be among the others of a mixture


def inspect_data(data: Any, out: Path) -> list[Check]:
    """Check the faces of a datamodule, of a mixture those of each part, print what was found and write it to a folder.

    Args:
        data: gives ``fit_faces``, ``load``, ``dataset`` and what else a `LandmarkDataModule` has.
        out: gets ``findings.csv``, ``<split>.png`` and ``<split>_findings.png``.

    Raises:
        FileNotFoundError, ValueError: of the reader, where annotations cannot be read.
    """
    source = getattr(data, "labelled", data)  # of a mixture
    published = getattr(source, "published", ())
    loaded, checks = _load(data, published)
    checks += _counts(source, loaded, {name: name for name in published})
    sources = dict.fromkeys(loaded, source)
    for place, part in enumerate(getattr(data, "unlabelled", ())):
        name = f"others-{place}"
        sources[name], loaded[name] = part, part.load("train")
        checks += _counts(part, {name: loaded[name]}, {name: "train"})
    splits = []
    for name, faces in loaded.items():
        split, missing = open_split(sources[name], name, faces)
        if sources[name] is not source:
            split.forget_landmarks()
        splits.append(split)
        if split.dataset is not None:
            with _progress(f"{name}: decoding", len(np.unique(split.faces.image))) as advance:
                split.pictures = look_at(split.dataset, data.num_workers, advance)
        checks += [missing, *picture_checks(split), *annotation_checks(split, data.annotated), *duplicate_checks(split)]
    for place, split in enumerate(splits):
        may_share = getattr(source, "may_share_photographs", "") if split.name == "test" else ""
        if sources[split.name] is not source:
            may_share = UNTAUGHT
        checks += [check for other in splits[:place] if (check := overlap_check(split, other, may_share))]
    out.mkdir(parents=True, exist_ok=True)
    write_findings(out / "findings.csv", checks)
    console = Console()
    print_checks(f"{data.measured_on}, box {data.box}", checks, console)
    drawings = [
        path for split in splits if split.dataset is not None for path in _draw(sources[split.name], split, checks, out)
    ]
    console.print(", ".join(map(str, [out / "findings.csv", *drawings])), soft_wrap=True, highlight=False)
    return checks


def _counts(source: Any, loaded: Mapping[str, Any], published: Mapping[str, str]) -> Iterator[Check]:
    """The faces of each split of a datamodule; ``published`` says which of its published splits each is."""
    if not getattr(source, "published", ()):
        return count_checks({}, {name: len(faces) for name, faces in loaded.items()})
    counts = {name: source.published_counts(split) for name, split in published.items()}
    sizes = {name: source.count(faces) for name, faces in loaded.items()}
    return count_checks(counts, sizes, source.counted, source.may_differ)


def _load(data: Any, published: Collection[str]) -> tuple[dict[str, Any], list[Check]]:
    """The faces of each split; a dataset that publishes no training faces is told of; images alone are no split."""
    if not data.num_landmarks:
        return {"images": data.load("train")}, []
    loaded: dict[str, Any] = {}
    checks = []
    try:
        loaded["train"], loaded["val"] = data.fit_faces()
    except ValueError as error:
        if not published or "train" in published:
            raise
        none = Finding("train", 0, type(data).__name__, "", str(error))
        checks = [Check("faces", "train", 0, 1, LOOK, [none])]
    return {**loaded, "test": data.load("test")}, checks


def _draw(data: Any, split: Split, checks: list[Check], out: Path) -> Iterator[Path]:
    """Write the sheets of a split: faces spread over all of it, and those that a check objects to, failures first."""
    readable = np.flatnonzero(split.pictures.readable).tolist() if split.pictures else []
    spread = [readable[i] for i in np.linspace(0, len(readable) - 1, min(DRAWN, len(readable))).astype(int)]
    images = split.faces.image
    found = [(check.verdict != FAILED, f) for check in checks for f in check.findings if f.split == split.name]
    there = [(mild, f.row) for mild, f in found if f.row < len(images) and f.image == str(images[f.row])]
    can_be_read = set(readable)
    faulty = [row for row in dict.fromkeys(row for _, row in sorted(there)) if row in can_be_read]
    markup, augmented = split.dataset.markup, split.name not in ("val", "test", "images")
    if split.name == "test":
        split.dataset.perturbation = data.perturbation
    for chosen, stem in ((spread, split.name), (faulty, f"{split.name}_findings")):
        if rows := list(islice((row for row in chosen if _has_crop(split.dataset, row)), DRAWN)):
            path = out / f"{stem}.png"
            title = f"{data.title}, {split.name}"
            sheet = contact_sheet(split.dataset, markup, rows, augmented, title)
            sheet.save(path, compress_level=2)  # the usual 6 takes longer than everything else
            yield path


def _has_crop(dataset: Any, row: int) -> bool:
    try:
        dataset[row]
    except ValueError:  # no landmark is in the crop, which a check has told
        return False
    return True


@contextmanager
def _progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar, where there is a terminal to draw it on."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)
