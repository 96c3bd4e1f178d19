"""From a face box to the network's square input and back: one 2x3 affine from crop pixels to image pixels.

Pixel (0, 0) is the *centre* of the top-left pixel, in crops and images alike. A box is (x0, y0, x1, y1) in that frame.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]
Region = tuple[int, int, int, int]  # left, top, right, bottom; the last two are not in it


@dataclass(frozen=True)
class BoxConvention:
    """Where the crop of a face comes from. Part of every result: the same model scores differently on another crop.

    The crop is the square about the middle of the rectangle that ``moved`` gives, as wide as its longer side; where it
    reaches beyond the image it is black. Papers differ in what they do next: PIPNet cuts its rectangle off at the
    image's edge and squeezes it to a square, so faces of its crops are stretched and its NME is of stretched faces.

    Args:
        source: ``provided`` (the dataset's rectangle), ``landmarks`` (the tight box of the true landmarks, so the
            test knows where the face is) or ``image`` (the whole image: the files are crops already).
        outwards: how far the left, top, right and bottom edges move, in shares of the rectangle's width and height;
            negative values move an edge inwards.
        used_by: the publication that crops so; empty where none is known to.
    """

    source: Literal["provided", "landmarks", "image"]
    outwards: tuple[float, float, float, float]
    used_by: str

    def moved(self, boxes: Floats) -> Floats:
        """Rectangles (..., 4) with their edges moved outwards."""
        size = boxes[..., 2:] - boxes[..., :2]
        return boxes + np.array(self.outwards) * np.concatenate([-size, size], axis=-1)


def enlarged(factor: float) -> tuple[float, float, float, float]:
    """Edges moved so that a rectangle becomes ``factor`` times as wide and high about the same middle."""
    share = (factor - 1) / 2
    return share, share, share, share


def _cut_by_dve() -> tuple[float, float, float, float]:
    """Edges of CelebA's aligned images (178 x 218): rows 30 to 208, and of that square 96 of 136 pixels."""
    inner = 178 * 20 / 136
    return -inner / 178, -(30 + inner) / 218, -inner / 178, -(10 + inner) / 218


