"""Rounds and tasks of self-training."""

import pytest

from lightning_modules.pipnet.curriculum import Rounds, check_tasks, rounds
from tests.one_sentence import one_sentence

PAPER = (128, 64, 32, 32, 32)


def test_the_rounds_of_the_paper():
    """A supervised training of 60 epochs and five of the same length, each of which has pseudo-labels of its own."""
    found = rounds(360, 32, PAPER)
    assert found == Rounds(32, PAPER, 60)
    assert [found.number(epoch) for epoch in (0, 59, 60, 119, 120, 300, 359)] == [0, 0, 1, 1, 2, 5, 5]
    assert [found.task(number) for number in range(found.count)] == [32, 128, 64, 32, 32, 32]
    begun = [epoch for epoch in range(360) if found.begins(epoch)]
    assert begun == [0, 60, 120, 180, 240, 300]
    labelled = {epoch: found.labelled_after(epoch) for epoch in range(360)}
    assert {epoch: number for epoch, number in labelled.items() if number} == {59: 1, 119: 2, 179: 3, 239: 4, 299: 5}
    assert [found.share_done(epoch) for epoch in (0, 30, 59, 60, 90, 359)] == [0, 0.5, 59 / 60, 0, 0.5, 59 / 60]


def test_rounds_of_one_epoch():
    found = rounds(4, 32, (32, 32, 32))
    assert [found.number(epoch) for epoch in range(5)] == [0, 1, 2, 3, 4]
    assert [found.labelled_after(epoch) for epoch in range(4)] == [1, 2, 3, None]


@pytest.mark.parametrize("epochs", [None, -1, 0, 1, 5, 13])
def test_epochs_that_are_not_shared_out(epochs):
    nearest = {13: "set it to 12, 2 a round"}.get(epochs, "set it to 6, 1 a round")
    with one_sentence(f"trainer.max_epochs is {epochs}", "a multiple of 6", "model.init_args.tasks", nearest):
        rounds(epochs, 32, PAPER)


@pytest.mark.parametrize(
    ("tasks", "stride", "words"),
    [
        ((), 32, "tasks is [], expected the strides of at least one round, such as [32]"),
        ((96, 32), 32, "96 is not the network's stride 32 (model.init_args.stride) times 1, 2, 4"),
        ((48, 32), 32, "48 is not the network's stride"),
        ((16,), 32, "16 is not the network's stride"),
        ((0, 32), 32, "0 is not the network's stride"),
        ((-32, 32), 32, "-32 is not the network's stride"),
        ((32, 64, 32), 32, "where 64 follows 32"),
        ((128, 64), 32, "expected the network's stride 32 (model.init_args.stride) at its end"),
        (PAPER, 16, "expected the network's stride 16"),
        (PAPER, 64, "32 is not the network's stride 64"),
    ],
)
def test_tasks_that_are_no_curriculum(tasks, stride, words):
    with one_sentence("model.init_args.tasks is", words):
        check_tasks(tasks, stride)


@pytest.mark.parametrize(("tasks", "stride"), [(PAPER, 32), ((32,), 32), ((128, 16, 16), 16), ((64,), 64)])
def test_tasks_that_are_one(tasks, stride):
    check_tasks(tasks, stride)
