"""Augmented faces a second on one core, and memory of a loading process, of every reader and of plain albumentations.

    python tests/benchmarks/reader_speed.py [READER ...] [--size 256] [--rounds 7] [--rows 600]

Plain albumentations decodes the image as a whole, cuts out the face's square with the surroundings that a turned and
shifted crop shows, resizes it, and then changes it as our defaults do, one change after the other; landmarks go along.
"black" is the ratio to another plain pipeline that cuts out the square alone, so that turned crops have black corners,
which ours have not; "cached" is the ratio where ours has a cache of decoded faces, which videos cannot have. Rounds
alternate, and a ratio is the median of its rounds. "decode" is our time to read the image alone, without which no
pipeline is. Memory is what a loading process holds to itself (USS) after ``rows`` faces.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import h5py
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.crop_cache import cache_crops
from datamodules.video_faces import VideoFaces
from tests.benchmarks.drawn_photographs import READERS
from tests.benchmarks.worker_memory import curve, repeated


class Plain:
    """The faces of a dataset by plain albumentations, cut out with their surroundings or not."""

    def __init__(self, dataset: Any, surroundings: bool) -> None:
        self.dataset, size = dataset, dataset.size
        first, last = dataset.augmentation.reach(size) if surroundings else (0, size - 1)
        self.times = (last - first + 1) / size
        around, shift = round(self.times * size), round(30 * size / 256)
        self.video: tuple[str, int, Any] = ("", 0, None)  # path, next frame and the open file
        self.changes = A.Compose(
            [
                A.Resize(around, around, interpolation=cv2.INTER_AREA),
                A.Rotate((-30, 30), p=0.5),
                A.Affine(translate_px=(-shift, shift), p=0.5),
                A.CenterCrop(size, size),
                A.HorizontalFlip(p=0.5),
                A.CoarseDropout((1, 1), (0.01, 0.4), (0.01, 0.4), fill="random_uniform", p=0.5),
                A.GaussianBlur(blur_limit=0, sigma_limit=(0, 5 * size / 256), p=0.3),
                A.ToGray(p=0.2),
            ],
            keypoint_params=A.KeypointParams("xy", remove_invisible=False),
        )

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        row = key[1]
        image = self.read(row)
        height, width = image.shape[:2]
        box = self.dataset.boxes[row] if self.dataset.convention.source != "image" else np.array([0, 0, width, height])
        middle, half = (box[:2] + box[2:]) / 2, self.times * (box[2:] - box[:2]).max() / 2
        (left, top), (right, bottom) = (np.round(middle + sign * half).astype(int).tolist() for sign in (-1, 1))
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        face = cv2.copyMakeBorder(
            image[y0:y1, x0:x1], y0 - top, bottom - y1, x0 - left, right - x1, cv2.BORDER_CONSTANT
        )
        changed = self.changes(image=face, keypoints=self.dataset.landmarks[row] - (left, top))
        points = np.asarray(changed["keypoints"], np.float32)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(changed["image"].transpose(2, 0, 1))),
            "landmarks": torch.from_numpy(points),
            "visible": torch.from_numpy(((points >= 0) & (points < self.dataset.size)).all(axis=-1)),
        }

    def read(self, row: int) -> np.ndarray:
        """An image file by Pillow, a frame by OpenCV in sequence, a cell of a MATLAB file by h5py."""
        name = str(self.dataset.faces.image[row])
        if self.dataset.from_files:
            return np.array(Image.open(name).convert("RGB"))
        path, _, number = name.rpartition("#")
        if not path:
            with h5py.File(self.dataset.faces.source) as file:
                pixels = file[file["IsTr"][0, row]][()].T
            return np.ascontiguousarray(pixels) if pixels.ndim == 3 else cv2.cvtColor(pixels.copy(), cv2.COLOR_GRAY2RGB)
        if self.video[:2] != (path, int(number)):
            self.video = (path, 1, cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]))
        frame = self.video[2].read()[1]
        self.video = (path, int(number) + 1, self.video[2])
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def milliseconds(take: Callable[[int], Any], count: int) -> float:
    """Processor time for each of ``count`` rows."""
    start = time.process_time()
    for row in range(count):
        take(row)
    return 1e3 * (time.process_time() - start) / count


def measured(dataset: Any, cache: Path, options: argparse.Namespace) -> str:
    """The line of a reader."""
    ways = [dataset, Plain(dataset, surroundings=True), Plain(dataset, surroundings=False)]
    if not isinstance(dataset.faces, VideoFaces):
        ways.append(copy(dataset))
        cache_crops([ways[-1]], cache, "reader", augmented=True)
    count, rounds = len(dataset), []
    for epoch in range(options.rounds + 1):
        rounds += [[milliseconds(partial(_take, way, epoch), count) for way in ways]]
    decode, (height, width) = milliseconds(dataset.read, count), dataset.read(0).shape[:2]
    ours, plain, _, *cached = (
        statistics.median(times) for times in zip(*rounds[1:], strict=True)
    )  # the first warms up
    ratios, black = (sorted(times[way] / times[0] for times in rounds[1:]) for way in (1, 2))
    return (
        f"{width:4} x {height:4} {decode:8.2f} {ours:5.2f} {plain:5.2f} {1e3 / ours:5.0f} {1e3 / plain:5.0f}  "
        f"{statistics.median(ratios):4.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) {statistics.median(black):7.2f} "
        f"{f'{plain / cached[0]:6.2f}' if cached else '     -'} "
        f"{curve(repeated(dataset, options.rows), options.rows)[-1][0]:4.0f}"
    )


def _take(way: Any, epoch: int, row: int) -> None:
    way[epoch, row]


def main() -> None:
    """Print a line for each reader."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("readers", nargs="*", default=list(READERS), metavar="READER", help=", ".join(READERS))
    for name, default in (("size", 256), ("rounds", 7), ("rows", 600)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    options = arguments.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    print("                             decode  ours plain  ours plain                            cached  USS")
    print("reader               image       ms    ms    ms    /s    /s  ratio (range)     black  ratio  MiB")
    for name in options.readers:
        with tempfile.TemporaryDirectory() as root:
            dataset = READERS[name].dataset(Path(root, "data"), options.size)
            print(f"{name:15} {measured(dataset, Path(root, 'cache'), options)}", flush=True)


if __name__ == "__main__":
    main()
