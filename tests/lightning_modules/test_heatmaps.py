"""The pixel convention, and heatmaps drawn and read, by hand."""

import math

import pytest
import torch

from lightning_modules.heatmaps import (
    argmax,
    barycentre,
    bilinear_argmax,
    cell_to_pixel,
    pixel_to_cell,
    render,
    variance,
)


def test_cell_centres_by_hand():
    """Of stride 4, cell 0 covers pixels 0 to 3, whose middle is 1.5; the last cell of 64 ends at pixel 255."""
    assert cell_to_pixel(torch.tensor([0.0, 63.0]), 4).tolist() == [1.5, 253.5]
    assert pixel_to_cell(torch.tensor([1.5, 253.5]), 4).tolist() == [0.0, 63.0]


def test_gaussian_is_that_of_a_loop_over_the_cells():
    centres = torch.tensor([[[3.0, 2.0], [1.3, 4.8], [-1.6, 2.2], [40.0, -40.0]]], dtype=torch.float64)
    maps = render(centres, 1.5, 7, 5)
    assert maps.shape == (1, 4, 5, 7)
    for n, (x, y) in enumerate(centres[0].tolist()):
        for row in range(5):
            for column in range(7):
                expected = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.5**2))
                assert maps[0, n, row, column].item() == pytest.approx(expected, abs=1e-15)
    assert maps[0, 0, 2, 3] == maps.max() == 1
    assert maps[0, 3].max() < 1e-100  # far outside


def test_a_gaussian_in_the_map_has_its_mean_its_variance_and_its_squares():
    maps = render(torch.tensor([[31.7, 29.4]], dtype=torch.float64), 3.0, 64, 64)
    torch.testing.assert_close(barycentre(maps), torch.tensor([[31.7, 29.4]], dtype=torch.float64))
    assert variance(maps).item() == pytest.approx(2 * 3**2)
    assert maps.square().sum().item() == pytest.approx(math.pi * 9)


