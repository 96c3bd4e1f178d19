"""Seconds to open a drawn folder of many small annotation files: listed, parsed the first time, and opened again.

python tests/benchmarks/index_speed.py [--files 200000] [--folder DIR]
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.file_index import list_files, parsed

PER_FOLDER = 2000  # about the frames of a video of 300VW


def draw(folder: Path, count: int) -> None:
    points = np.random.default_rng(0).uniform(0, 500, (50, 68, 2))
    texts = ["version: 1\nn_points: 68\n{\n" + "\n".join(f"{x:.3f} {y:.3f}" for x, y in p) + "\n}\n" for p in points]
    for first in range(0, count, PER_FOLDER):
        below = folder / f"{first // PER_FOLDER:03d}/annot"
        below.mkdir(parents=True)
        for i in range(min(PER_FOLDER, count - first)):
            (below / f"{i + 1:06d}.pts").write_text(texts[i % 50])


def read(path: Path) -> np.ndarray:
    return np.array(path.read_text().split("{")[1].split("}")[0].split(), float).reshape(68, 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=200_000)
    arguments.add_argument("--folder", type=Path, help="to draw in (default: a temporary folder)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as drawn:
        os.environ["LANDMARK_CACHE"] = f"{drawn}/cache"
        root = Path(drawn, "300VW")
        draw(root, options.files)
        seconds = {}

        def open_folder(name: str) -> None:
            start = time.perf_counter()
            files = list_files(root, (".pts",), "draw it")
            listed = time.perf_counter() - start
            values = parsed(files, read)
            seconds[name] = time.perf_counter() - start
            print(f"{name}: {len(values):,} files in {seconds[name]:.2f} s, of these {listed:.2f} s to list them")

        open_folder("first opening")
        open_folder("second opening")
        os.utime(root / "000/annot/000001.pts")
        open_folder("one file changed")
        print(f"the second opening is {seconds['first opening'] / seconds['second opening']:.0f} times as fast")
        sys.stderr.flush()
        print(f"the process held at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
