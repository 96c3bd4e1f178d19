"""In which order annotated faces and others come, over ranks."""

import numpy as np
import pytest

from datamodules.mixture import MixtureSampler


def shown(labelled, others, ratio, epoch, world=1, rank=0, seed=0, batch_size=9):
    faces = [None] * (labelled + others)
    faces = type("Faces", (list,), {"num_labelled": labelled})(faces)
    sampler = MixtureSampler(faces, ratio, batch_size, world, rank, seed)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    assert {key[0] for key in keys} == {epoch}
    return np.array([key[1] for key in keys])


@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.5])
@pytest.mark.parametrize("others", [3, 40, 1000])
def test_the_shares_of_an_epoch_are_exact(ratio, others):
    for epoch in range(3):
        index = shown(40, others, ratio, epoch)
        assert sorted(index[index < 40]) == list(range(40))
        assert (index >= 40).sum() == 40 * ratio
        assert index.max() < 40 + others


@pytest.mark.parametrize("others", [3, 7, 40, 95])
def test_each_of_the_others_is_seen_as_often_as_any(others):
    count = np.zeros(others, int)
    for epoch in range(12):
        index = shown(20, others, 1.5, epoch)
        np.add.at(count, index[index >= 20] - 20, 1)
        assert count.max() - count.min() <= 1
    assert count.sum() == 12 * 30


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_batch_has_its_share_on_every_rank(world):
    for rank in range(world):
        index = shown(60, 500, 2.0, 1, world, rank)
        for start in range(0, len(index) - 9, 9):
            assert 2 <= (index[start : start + 9] < 60).sum() <= 4


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_out_the_epoch(world):
    parts = [shown(20, 50, 1.5, 4, world, rank) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    together, alone = np.concatenate(parts), shown(20, 50, 1.5, 4)
    assert len(set(together.tolist())) == len(together) == 50 // world * world  # the last round is left out
    assert set(together.tolist()) <= set(alone.tolist())


def test_few_faces_are_filled_up():
    parts = [shown(5, 2, 0.4, 0, 3, rank) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert set(np.concatenate(parts).tolist()) == set(shown(5, 2, 0.4, 0).tolist())


def test_the_order_depends_on_seed_and_epoch_alone():
    assert shown(20, 50, 1.0, 3).tolist() == shown(20, 50, 1.0, 3).tolist()
    assert shown(20, 50, 1.0, 3).tolist() != shown(20, 50, 1.0, 4).tolist()
    assert shown(20, 50, 1.0, 3).tolist() != shown(20, 50, 1.0, 3, seed=1).tolist()


def test_all_others_may_be_seen_in_every_epoch():
    for epoch in range(3):
        assert sorted(shown(20, 50, None, epoch).tolist()) == list(range(70))


@pytest.mark.parametrize(("ratio", "others"), [(0.5, 30), (1.0, 60), (2.3, 500), (None, 17)])
@pytest.mark.parametrize("world", [2, 3])
def test_batches_of_ranks_are_together_those_of_one_process(world, ratio, others):
    parts = [shown(60, others, ratio, 1, world, rank, batch_size=4) for rank in range(world)]
    whole = shown(60, others, ratio, 1, batch_size=4 * world)
    for batch in range(len(whole) // (4 * world)):
        of_ranks = np.stack([part[4 * batch : 4 * batch + 4] for part in parts], axis=1)
        assert of_ranks.flatten().tolist() == whole[4 * world * batch :][: 4 * world].tolist()  # sample j of rank r


def test_others_are_not_shuffled_as_the_labelled_faces_are():
    index = shown(40, 40, 1.0, 0)
    assert index[index < 40].tolist() != (index[index >= 40] - 40).tolist()
