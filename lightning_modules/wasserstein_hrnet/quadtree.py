"""Cells about a target: each by itself near it, pooled by squares of growing size further away."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d


class Quadtree(NamedTuple):
    """Squares that tile a frame of 2 ``half`` x 2 ``half`` cells about its middle cell, (``half``, ``half``)."""

    half: int
    sizes: tuple[int, ...]  # 1, 2, 4, ... cells a side
    indices: tuple[Tensor, ...]  # for each size which of the frame's squares of this size, counted row by row
    middles: Tensor  # (K, 2) of all squares as (x, y), in cells from the middle cell

    def pool(self, frames: Tensor) -> Tensor:
        """Sums (P, K) of frames (P, 2 half, 2 half) over the squares."""
        frames = frames.unsqueeze(1)
        sums = []
        for size, index in zip(self.sizes, self.indices, strict=True):
            if size > 1:
                frames = avg_pool2d(frames, 2, divisor_override=1)
            sums.append(frames.flatten(1)[:, index])
        return torch.cat(sums, dim=1)


def quadtree(half: int, fine: int) -> Quadtree:
    """A tree on the CPU.

    Args:
        half: at least half of the frame's side; it is enlarged to a multiple of the largest square.
        fine: cells from the middle within which nothing is pooled; from there squares double with their distance.
    """
    bounds, size = [_multiple(fine, 2)], 1
    while bounds[-1] < half:
        size *= 2
        bounds.append(_multiple(2 * bounds[-1], 2 * size))
    half = _multiple(half, size)
    indices, middles = [], []
    for level, bound in enumerate(bounds):
        size = 2**level
        first = grid(torch.arange(2 * half // size) * size - half)
        chosen = _within(first, size, bound)
        if level:
            chosen &= ~_within(first, size, bounds[level - 1])
        indices.append(chosen.nonzero().squeeze(1))
        middles.append(first[chosen] + (size - 1) / 2)
    return Quadtree(half, tuple(2**level for level in range(len(bounds))), tuple(indices), torch.cat(middles).double())


def grid(line: Tensor) -> Tensor:
    """The points (n n, 2) as (x, y) of a square of which a line (n,) is the side, row by row."""
    return torch.cartesian_prod(line, line).flip(1)


def _within(first: Tensor, size: int, bound: int) -> Tensor:
    """Which squares lie in [-bound, bound), by their first cells (n, 2)."""
    return ((first >= -bound) & (first + size <= bound)).all(dim=1)


def _multiple(number: int, of: int) -> int:
    """The smallest multiple that is not below the number."""
    return -(-number // of) * of
