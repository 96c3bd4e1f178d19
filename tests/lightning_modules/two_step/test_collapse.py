"""Landmarks that coincide or stick to the frame are found, those that are worth something are not."""

import pytest
import torch

from lightning_modules.processes import Draws
from lightning_modules.two_step.collapse import Collapse, Collapsed, advice
from lightning_modules.two_step.deformations import RandomDeformation

SIDE = 128


def seen(landmarks, batches=8):
    """`Collapse` of landmarks that ``landmarks(here, deformation)`` finds in the deformed images."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    found = Collapse(4, SIDE, torch.device("cpu"))
    for _ in range(batches):
        here = torch.tensor([[30.0, 40], [90, 40], [64, 64], [64, 100]]) + 6 * torch.randn(16, 4, 2)
        deformation = RandomDeformation(rotation=15, elastic=0.02).draw(Draws(16, generator), SIDE, SIDE)
        here, there = landmarks(here, deformation)
        found.put(here, deformation.forward(here), there)
    return found.found(lambda values: values)


def test_landmarks_that_follow_are_fine_even_in_the_middle_of_all_images():
    def still(here, deformation):
        here = here.mean(dim=0, keepdim=True).expand_as(here)
        return here, deformation.forward(here) + 0.2 * torch.randn_like(here)

    for landmarks in (lambda here, deformation: (here, deformation.forward(here) + torch.randn_like(here)), still):
        assert seen(landmarks) == ([], [])


def test_landmarks_that_are_merely_uncertain_do_not_stick():
    assert seen(lambda here, deformation: (here, here + 20 * torch.randn_like(here))) == ([], [])


def test_landmarks_at_one_place_coincide():
    def together(here, deformation):
        here = here.clone()
        here[:, 3] = here[:, 1] + 1
        return here, deformation.forward(here)

    assert seen(together) == ([3], [])


def test_landmarks_that_stay_whatever_the_image_stick():
    def stuck(here, deformation):
        there = deformation.forward(here)
        here, there = here.clone(), there.clone()
        here[:, 0] = there[:, 0] = torch.tensor([20.0, 20.0])
        return here, there

    assert seen(stuck) == ([], [0])


@pytest.mark.parametrize("images", [1, 16])
def test_a_constellation_that_drifts_as_the_network_learns_sticks_all_the_same(images):
    """By a twelfth of the frame in an epoch; of batches of one image it must not drift."""
    torch.manual_seed(0)
    found, generator = Collapse(2, SIDE, torch.device("cpu")), torch.Generator().manual_seed(1)
    rotation = RandomDeformation(rotation=15)
    for batch in range(180):
        where = torch.tensor([[40.0, 40.0], [30.0, 90.0]]) + (batch / 180 * SIDE / 12 if images > 1 else 0.0)
        here = where.expand(images, -1, -1)
        found.put(here, rotation.draw(Draws(images, generator), SIDE, SIDE).forward(here), here)
    assert found.found(lambda values: values).stuck == [0, 1]


def test_landmarks_in_the_corner_and_those_that_jitter_stick_too():
    torch.manual_seed(0)
    found = Collapse(2, SIDE, torch.device("cpu"))
    rotation = RandomDeformation(rotation=15).draw(Draws(64, torch.Generator().manual_seed(1)), SIDE, SIDE)
    here = torch.tensor([[-0.4, -0.4], [30.0, 90.0]]) + torch.tensor([[0.0], [2.0]]) * torch.randn(64, 2, 2)
    there = torch.tensor([[-0.4, -0.4], [30.0, 90.0]]) + torch.tensor([[0.0], [2.0]]) * torch.randn(64, 2, 2)
    found.put(here, rotation.forward(here), there)
    assert found.found(lambda values: values).stuck == [0, 1]


def test_sums_of_ranks_are_those_of_all():
    def both(values):
        return 2 * values

    torch.manual_seed(0)
    here = SIDE * torch.rand(5, 4, 2)
    one, twice = (Collapse(4, SIDE, torch.device("cpu")) for _ in range(2))
    one.put(here, here, here)
    for _ in range(2):
        twice.put(here, here, here)
    torch.testing.assert_close(both(one.sums), twice.sums)
    torch.testing.assert_close(both(one.apart), twice.apart)


@pytest.mark.parametrize("landmarks", [[], [1], list(range(12))])
def test_the_log_says_what_to_change(landmarks):
    for collapsed, option in ((Collapsed(landmarks, []), "diversity"), (Collapsed([], landmarks), "variance")):
        sentences = advice(collapsed, 30)
        assert len(sentences) == bool(landmarks)
        for sentence in sentences:
            assert f"{len(landmarks)} of 30 landmarks" in sentence
            assert f"model.init_args.{option}" in sentence
    assert Collapsed([1, 2], [2, 3]).all == {1, 2, 3}
