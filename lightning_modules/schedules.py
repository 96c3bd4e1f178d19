"""How the learning rate goes over a training, or over one round of several. Letters: p in [0, 1), the share done."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch


class Schedule(ABC):
    """A factor on the learning rate."""

    @abstractmethod
    def __call__(self, p: float) -> float:
        """The factor where a share ``p`` of the epochs is done."""


@dataclass(frozen=True)
class Steps(Schedule):
    """A tenth after a half, a hundredth after five sixths: epochs 30 and 50 of the paper's 60.

    Args:
        first: share of the epochs before the first step.
        second: the same of the second.
        factor: of each step.
    """

    first: float = 30 / 60
    second: float = 50 / 60
    factor: float = 0.1

    def __call__(self, p: float) -> float:
        """See `Schedule`."""
        return self.factor ** ((p >= self.first - 1e-9) + (p >= self.second - 1e-9))


@dataclass(frozen=True)
class Cosine(Schedule):
    """From a small learning rate up in a line, then down to zero along a cosine.

    Args:
        warmup: share of the epochs over which it rises.
    """

    warmup: float = 0.1

    def __call__(self, p: float) -> float:
        """See `Schedule`."""
        if p < self.warmup:
            return 0.04 + 0.96 * p / self.warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (p - self.warmup) / (1 - self.warmup))))


# Checkpoints hold the schedule among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Steps, Cosine])
