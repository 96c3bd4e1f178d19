"""The tree tiles its frame, and pooling keeps the mass of every square."""

import pytest
import torch

from lightning_modules.wasserstein_hrnet.quadtree import quadtree


@pytest.mark.parametrize(("half", "fine"), [(64, 6), (64, 13), (32, 64), (50, 7), (5, 3), (1, 1), (97, 20)])
def test_squares_tile_the_frame(half, fine):
    tree = quadtree(half, fine)
    assert tree.half >= half
    sizes = torch.cat([torch.full((len(i),), s) for s, i in zip(tree.sizes, tree.indices, strict=True)])
    assert len(sizes) == len(tree.middles)
    owner = torch.zeros(2 * tree.half, 2 * tree.half, dtype=torch.long)
    for size, (x, y) in zip(sizes.tolist(), tree.middles.tolist(), strict=True):
        left, top = (round(each - (size - 1) / 2) + tree.half for each in (x, y))
        owner[top : top + size, left : left + size] += 1
    assert (owner == 1).all()


def test_pooling_sums_over_the_squares():
    tree = quadtree(16, 3)
    frames = torch.rand(2, 2 * tree.half, 2 * tree.half, dtype=torch.float64)
    pooled = tree.pool(frames)
    start = 0
    for size, index in zip(tree.sizes, tree.indices, strict=True):
        for k, number in enumerate(index.tolist()):
            row, column = (size * part for part in divmod(number, 2 * tree.half // size))
            expected = frames[:, row : row + size, column : column + size].sum(dim=(1, 2))
            torch.testing.assert_close(pooled[:, start + k], expected)
            middle = torch.tensor([column, row]).double() + (size - 1) / 2 - tree.half
            assert torch.equal(tree.middles[start + k], middle)
        start += len(index)
    assert start == pooled.shape[1] < (2 * tree.half) ** 2 / 2


def test_squares_grow_with_the_distance():
    tree = quadtree(64, 6)
    assert tree.sizes[0] == 1
    sizes = torch.cat([torch.full((len(i),), s) for s, i in zip(tree.sizes, tree.indices, strict=True)])
    distance = tree.middles.abs().amax(dim=1)
    assert (sizes[distance < 6] == 1).all()
    assert (sizes <= distance.clamp_min(3) / 3).all()
    assert len(tree.middles) < 700  # of 16,384 cells
