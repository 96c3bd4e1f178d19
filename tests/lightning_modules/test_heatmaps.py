"""The pixel convention and the readings of a heatmap, by hand."""

import pytest
import torch

from lightning_modules.heatmaps import barycentre, cell_to_pixel, pixel_to_cell, spread


def test_cell_centres_by_hand():
    """Of stride 4, cell 0 covers pixels 0 to 3, whose middle is 1.5; the last cell of 64 ends at pixel 255."""
    assert cell_to_pixel(torch.tensor([0.0, 63.0]), 4).tolist() == [1.5, 253.5]
    assert pixel_to_cell(torch.tensor([1.5, 253.5]), 4).tolist() == [0.0, 63.0]


def test_barycentre_of_two_cells():
    heatmaps = torch.zeros(1, 1, 5, 7)
    heatmaps[0, 0, 1, 2], heatmaps[0, 0, 3, 6] = 3.0, 1.0
    assert barycentre(heatmaps)[0, 0].tolist() == pytest.approx([3.0, 1.5])


def test_barycentre_is_scale_free_and_moves_with_the_map():
    heatmaps = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    heatmaps[..., -1] = 0
    torch.testing.assert_close(barycentre(heatmaps * 7), barycentre(heatmaps))
    moved = barycentre(heatmaps.roll(1, dims=-1)) - barycentre(heatmaps)
    torch.testing.assert_close(moved, torch.tensor([1.0, 0.0], dtype=torch.float64).expand(2, 3, 2))


def test_spread_of_a_point_is_zero_and_of_a_gaussian_its_sigma_along_both_axes():
    point = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    point[0, 0, 32, 32] = 1
    assert spread(point).item() == 0.0  # the official formula says 0.49
    grid = torch.arange(64, dtype=torch.float64) - 30.3
    gaussian = torch.exp(-(grid**2) / (2 * 3.0**2))
    assert spread((gaussian[:, None] * gaussian)[None, None]).item() == pytest.approx(3 * 2**0.5, rel=1e-6)


def test_an_empty_heatmap_gives_no_nan():
    assert barycentre(torch.zeros(1, 1, 4, 4)).isfinite().all()
    assert spread(torch.zeros(1, 1, 4, 4)).isfinite().all()


def test_autocast_does_not_round_a_reading():
    heatmaps = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    with torch.autocast("cpu", torch.bfloat16):
        rounded = barycentre(heatmaps), spread(heatmaps)
    torch.testing.assert_close(rounded, (barycentre(heatmaps), spread(heatmaps)), atol=1e-4, rtol=0)
