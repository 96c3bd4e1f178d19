"""How many samples loading processes deliver, with nothing else going on."""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

ROUNDS = 3


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_counts(configured: int) -> list[int]:
    """No worker, and 1, 2, 4, ... of them to one a core; and as many as the config has."""
    powers = [2**exponent for exponent in range(cores().bit_length())]
    return sorted({0, *powers, cores(), configured})


def rates(data: Any, counts: Sequence[int], batches: int) -> dict[int, float]:
    """Samples a second of a datamodule's training batches, by number of workers.

    Of three rounds the quickest: whatever else a machine does can only slow them down.

    Args:
        data: gives ``train_dataloader``, and takes ``num_workers``.
        counts: of workers.
        batches: of a round, at least; each worker loads two or more.
    """
    configured, found = data.num_workers, dict.fromkeys(counts, 0.0)
    for _, workers in product(range(ROUNDS), counts):
        data.num_workers = workers
        loaded = _endless(data.train_dataloader())
        for _ in islice(loaded, 1 + 2 * workers):  # what was loaded while workers started
            pass
        start = time.perf_counter()
        samples = sum(len(batch["image"]) for batch in islice(loaded, max(batches, 2 * workers)))
        found[workers] = max(found[workers], samples / (time.perf_counter() - start))
    data.num_workers = configured
    return found


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
