"""From a face box to the network's square input and back: one 2x3 affine from crop pixels to image pixels.

Pixel (0, 0) is the *centre* of the top-left pixel, in crops and images alike. A box is (x0, y0, x1, y1) in that frame.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class BoxConvention:
    """Where the crop of a face comes from. Part of every result: the same model scores differently on another crop.

    Args:
        source: ``provided`` (the dataset's rectangle), ``landmarks`` (the tight box of the true landmarks, so the
            test knows where the face is) or ``image`` (the whole image: the files are crops already).
        margin: the crop's side is the longer side of the box times this.
        used_by: the publication that crops so.
    """

    source: Literal["provided", "landmarks", "image"]
    margin: float
    used_by: str


BOX_CONVENTIONS = {
    "provided-1.2": BoxConvention("provided", 1.2, "PIPNet on WFLW (which also squeezes the crop to a square)"),
    "landmarks-1.2": BoxConvention("landmarks", 1.2, "LDEQ, HIH and PFLD on WFLW"),
    "landmarks-1.25": BoxConvention("landmarks", 1.25, "HRNet and the Wasserstein loss"),
    "image": BoxConvention("image", 1.0, "files that are face crops already"),
}


def box_convention(name: str) -> BoxConvention:
    """The convention of this name.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in BOX_CONVENTIONS:
        raise ValueError(f"data.init_args.box is '{name}', expected one of: {', '.join(BOX_CONVENTIONS)}")
    return BOX_CONVENTIONS[name]


def landmark_box(landmarks: Floats) -> Floats:
    """Tight boxes (..., 4) of landmarks (..., N, 2); landmarks that are NaN (not annotated) are left out."""
    return np.concatenate([np.nanmin(landmarks, axis=-2), np.nanmax(landmarks, axis=-2)], axis=-1)


def crop_affine(box: Floats, size: int, margin: float) -> Floats:
    """Affine (2, 3) from the pixels of a square ``size`` x ``size`` crop to image pixels.

    The crop is centred on the box and its side is ``margin`` times the box's longer side.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0) * margin
    pixel = side / size  # image pixels per crop pixel
    offset = (0.5 - size / 2) * pixel  # centre of crop pixel 0, seen from the centre of the box
    return np.array([[pixel, 0.0, (x0 + x1) / 2 + offset], [0.0, pixel, (y0 + y1) / 2 + offset]])


def invert(affine: Floats) -> Floats:
    """The inverse (2, 3) of an affine (2, 3)."""
    linear = np.linalg.inv(affine[:, :2])
    return np.concatenate([linear, -linear @ affine[:, 2:]], axis=1)


def compose(outer: Floats, inner: Floats) -> Floats:
    """The affine that applies ``inner`` first, then ``outer``; both (2, 3)."""
    return np.concatenate([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]], axis=1)


def transform(affine: Floats, points: Floats) -> Floats:
    """Points (..., 2) moved by an affine (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def warp(image: NDArray[np.uint8], affine: Floats, size: int) -> NDArray[np.uint8]:
    """The ``size`` x ``size`` crop that ``affine`` (crop to image pixels) cuts out of an RGB image (H, W, 3).

    Bilinear, black outside the image. Where the crop shrinks the image at least twofold, the image is first averaged
    over whole blocks of pixels: bilinear sampling alone would skip pixels and alias.
    """
    shrink = int(np.sqrt(abs(np.linalg.det(affine[:, :2]))) + 1e-6)
    if shrink >= 2:
        height, width = (side // shrink * shrink for side in image.shape[:2])
        if height and width:
            blocks = width // shrink, height // shrink
            image = np.asarray(cv2.resize(image[:height, :width], blocks, interpolation=cv2.INTER_AREA), np.uint8)
            block = np.array([[1 / shrink, 0, 0.5 / shrink - 0.5], [0, 1 / shrink, 0.5 / shrink - 0.5]])
            affine = compose(block, affine)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, affine, (size, size), flags=flags), np.uint8)
