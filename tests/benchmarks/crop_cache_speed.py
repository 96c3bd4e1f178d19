"""Augmented faces a second on one core, from JPEG files and from the cache of decoded faces.

python tests/benchmarks/crop_cache_speed.py [--images 300] [--width 1024] [--height 768] [--side 250] [--size 256]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.csv_landmarks import CSVLandmarks
from datamodules.transforms import Augmentation
from tests.drawn_faces import draw, random_face


def write(root: Path, options: argparse.Namespace) -> None:
    """Photographs with a face each, as detailed as a camera's: about 1.5 bits a pixel at JPEG's quality 90."""
    rng = np.random.default_rng(0)
    lines = [",".join(["file", *(f"{axis}{i}" for i in range(98) for axis in "xy")])]
    (root / "train").mkdir()
    for i in range(options.images):
        centre = rng.uniform(0.35, 0.65, 2) * (options.width, options.height)
        face = random_face(rng, centre, options.side / 2)
        noise = cv2.GaussianBlur(rng.normal(0, 30, (options.height, options.width, 3)), (0, 0), 1.5)
        pixels = (draw([face], options.width, options.height) + 3 * noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"train/{i}.jpg", quality=90)
        lines.append(",".join([f"{i}.jpg", *(f"{v:.3f}" for v in face.ravel())]))
    (root / "train.csv").write_text("\n".join(lines) + "\n")


def speed(data: CSVLandmarks, epochs: int = 2) -> tuple[float, float]:
    """Milliseconds a crop: with geometry alone, and with all augmentation."""
    dataset = data.train_dataloader().dataset
    found = []
    for augmentation in (Augmentation(occluder_p=0, blur_p=0, grey_p=0), Augmentation()):
        dataset.augmentation = augmentation
        for row in range(len(dataset)):  # pages and libraries in memory
            dataset[(0, row)]
        start = time.process_time()
        for epoch in range(1, epochs + 1):
            for row in range(len(dataset)):
                dataset[(epoch, row)]
        found.append(1e3 * (time.process_time() - start) / epochs / len(dataset))
    return found[0], found[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 300), ("width", 1024), ("height", 768), ("side", 250), ("size", 256)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    options = arguments.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder, "data"), Path(folder, "cache")
        root.mkdir()
        write(root, options)
        times = {}
        for name, where in (("files", None), ("cache", cache), ("cache, opened again", cache)):
            start = time.perf_counter()
            data = CSVLandmarks(root, "wflw-98", size=options.size, num_workers=0, cache=where)
            data.setup("fit")
            times[name] = (time.perf_counter() - start, *speed(data))
            print(
                f"{name}: opened in {times[name][0]:.2f} s, {times[name][1]:.2f} ms a crop, augmented "
                f"{times[name][2]:.2f} ms"
            )
        sizes = [sum(path.stat().st_size for path in place.rglob("*.*")) / 2**20 for place in (root / "train", cache)]
        print(f"JPEG files {sizes[0]:.0f} MiB, cache {sizes[1]:.0f} MiB")
        print(
            f"a crop from the cache is {times['files'][1] / times['cache'][1]:.1f} times as fast, with all "
            f"augmentation {times['files'][2] / times['cache'][2]:.1f} times"
        )


if __name__ == "__main__":
    main()
