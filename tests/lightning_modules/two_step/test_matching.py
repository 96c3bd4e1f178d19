"""Where features are found again, against loops and by hand."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from lightning_modules.processes import Draws
from lightning_modules.two_step.deformations import RandomDeformation
from lightning_modules.two_step.matching import best_matches, features_at, match_errors, similarities


def maps(height=12, width=16, seed=0):
    return torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(seed))


def test_features_between_pixels_are_in_proportion():
    features = maps()
    found = features_at(features, torch.tensor([[[3.0, 7.0], [3.25, 7.0]], [[15.0, 0.0], [4.0, 6.5]]]))
    torch.testing.assert_close(found[0, 0], features[0, :, 7, 3])
    torch.testing.assert_close(found[0, 1], 0.75 * features[0, :, 7, 3] + 0.25 * features[0, :, 7, 4])
    torch.testing.assert_close(found[1, 0], features[1, :, 0, 15])
    torch.testing.assert_close(found[1, 1], (features[1, :, 6, 4] + features[1, :, 7, 4]) / 2)


def test_the_best_match_is_that_of_a_loop_over_the_pixels():
    features, wanted = maps(), torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    everywhere = similarities(features, wanted)
    found = best_matches(everywhere)
    for b in range(2):
        for p in range(3):
            best, place = -2.0, None
            for y in range(12):
                for x in range(16):
                    cosine = cosine_similarity(features[b, :, y, x], wanted[b, p], dim=0).item()
                    assert everywhere[b, p, y, x].item() == pytest.approx(cosine, abs=1e-5)
                    if cosine > best:
                        best, place = cosine, [x, y]
            assert found[b, p].tolist() == place


def test_features_that_move_with_the_image_are_found_where_they_went():
    """Features that tell each pixel's place in the image, deformed with it, are perfectly equivariant."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    waves = [f(2 * torch.pi * k * axis / 64) for k in (0.5, 1, 4) for axis in (x, y) for f in (torch.sin, torch.cos)]
    features = torch.stack(waves).expand(3, -1, -1, -1)
    deformation = RandomDeformation(rotation=15.0, elastic=0.02).draw(
        Draws(3, torch.Generator().manual_seed(0)), 64, 64
    )
    points = 20 + 24 * torch.rand(3, 10, 2, generator=torch.Generator().manual_seed(1))
    moved = deformation.forward(points)
    errors = match_errors(features, deformation.warp(features)[0], points, moved)
    assert errors.max() < 1  # of a pixel: the best one lies beside the point
    still = match_errors(features, features, points, moved)
    torch.testing.assert_close(still, (moved - points).norm(dim=-1), rtol=0, atol=1.0)
