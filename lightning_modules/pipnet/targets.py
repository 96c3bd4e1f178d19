"""Landmarks as cells and offsets, and back (Jin et al. 2021, section 3.1).

In the paper's coordinates a face is [0, 1] and a map w cells wide; in ours, pixel p is cell coordinate
(p + 0.5) / stride, which is the same number. Letters: B faces, N landmarks, C neighbours, h x w cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Targets(NamedTuple):
    """What a network should say; offsets are in cells, from the top-left corner of the landmark's own cell."""

    cell: Tensor  # (B, N) int64, counted along the rows of the map
    own: Tensor  # (B, N, 2), in [0, 1) where the landmark is on the map
    neighbours: Tensor  # (B, N, C, 2), any size: the paper's Eq. 6 says [0, 1], against its own example and code


def encode(landmarks: Tensor, neighbours: Tensor, stride: int, width: int, height: int) -> Targets:
    """Targets of landmarks (B, N, 2) in input pixels.

    A landmark beyond the map belongs to the nearest cell, and its offset says how far beyond. The released code
    moves such landmarks onto the border instead, but only where a translation moved them there.

    Args:
        landmarks: finite, in input pixels.
        neighbours: (N, C), from `neighbours.nearest`.
        stride: input pixels a cell.
        width: of the map in cells, w.
        height: of the map in cells, h.
    """
    place = (landmarks.float() + 0.5) / stride
    most = torch.tensor([width - 1, height - 1], device=place.device)
    corner = place.floor().long().clamp_min(0).minimum(most)  # (B, N, 2)
    return Targets(
        corner[..., 1] * width + corner[..., 0],
        place - corner,
        place[:, neighbours] - corner.unsqueeze(2),
    )


def decode(cell: Tensor, offset: Tensor, stride: int, width: int) -> Tensor:
    """Input pixels (B, N, ..., 2) of offsets (B, N, ..., 2) from cells (B, N): the inverse of `encode`."""
    corner = torch.stack([cell % width, cell // width], dim=-1).view(*cell.shape, *(1,) * (offset.ndim - 3), 2)
    return (corner + offset.float()) * stride - 0.5


def one_hot_scores(cell: Tensor, width: int, height: int) -> Tensor:
    """Score maps (B, N, h, w) that are 1 in the landmark's cell and 0 elsewhere, for cells (B, N)."""
    maps = torch.zeros(*cell.shape, height * width, device=cell.device)
    return maps.scatter_(-1, cell.unsqueeze(-1), 1.0).view(*cell.shape, height, width)
