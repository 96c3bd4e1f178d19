"""The regression from discovered to annotated landmarks, against formulas and scipy."""

import numpy as np
import pytest
import scipy.linalg
import torch

from lightning_modules.two_step.probe import Ridge, chosen_faces
from tests.one_sentence import one_sentence

SIDE = 128


def faces(count=60, discovered=10, annotated=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(127 * torch.rand(count, n, 2, generator=generator) for n in (discovered, annotated))


def in_units(points, origin):
    flat = points.double().flatten(1).numpy() + 0.5
    return flat if origin == "corner" else flat / 64 - 1


@pytest.mark.parametrize("origin", ["corner", "centre"])
@pytest.mark.parametrize("alpha", [0.1, 100.0])
def test_it_is_ridge_regression(origin, alpha):
    found, truth = faces()
    weights = Ridge(alpha, origin).fit(found, truth, SIDE)
    x, y = in_units(found, origin), in_units(truth, origin)
    expected = np.linalg.solve(x.T @ x + alpha * np.eye(20), x.T @ y)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6, atol=1e-9)
    predicted = in_units(Ridge(alpha, origin).predict(found, weights, SIDE), origin)
    np.testing.assert_allclose(predicted, x @ expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 5, 60])
def test_without_alpha_it_is_least_squares(count):
    """Of fewer faces than coordinates the smallest of all maps that fit."""
    found, truth = faces(count)
    weights = Ridge(0.0).fit(found, truth, SIDE)
    expected = scipy.linalg.lstsq(in_units(found, "corner"), in_units(truth, "corner"))[0]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_landmarks_that_are_discovered_are_found_again():
    found, _ = faces()
    truth = found[:, [3, 7]]
    ridge = Ridge(1e-9)
    predicted = ridge.predict(found, ridge.fit(found, truth, SIDE), SIDE)
    torch.testing.assert_close(predicted, truth, rtol=0, atol=1e-3)


def test_there_is_no_bias():
    """Landmarks in the origin say that all others are."""
    found, truth = faces()
    for origin, middle in (("centre", 63.5), ("corner", -0.5)):
        weights = Ridge(0.1, origin).fit(found, truth, SIDE)
        predicted = Ridge(0.1, origin).predict(torch.full((1, 10, 2), middle), weights, SIDE)
        torch.testing.assert_close(predicted, torch.full((1, 5, 2), middle))


def test_landmarks_that_are_not_annotated_teach_nothing():
    found, truth = faces()
    truth[:20, 2] = torch.nan
    truth[50:, 4] = torch.nan
    weights = Ridge().fit(found, truth, SIDE)
    for landmark, rows in ((0, slice(None)), (2, slice(20, None)), (4, slice(0, 50))):
        alone = Ridge().fit(found[rows], truth[rows, landmark : landmark + 1], SIDE)
        torch.testing.assert_close(weights[:, 2 * landmark : 2 * landmark + 2], alone)


def test_what_cannot_be_learnt_is_told():
    found, truth = faces()
    truth[:, 3] = torch.nan
    with one_sentence("landmark 3 is annotated in none of 60 faces"):
        Ridge().fit(found, truth, SIDE)
    found[4, 2, 0] = torch.nan
    with one_sentence("a discovered landmark is not finite"):
        Ridge().fit(found, truth, SIDE)
    with one_sentence("alpha of the regression is -1, expected a number of at least 0"):
        Ridge(-1)
    with one_sentence("origin of the regression is 'center', expected centre or corner"):
        Ridge(origin="center")


def test_repeats_have_other_faces_and_seeds_the_same():
    chosen = [chosen_faces(1000, 10, repeat, seed) for repeat, seed in ((0, 0), (1, 0), (0, 1))]
    assert all(len(each.unique()) == 10 for each in chosen)
    assert not torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])
    assert torch.equal(chosen[0], chosen_faces(1000, 10, 0, 0))