# PIPNet tests a model of 300-W on COFW-68 and on WFLW's 68 points, and what a network knows of places makes faces of
# another cut harder. 300-W is landmarks-1.3 there; COFW-68 is provided-1.3, because its rectangles come from the
# detector of 300-W's organisers and are as tight; WFLW's rectangles hold the forehead, so its top edge goes down
# (provided-1.2-lowered-0.1). The paper says of it "enlarged by 20 %, the top reduced by 20 %", which is the same edge.
BOX_CONVENTIONS = {
    "provided-1.0": BoxConvention("provided", enlarged(1.0), "PIPNet on COFW and AFLW, Dundar et al. on BBC Pose"),
    "provided-1.2": BoxConvention("provided", enlarged(1.2), "PIPNet on WFLW, LDEQ on WFLW-V"),
    "provided-1.3": BoxConvention("provided", enlarged(1.3), "PIPNet on COFW-68"),
    "provided-1.2-lowered-0.1": BoxConvention(
        "provided", (0.1, -0.1, 0.1, 0.1), "PIPNet on WFLW after 300-W, and its demo on detected faces"
    ),
    # The code lowers the top edge of CelebA's detected faces by 15 %; the paper says only that boxes grow by 20 %.
    "provided-1.2-lowered-0.15": BoxConvention("provided", (0.1, -0.15, 0.1, 0.1), "PIPNet on CelebA without labels"),
    "landmarks-1.1": BoxConvention("landmarks", enlarged(1.1), "PIPNet on 300-W"),
    "landmarks-1.2": BoxConvention("landmarks", enlarged(1.2), "LDEQ, HIH and PFLD on WFLW"),
    "landmarks-1.25": BoxConvention("landmarks", enlarged(1.25), "HRNet and the Wasserstein loss"),
    "landmarks-1.3": BoxConvention("landmarks", enlarged(1.3), "PIPNet on 300-W, to test on COFW-68 and WFLW"),
    "landmarks-1.5": BoxConvention("landmarks", enlarged(1.5), ""),  # usual here for Cat Head: no paper says its cut
    # The rectangles of CelebA are its aligned images. imm stretches 80 % of their width and height to a square.
    "celeba-imm": BoxConvention("provided", enlarged(0.8), "imm on CelebA and MAFL, with faces stretched in width"),
    "celeba-dve": BoxConvention("provided", _cut_by_dve(), "DVE on CelebA and MAFL"),
    "image": BoxConvention("image", enlarged(1.0), ""),
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


def crop_affine(box: Floats, size: int) -> Floats:
    """Affine (2, 3) from the pixels of a square ``size`` x ``size`` crop to image pixels.

    The crop is centred on the box and its side is the box's longer side.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    pixel = max(x1 - x0, y1 - y0) / size  # image pixels per crop pixel
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


class StoredImage(Protocol):
    """An image of which only the pixels that crops can show are kept (`crop_cache.py`)."""

    shape: tuple[int, ...]  # (H, W, 3) of the whole image

    def blocks(self, shrink: int, region: Region) -> Pixels:
        """As the function `blocks`."""


def warp(image: Pixels | StoredImage, affine: Floats, size: int) -> Pixels:
    """The ``size`` x ``size`` crop that ``affine`` (crop to image pixels) cuts out of an RGB image (H, W, 3).

    Bilinear, black outside the image. Where the crop shrinks the image at least twofold, the image is first averaged
    over whole blocks of pixels: bilinear sampling alone would skip pixels and alias.
    """
    shrink = shrinkage(affine, image.shape)
    affine = in_blocks(affine, shrink)
    # Only the pixels that are needed, so that a crop is the same whether the rest of the image is there or not.
    region = reached(affine, 0, size - 1, shrink, image.shape)
    if region[0] >= region[2] or region[1] >= region[3]:
        return np.zeros((size, size, 3), np.uint8)
    affine[:, 2] -= region[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # OpenCV is twice as fast with four channels as with three; the pixels are the same.
    four = cv2.cvtColor(blocks(image, shrink, region), cv2.COLOR_RGB2RGBA)
    crop = cv2.warpAffine(four, affine, (size, size), flags=flags)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB), np.uint8)


def shrinkage(affine: Floats, shape: tuple[int, ...]) -> int:
    """The side in pixels of the blocks that `warp` averages an image of this shape (H, W, 3) over; 1 is none."""
    shrink = int(np.sqrt(abs(np.linalg.det(affine[:, :2]))) + 1e-6)
    return max(1, min(shrink, *shape[:2]))


def in_blocks(affine: Floats, shrink: int) -> Floats:
    """The affine to blocks of ``shrink`` x ``shrink`` pixels, of one to pixels."""
    offset = 0.5 / shrink - 0.5
    return compose(np.array([[1 / shrink, 0, offset], [0, 1 / shrink, offset]]), affine)


def reached(affine: Floats, first: float, last: float, shrink: int, shape: tuple[int, ...]) -> Region:
    """The blocks of an image (H, W, 3) that crop pixels from ``first`` to ``last`` along both axes take colours from.

    ``affine`` leads from crop pixels to blocks. A block is left at each edge for rounding.
    """
    corners = transform(affine, np.array([(x, y) for x in (first, last) for y in (first, last)]))
    ends = np.concatenate([np.floor(corners.min(axis=0)) - 1, np.floor(corners.max(axis=0)) + 3])
    height, width = shape[0] // shrink, shape[1] // shrink
    left, top, right, bottom = (int(v) for v in ends.clip(0, [width, height, width, height]))
    return left, top, right, bottom


def blocks(image: Pixels | StoredImage, shrink: int, region: Region) -> Pixels:
    """The means of ``shrink`` x ``shrink`` pixels in a region of an RGB image (H, W, 3); the region counts blocks."""
    if not isinstance(image, np.ndarray):
        return image.blocks(shrink, region)
    left, top, right, bottom = region
    pixels = image[top * shrink : bottom * shrink, left * shrink : right * shrink]
    if shrink == 1:
        return pixels
    return np.asarray(cv2.resize(pixels, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.uint8)
