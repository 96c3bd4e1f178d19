"""In which order frames of videos are read, so that every loading process decodes its videos in sequence.

A frame is a row of `VideoFaces`. A sampler lists the rows of one rank; PyTorch's loader cuts the list into batches and
hands batch i to its process i % W. So the list is woven from W streams of whole videos, one a process. Where a stream
ends before the others, its process goes on with batches of theirs: it decodes forward to where they are.

Which frame a row is, and how it is augmented, does not depend on any of this.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from datamodules.face_dataset import EpochSampler

OPEN_VIDEOS = 8  # of which a loading process takes training frames in turn

Rows = NDArray[np.int64]


def balanced(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """The places of ``sizes`` in ``parts`` lists of nearly the same sum, each in order: the largest are dealt first."""
    lists: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for place in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        least = sums.index(min(sums))
        lists[least].append(place)
        sums[least] += sizes[place]
    return [sorted(places) for places in lists]


def woven(streams: Sequence[Rows], batch_size: int) -> Rows:
    """One list whose batch i is of stream i % W while all W last; batches are whole, and what is left over is last."""
    whole = [stream[: len(stream) // batch_size * batch_size].reshape(-1, batch_size) for stream in streams]
    rounds = zip_longest(*whole)
    left = [stream[len(batches) * batch_size :] for stream, batches in zip(streams, whole, strict=True)]
    pieces = [batch for batch in chain.from_iterable(rounds) if batch is not None]
    return np.concatenate([*pieces, *left, np.empty(0, np.int64)])


class FramesInSequence(DistributedSampler[Any]):
    """Every frame of whole videos, which the ranks share out.

    Ranks have as many batches as their videos need, so their numbers differ: nothing waits for another rank between the
    first batch of an evaluation and its end. Every rank has a batch: one without a video gets the first frame again,
    which the metrics drop as a repeat.

    Args:
        videos: rows of each video.
        workers: loading processes of the rank.
    """

    def __init__(self, videos: Sequence[Rows], batch_size: int, workers: int, ranks: int, rank: int) -> None:
        total: Any = range(sum(map(len, videos)))  # its length counts
        super().__init__(total, num_replicas=ranks, rank=rank, shuffle=False)
        share = balanced([len(video) for video in videos], ranks)[rank]
        mine = [videos[place] for place in share] or [videos[0][:1]]
        streams = balanced([len(video) for video in mine], max(1, workers))
        self.rows = woven([np.concatenate([mine[i] for i in places]) for places in streams if places], batch_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist())

    def __len__(self) -> int:
        return len(self.rows)


class ShuffledFrames(EpochSampler):
    """Training frames as (epoch, row): every n-th frame of each video from a random one on.

    A loading process has a few videos open and takes the next frame of a random one: the pool shuffles as a buffer of
    decoded frames would, but holds places in videos. It is a function of seed and epoch, and every rank has as many
    frames in every epoch: the total over the number of ranks, by leaving out or repeating frames at the end.

    Args:
        videos: rows of each video.
        every: n.
        workers: loading processes of the rank.

    Raises:
        ValueError: a rank would have no video.
    """

    def __init__(
        self,
        videos: Sequence[Rows],
        every: int,
        batch_size: int,
        workers: int,
        ranks: int,
        rank: int,
        seed: int,
    ) -> None:
        self.videos, self.every, self.batch_size, self.workers = videos, every, batch_size, max(1, workers)
        self.counts = [max(1, len(video) // every) for video in videos]
        if len(videos) < ranks:
            raise ValueError(
                f"there are {len(videos)} training videos for {ranks} processes, expected one a process at least; "
                "lower trainer.devices"
            )
        total: Any = range(sum(self.counts))  # its length counts
        super().__init__(total, num_replicas=ranks, rank=rank, seed=seed, drop_last=True)

    def order(self) -> Iterable[int]:
        """As `EpochSampler.order`."""
        rng = np.random.default_rng((self.seed, self.epoch))  # all ranks draw the same
        chosen = [self._every(video, count, rng) for video, count in zip(self.videos, self.counts, strict=True)]
        order = rng.permutation(len(chosen)).tolist()
        share = balanced([len(chosen[i]) for i in order], self.num_replicas)[self.rank]
        mine = [chosen[order[i]] for i in share]
        streams = balanced([len(rows) for rows in mine], self.workers)
        rng = np.random.default_rng((self.seed, self.epoch, self.rank))
        rows = woven([_mixed([mine[i] for i in places], rng) for places in streams if places], self.batch_size)
        return np.resize(rows, self.num_samples).tolist()

    def _every(self, video: Rows, count: int, rng: np.random.Generator) -> Rows:
        first = rng.integers(min(self.every, len(video)))
        return video[first :: self.every][:count]


def _mixed(videos: Sequence[Rows], rng: np.random.Generator) -> Rows:
    """The rows of all videos, each video's in order; the next is of a random one of `OPEN_VIDEOS`."""
    waiting = [iter(video.tolist()) for video in videos]
    pool, waiting = waiting[:OPEN_VIDEOS], waiting[OPEN_VIDEOS:]
    rows: list[int] = []
    while pool:
        place = int(rng.integers(len(pool)))
        if (row := next(pool[place], None)) is not None:
            rows.append(row)
        elif waiting:
            pool[place] = waiting.pop(0)
        else:
            pool.pop(place)
    return np.array(rows, np.int64)
