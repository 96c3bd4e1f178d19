import itertools

import numpy as np
import pytest

from datamodules.video_order import OPEN_VIDEOS, FramesInSequence, ShuffledFrames, balanced, woven


def videos(*lengths):
    return np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])


LENGTHS = (50, 7, 31, 12, 44, 3, 90, 18)


def handed_out(rows, batch_size, workers):
    """The rows that each process of PyTorch's loader is asked for, in order."""
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [[row for batch in batches[worker::workers] for row in batch] for worker in range(workers)]


def test_balanced_by_hand():
    """9 | 5; then 4 to the second (9 | 9), 4 to the first (13 | 9), 1 to the second."""
    assert balanced([5, 9, 1, 4, 4], 2) == [[1, 4], [0, 2, 3]]


def test_woven_by_hand():
    rows = woven([np.arange(5), np.arange(10, 17)], batch_size=2)
    assert rows.tolist() == [0, 1, 10, 11, 2, 3, 12, 13, 14, 15, 4, 16]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_process_reads_its_videos_in_sequence(workers, batch_size):
    rows = FramesInSequence(videos(*LENGTHS), batch_size, workers, ranks=1, rank=0)
    assert sorted(rows) == list(range(sum(LENGTHS)))
    assert len(rows) == sum(LENGTHS)
    jumps = 0
    for read in handed_out(list(rows), batch_size, workers):
        jumps += sum(after != before + 1 for before, after in itertools.pairwise(read))
    assert jumps <= len(LENGTHS) + 3 * workers + max(LENGTHS) // batch_size  # ends of videos, of streams, uneven ends


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_share_whole_videos_each_frame_once(ranks):
    shares = [list(FramesInSequence(videos(*LENGTHS), 4, 2, ranks, rank)) for rank in range(ranks)]
    assert sorted(row for share in shares for row in share) == list(range(sum(LENGTHS)))
    of_video = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    held = [set(of_video[share].tolist()) for share in shares]
    assert sum(map(len, held)) == len(LENGTHS)
    assert max(map(len, shares)) <= max(max(LENGTHS), sum(LENGTHS) / ranks + max(LENGTHS) / 2)


def test_more_ranks_than_videos():
    shares = [list(FramesInSequence(videos(5, 4), 4, 1, 3, rank)) for rank in range(3)]
    assert shares == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [0]]


def shuffled(epoch, lengths=LENGTHS, every=3, batch_size=4, workers=2, ranks=1, rank=0, seed=0):
    sampler = ShuffledFrames(videos(*lengths), every, batch_size, workers, ranks, rank, seed)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    assert {epoch for epoch, _ in keys} == {epoch}
    return [row for _, row in keys]


def test_training_takes_every_third_frame_from_another_one_on():
    of_video = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    starts = set()
    for epoch in range(12):
        rows = shuffled(epoch)
        assert len(rows) == len(set(rows)) == sum(length // 3 for length in LENGTHS)
        for video in range(len(LENGTHS)):
            taken = sorted(row for row in rows if of_video[row] == video)
            assert len(taken) == LENGTHS[video] // 3
            assert set(np.diff(taken)) <= {3}
            starts.add((video, taken[0] - int(np.flatnonzero(of_video == video)[0])))
    assert starts == {(video, first) for video in range(len(LENGTHS)) for first in range(3)}


def test_training_order_is_of_seed_and_epoch():
    assert shuffled(3) == shuffled(3)
    assert shuffled(3) != shuffled(4)
    assert shuffled(3) != shuffled(3, seed=1)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_a_training_process_goes_forward_in_each_video(workers):
    lengths = (40,) * 30
    rows = shuffled(0, lengths, every=1, workers=workers)
    of_video = np.repeat(np.arange(30), 40)
    back = 0
    for read in handed_out(rows, 4, max(1, workers)):
        for video in range(30):
            taken = [row for row in read if of_video[row] == video]
            back += sum(after < before for before, after in itertools.pairwise(taken))
    assert back <= 3 * max(1, workers)  # what is left over of the streams comes last


def test_a_batch_is_of_several_videos_but_few_are_open():
    lengths = (40,) * 30
    rows = shuffled(0, lengths, every=1, batch_size=16, workers=1)
    of_video = np.repeat(np.arange(30), 40)[rows]
    kinds = [len(set(of_video[i : i + 16])) for i in range(0, len(rows) // 2, 16)]
    assert 4 < np.mean(kinds) <= OPEN_VIDEOS
    first, last = (
        {video: int(at) for at, video in order}
        for order in (list(enumerate(of_video))[::-1], list(enumerate(of_video)))
    )
    assert max(sum(first[v] <= at <= last[v] for v in range(30)) for at in range(len(rows))) <= OPEN_VIDEOS


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_train_on_other_videos_in_as_many_steps(ranks):
    of_video = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    for epoch in range(4):
        shares = [shuffled(epoch, ranks=ranks, rank=rank) for rank in range(ranks)]
        assert {len(share) for share in shares} == {sum(length // 3 for length in LENGTHS) // ranks}
        held = [set(of_video[share].tolist()) for share in shares]
        assert not set.intersection(*held)


def test_a_video_shorter_than_the_stride_gives_a_frame():
    assert {shuffled(epoch, (2, 9), every=5)[0] < 11 for epoch in range(5)} == {True}
    assert {row for epoch in range(30) for row in shuffled(epoch, (2, 1), every=5)} == {0, 1, 2}


def test_too_few_videos_for_the_ranks():
    with pytest.raises(ValueError, match=r"there are 2 training videos for 3 processes, .* lower trainer\.devices"):
        shuffled(0, (5, 5), ranks=3)
