"""Faces cut out of free images, as training cuts them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.crop import BoxConvention, Floats, crop_affine, warp


def cut_faces(image: NDArray[np.uint8], boxes: Floats, convention: BoxConvention, size: int) -> tuple[Floats, Tensor]:
    """Affines (M, 2, 3) from crop to image pixels, and the crops (M, 3, S, S), uint8, of boxes (M, 4) in an image.

    Args:
        image: (H, W, 3).
        boxes: x0, y0, x1, y1 in pixels of the image.
        convention: how a box becomes a crop.
        size: S.
    """
    affines = np.stack([crop_affine(box, size) for box in convention.moved(boxes)])
    crops = np.stack([warp(image, affine, size) for affine in affines])
    return affines, torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
