"""The losses of step 2, by hand."""

import pytest
import torch

from lightning_modules.heatmaps import render
from lightning_modules.two_step.losses import distributions, diversity_loss, equivariance_loss, variance_loss


def masses(*cells, height=16, width=16):
    """One-hot distributions (1, K, h, w) at cells (column, row)."""
    mass = torch.zeros(1, len(cells), height, width)
    for k, (column, row) in enumerate(cells):
        mass[0, k, row, column] = 1
    return mass


def test_equivariance_by_hand():
    moved = torch.tensor([[[10.0, 10.0], [3.0, 4.0], [-2.0, 5.0]]])  # the last has left the frame
    found = torch.tensor([[[10.0, 12.0], [3.0, 4.0], [9.0, 9.0]]])
    assert equivariance_loss(moved, found, 16).item() == pytest.approx((2 * 2 / 16) ** 2 / 2)
    assert equivariance_loss(moved[:, 2:], found[:, 2:], 16).item() == 0


def test_equivariance_teaches_both_sides():
    generator = torch.Generator().manual_seed(0)
    moved, found = (torch.rand(2, 3, 2, generator=generator).requires_grad_() for _ in range(2))
    equivariance_loss(moved, found, 16).backward()
    torch.testing.assert_close(moved.grad, -found.grad)
    assert moved.grad.abs().min() > 0


def test_diversity_by_hand():
    apart = masses((1, 1), (9, 9), (1, 9))
    assert diversity_loss(apart, 8).item() == 0
    together = masses((1, 1), (2, 3), (7, 7))  # in one patch of 8 x 8
    assert diversity_loss(together, 8).item() == pytest.approx(2 / 3)
    assert diversity_loss(together, 4).item() == pytest.approx(1 / 3)
    half = (masses((1, 1), (9, 9)) + masses((1, 1), (1, 1))) / 2
    assert diversity_loss(half, 8).item() == pytest.approx((1 + 0.5 - 1) / 2)


def test_patches_that_the_frame_cuts_off_count():
    """100 pixels are six patches of 16 and a narrow one."""
    mass = masses((99, 99), (98, 98), height=100, width=100)
    assert diversity_loss(mass, 16).item() == pytest.approx(0.5)


def test_variance_by_hand():
    two = (masses((2, 5)) + masses((6, 5))) / 2  # two cells to either side
    assert variance_loss(two).item() == pytest.approx(2**2 * (2 / 16) ** 2)
    gaussian = render(torch.tensor([[[31.0, 30.0]]]), 2.0, 64, 64)
    assert variance_loss(gaussian / gaussian.sum()).item() == pytest.approx(2 * 2.0**2 * (2 / 64) ** 2, rel=1e-3)


def test_distributions_sum_to_one_in_any_precision():
    heatmaps = 20 * torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    mass = distributions(heatmaps)
    assert mass.dtype == torch.float32
    torch.testing.assert_close(mass.sum(dim=(2, 3)), torch.ones(2, 3))
    assert (distributions(heatmaps, 10.0).amax(dim=(2, 3)) < mass.amax(dim=(2, 3))).all()


def test_the_variance_of_a_sure_landmark_teaches_numbers():
    """Also where all other cells have underflown to 0."""
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 0, 3, 3] = 400.0
    heatmaps.requires_grad_()
    variance_loss(distributions(heatmaps)).backward()
    assert heatmaps.grad.isfinite().all()
    assert heatmaps.grad[0, 1].abs().max() > 0
