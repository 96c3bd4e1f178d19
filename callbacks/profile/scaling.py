"""What follows from measured figures, by formula. Seconds, bytes and samples; nothing here measures or assumes."""

import math
from collections.abc import Sequence

import numpy as np


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Intercept a and slope b of y = a + b x, by least squares of the relative errors; y is above 0.

    Relative, because transfers take from microseconds to seconds, and the short ones alone tell of latency.
    """
    slope, intercept = np.polyfit(x, y, 1, w=1 / np.asarray(y, dtype=float))
    return float(intercept), float(slope)


def gpu_seconds(flops: float, attained: float, operations: float, launch: float) -> float:
    """Time of a step on a GPU that attains so many FLOP/s, and whose host takes ``launch`` seconds an operation.

    max(FLOPs / attained, operations x launch): small batches on fast GPUs wait for the host.
    """
    return max(flops / attained, operations * launch)


def memory_bytes(static: float, fixed: float, each: float, batch: int, sides: float = 1.0) -> float:
    """Memory of a GPU at a batch: static + fixed + batch x each x sides^2.

    Args:
        static: weights, gradients and the optimiser's state.
        fixed: what a step allocates besides, whatever the batch.
        each: what it allocates for each sample, at the side that was measured.
        batch: samples a GPU.
        sides: the input's side as a multiple of that side; maps of convolutions grow with its square.
    """
    return static + fixed + batch * each * sides**2


def largest_batch(capacity: float, static: float, fixed: float, each: float, sides: float = 1.0) -> int:
    """The largest batch whose `memory_bytes` a GPU has; 0 where no sample fits."""
    return max(0, math.floor((capacity - static - fixed) / (each * sides**2)))


def ring_bytes(size: float, gpus: int) -> float:
    """Bytes that each GPU sends where gradients of ``size`` bytes are summed over all in a ring: 2 (N - 1) / N x size.

    Each sends N - 1 parts of size / N while sums are made, and as many while they are handed round.
    """
    return 2 * (gpus - 1) / gpus * size


def ring_seconds(size: float, gpus: int, latency: float, bandwidth: float) -> float:
    """Time of that: 2 (N - 1) x latency + `ring_bytes` / bandwidth, of the slowest link in bytes a second."""
    return 2 * (gpus - 1) * latency + ring_bytes(size, gpus) / bandwidth


def link_of_ring(seconds: tuple[float, float], processes: int) -> tuple[float, float]:
    """Latency and bandwidth by which `ring_seconds` gives intercept and slope (of `line`, over sizes)."""
    intercept, slope = seconds
    return max(0.0, intercept) / (2 * (processes - 1)), 2 * (processes - 1) / processes / slope


def tree_seconds(count: float, gpus: int, latency: float) -> float:
    """Time of ``count`` messages of no size to all GPUs, one after the other: count x ceil(log2 N) x latency."""
    return count * math.ceil(math.log2(gpus)) * latency


def exposed_seconds(communication: float, backward: float, overlap: float) -> float:
    """What is left of a communication beside which a share ``overlap`` of the backward pass goes on."""
    return max(0.0, communication - overlap * backward)


def loading_seconds(samples: float, workers: int, rate: float) -> float:
    """Time in which a process's workers, each loading ``rate`` samples a second, load a step's samples.

    Without a worker the process loads them itself, at that rate.
    """
    return samples / (max(workers, 1) * rate)


def workers_needed(samples: float, step: float, rate: float) -> int:
    """Least number of workers that do not starve a GPU: workers x rate >= samples / step."""
    return math.ceil(samples / step / rate - 1e-9)


def step_seconds(busy: float, loading: float, workers: int) -> float:
    """Time of a step: workers load beside it, and the slower of both tells; without any it waits for the samples."""
    return max(busy, loading) if workers else busy + loading
