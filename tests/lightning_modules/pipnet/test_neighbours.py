"""Whose neighbours a landmark predicts, and how predictions are merged, against plain loops."""

import math

import pytest
import torch

from lightning_modules.pipnet.neighbours import Mean, RepeatedListMean, nearest
from tests.lightning_modules.pipnet.released import repeated_lists


def predictions(n, c):
    """A mean shape's neighbours, own points of 3 faces and what others say."""
    torch.manual_seed(n)
    return nearest(torch.rand(n, 2), c), 100 * torch.rand(3, n, 2), 100 * torch.rand(3, n, c, 2)


@pytest.mark.parametrize("count", [0, 1, 7, 24])
def test_nearest_by_brute_force(count):
    """On a grid of whole numbers many distances are equal: the lower landmark comes first."""
    shape = torch.tensor([[x, y] for x in range(5) for y in range(5)])[torch.randperm(25)]
    expected = [
        sorted((j for j in range(25) if j != i), key=lambda j: (math.dist(shape[i], shape[j]), j))[:count]
        for i in range(25)
    ]
    assert nearest(shape.float(), count).tolist() == expected


def test_landmarks_in_one_place_are_neighbours_but_none_is_its_own():
    assert nearest(torch.zeros(3, 2), 2).tolist() == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize(("landmarks", "count"), [(5, 10), (5, 5), (1, 1), (1, 10)])
def test_too_few_landmarks_are_refused(landmarks, count):
    sentence = f"num_neighbours is {count}, but of {landmarks} landmarks each has {landmarks - 1} others"
    with pytest.raises(ValueError, match=f"{sentence}; set it to {landmarks - 1}") as error:
        nearest(torch.rand(landmarks, 2), count)
    assert "\n" not in str(error.value)


def test_one_landmark_has_no_neighbour():
    neighbours = nearest(torch.rand(1, 2), 0)
    assert neighbours.shape == (1, 0)
    own = torch.tensor([[[3.0, 4.0]]])
    for merge in (Mean(), RepeatedListMean()):
        assert merge(own, torch.zeros(1, 1, 0, 2), neighbours).tolist() == own.tolist()


def test_mean_by_loops():
    neighbours, own, others = predictions(20, 4)
    expected = torch.zeros_like(own)
    for b in range(3):
        for i in range(20):
            said = [own[b, i]] + [others[b, j, k] for j in range(20) for k in range(4) if neighbours[j, k] == i]
            expected[b, i] = sum(said) / len(said)
    torch.testing.assert_close(Mean()(own, others, neighbours), expected)


@pytest.mark.parametrize(("n", "c"), [(20, 4), (98, 10), (68, 10), (3, 2)])
def test_repeated_list_mean_by_lists(n, c):
    neighbours, own, others = predictions(n, c)
    who, place = repeated_lists(neighbours).unbind(dim=-1)  # the released code's way
    expected = torch.cat([own.unsqueeze(2), others[:, who, place]], dim=2).mean(dim=2)
    torch.testing.assert_close(RepeatedListMean()(own, others, neighbours), expected)


def test_repeated_list_mean_by_hand():
    """0 is a neighbour of all others, 3 times, and 1 only of 0 and 2: its list (0, 2) becomes (0, 2, 0)."""
    neighbours = torch.tensor([[1, 2], [0, 2], [0, 1], [0, 2]])
    own, others = torch.zeros(1, 4, 2), torch.zeros(1, 4, 2, 2)
    others[0, 0, 0], others[0, 2, 1] = 4, 40  # what 0 and 2 say of 1
    assert RepeatedListMean()(own, others, neighbours)[0, 1].tolist() == [(4 + 40 + 4) / 4] * 2
    torch.testing.assert_close(Mean()(own, others, neighbours)[0, 1], torch.full((2,), 44 / 3))


@pytest.mark.parametrize("merge", [Mean(), RepeatedListMean()], ids=lambda merge: type(merge).__name__)
def test_a_landmark_that_is_nobodys_neighbour_keeps_its_own(merge):
    shape = torch.cat([torch.rand(6, 2), torch.tensor([[90.0, 90.0]])])
    neighbours = nearest(shape, 2)
    assert 6 not in neighbours
    own, others = torch.rand(2, 7, 2), torch.rand(2, 7, 2, 2)
    assert torch.equal(merge(own, others, neighbours)[:, 6], own[:, 6])


@pytest.mark.parametrize("merge", [Mean(), RepeatedListMean()], ids=lambda merge: type(merge).__name__)
def test_weights_sum_to_one(merge):
    neighbours, own, others = predictions(30, 5)
    same = torch.ones_like(own), torch.ones_like(others)
    torch.testing.assert_close(merge(*same, neighbours), torch.ones_like(own))


def test_both_means_agree_where_all_are_predicted_as_often():
    angle = 2 * math.pi * torch.arange(12) / 12
    ring = nearest(torch.stack([angle.cos(), angle.sin()], dim=-1).round(decimals=6), 2)
    own, others = torch.rand(2, 12, 2), torch.rand(2, 12, 2, 2)
    torch.testing.assert_close(Mean()(own, others, ring), RepeatedListMean()(own, others, ring))
