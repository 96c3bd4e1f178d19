"""Deformations move images and points by the same map."""

import math

import pytest
import torch
from scipy.interpolate import RBFInterpolator

from lightning_modules.heatmaps import barycentre, render
from lightning_modules.processes import Draws
from lightning_modules.two_step.deformations import STEEPEST, RandomDeformation, identity
from lightning_modules.two_step.splines import COUNT, displacements, field, steepness, thin_plate

KINDS = {
    "rotation": {"rotation": 30.0},
    "scale": {"scale": 0.2},
    "translation": {"translation": 0.1},
    "zoom": {"zoom": 0.4},
    "thin plate": {"thin_plate": 0.03},
    "elastic": {"elastic": 0.03},
    "all": {"rotation": 20.0, "scale": 0.1, "translation": 0.05, "zoom": 0.3, "thin_plate": 0.02, "elastic": 0.02},
}
every = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def draw(options, count=6, height=96, width=128, seed=0):
    return RandomDeformation(**options).draw(Draws(count, torch.Generator().manual_seed(seed)), height, width)


def points(count=6, height=96, width=128, number=40, margin=0.0, seed=1):
    place = torch.rand(count, number, 2, generator=torch.Generator().manual_seed(seed))
    return margin + place * (torch.tensor([width, height]) - 1 - 2 * margin)


@every
def test_an_image_and_its_points_are_moved_alike(options):
    """A blob is found in the deformed image where its centre is moved to, to a tenth of a pixel."""
    deformation, there = draw(options), points(margin=10)
    blobs = render(there, 1.5, 128, 96)
    found, inside = deformation.warp(blobs)
    moved = deformation.forward(there)
    whole = deformation.inside(moved.clamp(min=6)) & deformation.inside(moved + 6) & (moved > 6).all(dim=-1)
    assert whole.float().mean() > 0.4
    error = (barycentre(found.square()) - moved).norm(dim=-1)[whole]
    assert error.median() < 0.05
    # Where one side of a blob is stretched more than the other, its barycentre is beside its centre
    assert error.max() < (0.1 if set(options) <= {"rotation", "scale", "translation", "zoom"} else 0.4)
    assert inside.shape == (6, 96, 128)


