"""Memory of a loading process before and after one epoch over many rows, which must not grow.

    python tests/benchmarks/worker_memory.py [READER ...] [--rows 20000] [--size 256]

The drawn faces of a reader are repeated, augmented anew each time. USS is what the process shares with no other; PSS
counts a page that n processes share as an n-th. Both count up a little at first, as libraries warm up, and as Python
writes reference counts into pages that were shared with the main process: so they are told after each fifth too.
"""

import argparse
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.face_dataset import FaceDataset
from tests.benchmarks.drawn_photographs import READERS

PARTS = 5


def memory(process: int) -> tuple[float, float]:
    """USS and PSS in MiB."""
    lines = [line.split() for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]]
    kilobytes = {line[0].rstrip(":"): int(line[1]) for line in lines}
    return (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024, kilobytes["Pss"] / 1024


def repeated(dataset: FaceDataset, rows: int) -> FaceDataset:
    """The dataset with its faces repeated to this many rows; frames of videos stay in sequence."""
    again = np.arange(rows) % len(dataset)
    read, faces = dataset.read, dataset.faces
    columns = {f.name: getattr(faces, f.name)[again] for f in fields(faces) if f.name != "source"}
    dataset.faces = replace(faces, **columns)
    dataset.landmarks, dataset.visible = dataset.landmarks[again], dataset.visible[again]
    dataset.boxes, dataset.norms = dataset.boxes[again], dataset.norms[again]
    if not dataset.from_files:
        count = len(faces)
        dataset.read = lambda row: read(row % count)
    return dataset


def curve(dataset: Any, rows: int) -> list[tuple[float, float]]:
    """The memory of the one loading process after its first batch and after each fifth of the rows."""
    keys = [(0, row) for row in range(rows)]
    loader = DataLoader(dataset, batch_size=16, sampler=keys, num_workers=1, persistent_workers=True)
    batches, found = iter(loader), []
    for done, _ in enumerate(batches):
        if done % max(1, len(loader) // PARTS) == 0:
            found.append(memory(batches._workers[0].pid))  # type: ignore[attr-defined]
    return found


def main() -> None:
    """Print a line for each reader."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("readers", nargs="*", default=["WFLW", "COFW", "300VW"], metavar="READER")
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--size", type=int, default=256)
    options = arguments.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    for name in options.readers:
        with tempfile.TemporaryDirectory() as root:
            dataset = repeated(READERS[name].dataset(Path(root), options.size), options.rows)
            uss, pss = (np.round(values).astype(int) for values in zip(*curve(dataset, options.rows), strict=True))
            print(
                f"{name}, {options.rows:,} rows: USS {' '.join(map(str, uss))} MiB, PSS {' '.join(map(str, pss))} MiB"
            )


if __name__ == "__main__":
    main()
