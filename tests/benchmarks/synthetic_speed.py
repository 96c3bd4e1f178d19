"""Generated faces a second on one core, drawn, cropped and ready for a batch.

python tests/benchmarks/synthetic_speed.py [--size 128] [--faces 600] [--augment]
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.synthetic import SyntheticFaces


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=128)
    arguments.add_argument("--faces", type=int, default=600)
    arguments.add_argument("--augment", action="store_true", help="as in training")
    options = arguments.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    start = time.process_time()
    data = SyntheticFaces(num_train=10_000, size=options.size, num_workers=0)
    data.setup("fit")
    print(f"setup of 10,000 faces: {time.process_time() - start:.1f} s")
    dataset = data.train_dataloader().dataset
    times = []
    for row in range(options.faces + 20):
        start = time.process_time()
        dataset[(0, row) if options.augment else row]
        times.append(time.process_time() - start)
    steady = np.array(times[20:])
    print(
        f"{options.size} px: {len(steady) / steady.sum():.0f} faces a second of processor time "
        f"(mean {1e3 * steady.mean():.2f} ms, median {1e3 * np.median(steady):.2f}, slowest {1e3 * steady.max():.1f})"
    )


if __name__ == "__main__":
    main()