@every
def test_autocast_changes_nothing(options):
    """In bfloat16 places beyond 64 are rounded to half a pixel."""
    image, there, found = torch.rand(6, 3, 96, 128), points(), []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            deformation = draw(options)
            found.append((deformation.forward(there), deformation.backward(there), *deformation.warp(image)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@every
def test_there_and_back(options):
    deformation, there = draw(options), points()
    torch.testing.assert_close(deformation.backward(deformation.forward(there)), there, rtol=0, atol=2e-3)
    torch.testing.assert_close(deformation.forward(deformation.backward(there)), there, rtol=0, atol=2e-3)


@every
def test_what_a_smooth_image_shows_moves_with_the_points(options):
    """An image that shows its own coordinates shows, at a moved point, the point: a tenth of a pixel is 0.1."""
    deformation, there = draw(options), points(margin=2)  # at the edge of the frame what is beyond it is mixed in
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    found, _ = deformation.warp(torch.stack([x, y]).expand(6, -1, -1, -1))
    moved = deformation.forward(there)
    seen = deformation.inside(moved) & (moved > 1).all(dim=-1) & (moved < torch.tensor([126, 94])).all(dim=-1)
    assert seen.float().mean() > 0.4
    grid = (2 * moved + 1) / torch.tensor([128, 96]) - 1
    read = torch.nn.functional.grid_sample(found, grid.unsqueeze(1), align_corners=False).squeeze(2).mT
    assert (read - there).abs()[seen].max() < 0.1


@every
def test_the_grid_is_the_map_of_each_pixel(options):
    deformation = draw(options, count=2)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).view(1, -1, 2).expand(2, -1, -1)
    torch.testing.assert_close(deformation.grid().view(2, -1, 2), deformation.backward(pixels), rtol=1e-5, atol=1e-3)


def test_nothing_beyond_the_frame_is_seen():
    """Pixels that come from outside are told, and the others hold nothing of it."""
    deformation = draw(KINDS["all"])
    found, inside = deformation.warp(torch.ones(6, 1, 96, 128))
    grid = deformation.grid()
    by_hand = (grid[..., 0] >= -0.5) & (grid[..., 0] <= 127.5) & (grid[..., 1] >= -0.5) & (grid[..., 1] <= 95.5)
    assert torch.equal(inside, by_hand)
    assert 0.5 < inside.float().mean() < 1
    torch.testing.assert_close(found, torch.ones_like(found))  # no black corners that would tell of the deformation
    lost = ~deformation.inside(deformation.forward(points(number=500)))
    assert 0 < lost.float().mean() < 0.6


def test_a_rotation_by_hand():
    deformation = draw({"rotation": 30.0}, count=1, height=101, width=101)
    angle = math.atan2(deformation.affine[0, 1, 0], deformation.affine[0, 0, 0])
    assert abs(angle) > 0.05
    moved = deformation.forward(torch.tensor([[[50.0, 50.0], [80.0, 50.0]]]))[0]
    assert moved[0].tolist() == pytest.approx([50, 50], abs=1e-3)  # about the middle
    assert moved[1].tolist() == pytest.approx([50 + 30 * math.cos(-angle), 50 + 30 * math.sin(-angle)], abs=1e-3)


def test_thin_plate_splines_are_those_of_scipy():
    moves = torch.randn(1, 5, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    control = torch.cartesian_prod(*2 * [torch.linspace(-0.5, 127.5, 5, dtype=torch.float64)]).flip(1)
    theirs = RBFInterpolator(control.numpy(), moves.view(-1, 2).numpy(), kernel="thin_plate_spline")
    places = 127 * torch.rand(1, 200, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = displacements(thin_plate(moves), places, 128, 128)[0]
    assert (ours - torch.from_numpy(theirs(places[0].numpy()))).abs().max() < 0.05  # of moves by about a pixel


def test_a_bound_of_how_steep_a_displacement_is():
    coefficients = torch.randn(3, 2, COUNT, COUNT, generator=torch.Generator().manual_seed(0))
    moved = field(coefficients, 96, 128)
    steepest = [moved.diff(dim=axis).square().sum(dim=1).amax(dim=(1, 2)).sqrt() for axis in (2, 3)]
    bound = steepness(coefficients, 96, 128)
    assert (torch.stack(steepest) <= bound).all()
    assert (torch.stack(steepest).amax(dim=0) > bound / 4).all()


def test_no_deformation_folds_a_frame():
    """However strong it was asked to be."""
    deformation = draw({"thin_plate": 1.0, "elastic": 1.0})
    assert steepness(deformation.coefficients, 96, 128).max() <= STEEPEST * (1 + 1e-5)
    there = points()
    torch.testing.assert_close(deformation.forward(deformation.backward(there)), there, rtol=0, atol=5e-3)


def test_the_identity_moves_nothing():
    deformation, image = identity(2, 96, 128, torch.device("cpu")), torch.rand(2, 3, 96, 128)
    found, inside = deformation.warp(image)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-4)
    assert inside.all()
    there = points(2)
    torch.testing.assert_close(deformation.forward(there), there)


def test_the_same_generator_draws_the_same():
    one, again, other = (draw(KINDS["all"], seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.affine, again.affine)
    assert torch.equal(one.coefficients, again.coefficients)
    assert not torch.equal(one.affine, other.affine)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rotation": -1.0}, "rotation of a deformation is -1.0, expected a number of at least 0"),
        ({"elastic": math.nan}, "elastic of a deformation is nan"),
        ({"zoom": 1.0}, "zoom of a deformation is 1.0, expected a share"),
        ({"control_points": 1}, "control_points of a deformation is 1, expected 2 to 20"),
        ({"elastic_cells": 0}, "elastic_cells of a deformation is 0, expected 1 to 16"),
    ],
)
def test_numbers_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        RandomDeformation(**options)
