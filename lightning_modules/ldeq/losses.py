"""Losses on LDEQ's points, in shares of the input's side. Letters: B faces, N landmarks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class PointLoss(ABC):
    """Loss of predicted points (B, N, 2) against true ones, both in shares of the input's side; a scalar."""

    @abstractmethod
    def __call__(self, points: Tensor, target: Tensor) -> Tensor:
        """The mean over faces, landmarks and axes."""


@dataclass(frozen=True)
class MeanSquare(PointLoss):
    """The paper's loss (Eq. 4)."""

    def __call__(self, points: Tensor, target: Tensor) -> Tensor:
        """See `PointLoss`."""
        return (points - target).square().mean()


@dataclass(frozen=True)
class MeanAbsolute(PointLoss):
    """L1: NME is a mean of distances, not of their squares."""

    def __call__(self, points: Tensor, target: Tensor) -> Tensor:
        """See `PointLoss`."""
        return (points - target).abs().mean()


# Checkpoints hold the loss among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([MeanSquare, MeanAbsolute])
