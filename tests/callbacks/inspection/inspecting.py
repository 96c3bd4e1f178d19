"""Inspections of a drawn WFLW, and what may be wrong with it."""

import csv
from pathlib import Path

import numpy as np
import pytest

from cli import main
from datamodules.markup import WFLW_98
from tests.drawn_faces import WFLW_LISTS

LISTS = {split: WFLW_LISTS / f"list_98pt_rect_attr_{split}.txt" for split in ("train", "test")}
OUT = Path("runs/inspect/wflw")


def inspect(*words):
    """The command line in this process; the code it ends with."""
    with pytest.raises(SystemExit) as end:
        main(["inspect", *words])
    return end.value.code


def findings(out=OUT):
    with (out / "findings.csv").open() as file:
        return list(csv.DictReader(file))


def images(root, split):
    """The images of a split in the order of its list, two lines each."""
    paths = (root / "WFLW_images").rglob(f"*_{split}_*.jpg")
    return sorted(paths, key=lambda path: int(path.stem.split("_")[-1]))


def change(root, line, how, split="train"):
    """Change the cells of a line, counted from 1."""
    lines = (root / LISTS[split]).read_text().splitlines()
    lines[line - 1] = " ".join(how(lines[line - 1].split()))
    (root / LISTS[split]).write_text("\n".join(lines) + "\n")


def renumbered(cells):
    points = np.array(cells[:196]).reshape(98, 2)[list(WFLW_98.flip)]
    return [*points.ravel(), *cells[196:]]


def moved(cells, by):
    return [*(str(float(cell) + by) for cell in cells[:196]), *cells[196:]]


def add_line(root, line, split="train"):
    lines = (root / LISTS[split]).read_text().splitlines()
    (root / LISTS[split]).write_text("\n".join([*lines, lines[line - 1]]) + "\n")
