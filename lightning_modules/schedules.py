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

    Raises:
        ValueError: shares that do not follow each other, or a factor that is not above 0.
    """

    first: float = 30 / 60
    second: float = 50 / 60
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.second <= 1:
            raise ValueError(
                f"model.init_args.schedule has steps at {self.first} and {self.second}, expected shares of the epochs, "
                "0 to 1, one after the other"
            )
        if not 0 < self.factor < math.inf:
            raise ValueError(f"model.init_args.schedule.init_args.factor is {self.factor}, expected more than 0")

    def __call__(self, p: float) -> float:
        """See `Schedule`."""
        return self.factor ** ((p >= self.first - 1e-9) + (p >= self.second - 1e-9))


@dataclass(frozen=True)
class Cosine(Schedule):
    """From a small learning rate up in a line, then down to zero along a cosine.

    Args:
        warmup: share of the epochs over which it rises.

    Raises:
        ValueError: it is not a share.
    """

    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"model.init_args.schedule.init_args.warmup is {self.warmup}, expected a share of the epochs, at least "
                "0 and below 1"
            )

    def __call__(self, p: float) -> float:
        """See `Schedule`."""
        if p < self.warmup:
            return 0.04 + 0.96 * p / self.warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (p - self.warmup) / (1 - self.warmup))))


# Checkpoints hold the schedule among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Steps, Cosine])
