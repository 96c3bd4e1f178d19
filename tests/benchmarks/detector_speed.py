"""Milliseconds a picture of the face detector, and of its network alone in onnxruntime and in OpenCV, on one core.

python tests/benchmarks/detector_speed.py [--rounds 9] [--long-sides 320 640 1280]

Pictures are three quarters as high as wide and twice as large as the long side, with twelve generated faces; shrinking
them is the detector's work too. "All" is a call of it: shrinking, the network on three pictures, decoding and merging;
the networks get the largest of these pictures. The contenders take turns, a ratio is the median of its rounds, and time
is that of the processor.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules import face_detector
from datamodules.face_detector import FaceDetector, shrunk_pictures
from datamodules.synthetic import SyntheticFaces


def group(width: int) -> np.ndarray:
    """A picture with four times three generated faces."""
    data = SyntheticFaces(num_train=1, num_test=12, size=round(width / 4 / 1.25), num_workers=0)
    dataset = data.dataset(data.load("test"))
    rows = [np.concatenate([dataset.read(4 * row + column) for column in range(4)], axis=1) for row in range(3)]
    return np.ascontiguousarray(np.concatenate(rows))


def opencv(picture: np.ndarray) -> Callable[[], Any]:
    """The network in OpenCV; a new one for each size, because OpenCV 4 is wrong after a change of size."""
    network = cv2.dnn.readNetFromONNX(np.frombuffer(face_detector.read_network(), np.uint8))
    height, width = (-(-side // face_detector.MULTIPLE) * face_detector.MULTIPLE for side in picture.shape[:2])
    pixels = np.zeros((1, 3, height, width), np.float32)
    pixels[0, :, : picture.shape[0], : picture.shape[1]] = picture.transpose(2, 0, 1)
    names = network.getUnconnectedOutLayersNames()

    def run() -> Any:
        network.setInput(pixels)
        return network.forward(names)

    return run


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def main() -> None:
    """Print a line for each long side."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--long-sides", type=int, nargs="+", default=[320, 640, 1280])
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"OpenCV {cv2.__version__}; milliseconds: median (least); ratios to onnxruntime")
    print("long side  faces              all      onnxruntime           OpenCV   all  OpenCV")
    for long_side in options.long_sides:
        image, detector = group(2 * long_side), FaceDetector(long_side=long_side)
        picture = shrunk_pictures(image, long_side)[0]
        ways = [partial(detector, image), partial(face_detector._maps, picture), opencv(picture)]
        for way in ways:
            way()
        times = list(zip(*[[milliseconds(way) for way in ways] for _ in range(options.rounds)], strict=True))
        ratios = [statistics.median(map(float.__truediv__, way, times[1])) for way in (times[0], times[2])]
        print(
            f"{long_side:9} {len(detector(image).scores):6} "
            + "".join(f"{f'{statistics.median(way):.1f} ({min(way):.1f})':>17}" for way in times)
            + f"{ratios[0]:6.2f} {ratios[1]:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