def literal_argmax(heatmap):
    """One map, a list of rows, as the code of Xiao et al. reads it; but that leaves out more cells at the border."""
    height, width = len(heatmap), len(heatmap[0])
    best = max(range(height * width), key=lambda i: heatmap[i // width][i % width])
    x, y = best % width, best // width
    right = heatmap[y][x + 1] - heatmap[y][x - 1] if 0 < x < width - 1 else 0
    down = heatmap[y + 1][x] - heatmap[y - 1][x] if 0 < y < height - 1 else 0
    return [x + 0.25 * ((right > 0) - (right < 0)), y + 0.25 * ((down > 0) - (down < 0))]


def test_argmax_is_that_of_a_literal_loop():
    maps = torch.randint(0, 40, (30, 4, 5, 6), generator=torch.Generator().manual_seed(0)).double()
    found = argmax(maps)  # ties, corners and borders are among them
    for face in range(30):
        for n in range(4):
            x, y = literal_argmax(maps[face, n].tolist())
            assert found[face, n].tolist() == [float(x), float(y)]
    assert {0.0, 5.0} <= set(found[..., 0].flatten().tolist())
    assert {0.25, 0.75} <= set((found % 1).flatten().tolist())


def test_argmax_of_a_gaussian_is_within_a_quarter_of_its_centre():
    centres = 1 + 13 * torch.rand(200, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error = (argmax(render(centres, 2.0, 16, 16)) - centres).abs()
    assert 0.2 < error.max() <= 0.25 + 1e-9
    assert error.mean().item() == pytest.approx(0.125, abs=0.01)  # without the quarter it would be 0.25


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_what_is_rendered_is_found_again_in_pixels(stride):
    pixels = 12 + 40 * torch.rand(3, 98, 2, generator=torch.Generator().manual_seed(2))  # in no border cell
    maps = render(pixel_to_cell(pixels, stride), 4 / stride, 64 // stride, 64 // stride)
    assert (cell_to_pixel(argmax(maps), stride) - pixels).abs().max() <= stride / 4 + 1e-4


def test_argmax_at_the_borders_and_beyond():
    centres = torch.tensor([[0.2, 3.0], [-0.7, 2.4], [7.4, -5.0], [7.0, 5.0]])
    assert argmax(render(centres, 1.0, 8, 6)).tolist() == [[0.0, 3.0], [0.0, 2.25], [7.0, 0.0], [7.0, 5.0]]
    assert argmax(torch.ones(1, 1, 1, 1)).tolist() == [[[0.0, 0.0]]]


def test_argmax_of_a_broken_heatmap_is_no_place():
    maps = render(torch.tensor([[2.0, 2.0], [3.0, 1.0]]), 1.0, 6, 6)
    maps[0, 4, 4] = torch.nan
    found = argmax(maps)
    assert found[0].isnan().all()
    assert found[1].tolist() == [3.0, 1.0]
    assert argmax(torch.full((1, 3, 3), torch.inf)).isnan().all()


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


def test_variance_of_a_point_is_zero_and_of_a_gaussian_that_along_both_axes():
    point = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    point[0, 0, 32, 32] = 1
    assert variance(point).item() == 0.0  # the official formula says 0.49 squared
    grid = torch.arange(64, dtype=torch.float64) - 30.3
    gaussian = torch.exp(-(grid**2) / (2 * 3.0**2))
    assert variance((gaussian[:, None] * gaussian)[None, None]).item() == pytest.approx(2 * 3**2, rel=1e-6)


def test_an_empty_heatmap_gives_no_nan():
    assert barycentre(torch.zeros(1, 1, 4, 4)).isfinite().all()
    assert variance(torch.zeros(1, 1, 4, 4)).isfinite().all()


def test_autocast_does_not_round_a_reading():
    heatmaps = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    with torch.autocast("cpu", torch.bfloat16):
        rounded = barycentre(heatmaps), variance(heatmaps)
    torch.testing.assert_close(rounded, (barycentre(heatmaps), variance(heatmaps)), atol=1e-4, rtol=0)


def test_the_bilinear_reading_by_hand():
    heatmap = torch.zeros(5, 6)
    heatmap[2, 3], heatmap[2, 4], heatmap[1, 3], heatmap[1, 4] = 4.0, 2.0, 1.0, 1.0
    heatmap[2, 2], heatmap[3, 3] = 1.5, -3.0  # the smaller neighbours
    assert bilinear_argmax(heatmap).tolist() == pytest.approx([3 + 3 / 8, 2 - 2 / 8])
    corner = torch.zeros(5, 6)
    corner[0, 5], corner[1, 5], corner[0, 4] = 2.0, 1.0, -1.0
    assert bilinear_argmax(corner).tolist() == pytest.approx([5.0, 1 / 3])
    several = bilinear_argmax(torch.stack([heatmap, corner]).view(2, 1, 5, 6))
    assert torch.equal(several, torch.stack([bilinear_argmax(heatmap), bilinear_argmax(corner)]).view(2, 1, 2))


def test_bilinear_weights_are_found_again():
    """A value shared out bilinearly over four cells is read at the point from which it was shared out."""
    for x, y in ((3.3, 1.8), (0.2, 3.6), (4.0, 2.5), (2.0, 2.0)):
        heatmap = torch.zeros(5, 6)
        for column in (int(x), int(x) + 1):
            for row in (int(y), int(y) + 1):
                if row < 5 and column < 6:
                    heatmap[row, column] = (1 - abs(x - column)) * (1 - abs(y - row))
        assert bilinear_argmax(heatmap).tolist() == pytest.approx([x, y], abs=1e-6)


def test_the_bilinear_reading_of_a_broken_heatmap_is_no_place():
    for value in (torch.nan, torch.inf):
        assert bilinear_argmax(torch.full((2, 4, 4), value)).isnan().all()


def test_where_nothing_is_above_0_the_bilinear_reading_is_the_peaks_cell():
    heatmap = torch.full((4, 4), -2.0)
    heatmap[1, 2] = -1.0
    assert bilinear_argmax(heatmap).tolist() == [2, 1]
    heatmap[1, 2] = 0.0
    assert bilinear_argmax(heatmap).tolist() == [2, 1]
