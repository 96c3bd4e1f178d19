"""Errors with few labels, and accuracy curves."""

import math

import pytest
import torch

from lightning_modules.two_step.collected import Collected
from lightning_modules.two_step.evaluation import Faces, accuracy_curve, few_labels
from lightning_modules.two_step.probe import Ridge, chosen_faces

SIDE = 128


def faces(count, seed, noise=2.0):
    """Annotated landmarks that are a linear map of the discovered ones, and noise."""
    generator = torch.Generator().manual_seed(seed)
    found = 127 * torch.rand(count, 6, 2, generator=generator)
    truth = found[:, [0, 3]] * 0.5 + found[:, [1, 1]] * 0.5 + noise * torch.randn(count, 2, 2, generator=generator)
    return Faces(found, truth, torch.full((count,), 40.0), torch.tensor([[3.0, 6.0]]).expand(count, -1))


def test_rows_are_those_of_regressions_one_by_one():
    train, test = faces(60, 0), faces(30, 1)
    rows = few_labels(train, test, SIDE, Ridge(), samples=(5, 50, 500), repeats=3, seed=7)
    assert [(row.samples, row.repeats) for row in rows] == [(5, 3), (50, 3), (60, 1)]
    for row in rows[:2]:
        errors, within = [], []
        for repeat in range(3):
            chosen = chosen_faces(60, row.samples, repeat, 7)
            weights = Ridge().fit(train.found[chosen], train.truth[chosen], SIDE)
            distance = (Ridge().predict(test.found, weights, SIDE) - test.truth).norm(dim=2)
            errors.append(100 * (distance / 40).mean())
            within.append(100 * (distance <= 6).float().mean())
        for (mean, spread), values in ((row.nme, errors), (row.within[1], within)):
            assert mean == pytest.approx(float(torch.stack(values).mean()))
            assert spread == pytest.approx(float(torch.stack(values).std()))
        assert row.within[0][0] < row.within[1][0]
    assert rows[-1].nme[1] == 0


def test_more_labels_are_better():
    rows = few_labels(faces(1000, 0), faces(200, 1), SIDE, Ridge())
    assert [row.samples for row in rows] == [1, 5, 10, 50, 100, 500, 1000]
    means = [row.nme[0] for row in rows]
    assert means == sorted(means, reverse=True)
    assert means[-1] == pytest.approx(100 * 2 * math.sqrt(math.pi / 2) / 40, rel=0.05)  # the noise alone


def test_landmarks_that_are_not_annotated_are_not_counted():
    train, test = faces(60, 0), faces(30, 1)
    test.truth[:10, 1] = torch.nan
    train.truth[:5, 0] = torch.nan
    (row,) = few_labels(train, test, SIDE, Ridge(), samples=())
    weights = Ridge().fit(train.found, train.truth, SIDE)
    error = (Ridge().predict(test.found, weights, SIDE) - test.truth).norm(dim=2) / 40
    assert row.nme[0] == pytest.approx(float(100 * error[error.isfinite()].mean()))


def test_one_face_teaches_the_landmarks_that_it_has():
    train, test = faces(8, 0), faces(30, 1)
    train.truth[:, 0] = torch.nan  # the second landmark alone, but in one face
    train.truth[3, 0] = torch.tensor([64.0, 64.0])
    train.truth[5] = torch.nan  # nothing: it is no labelled face
    one, everything = few_labels(train, test, SIDE, Ridge(), samples=(1,), repeats=40)
    assert (everything.samples, everything.landmarks) == (7, 2)
    kept = [0, 1, 2, 3, 4, 6, 7]
    errors, landmarks = [], []
    for repeat in range(40):
        face = kept[int(chosen_faces(7, 1, repeat, 0))]
        known = [0, 1] if face == 3 else [1]
        weights = Ridge().fit(train.found[[face]], train.truth[[face]][:, known], SIDE)
        distance = (Ridge().predict(test.found, weights, SIDE) - test.truth[:, known]).norm(dim=2)
        errors.append(float(100 * (distance / 40).mean()))
        landmarks.append(len(known))
    assert {1, 2} == set(landmarks)
    assert one.landmarks == sum(landmarks) / 40
    assert one.nme[0] == pytest.approx(sum(errors) / 40)


def test_curves_by_hand():
    errors = torch.tensor([[0.0, 1.0], [5.0, torch.nan], [20.0, 21.0]])
    assert accuracy_curve(errors, (0, 1, 20, 30)) == pytest.approx([20, 40, 80, 100])


def test_rows_of_all_ranks_come_together():
    one, other = (Collected(5, (2,), torch.device("cpu")) for _ in range(2))
    one.put(torch.tensor([0, 3]), torch.tensor([[1.0, 2.0], [3.0, torch.nan]]))
    other.put(torch.tensor([1, 0]), torch.tensor([[5.0, 6.0], [1.0, 2.0]]))  # 0 is on both
    parts = iter([(other.values.nan_to_num()), other.values.isnan().float(), other.times])
    found = one.everything(lambda values: values + next(parts))
    torch.testing.assert_close(found, torch.tensor([[1.0, 2.0], [5.0, 6.0], [3.0, torch.nan]]), equal_nan=True)
