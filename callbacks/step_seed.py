"""Random numbers that a resumed run draws as an uninterrupted one would have."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer


class StepSeed(Callback):
    """Seeds torch before each training batch from seed, epoch, batch and rank, so that nothing before matters.

    Shuffling and augmentation are functions of seed, epoch and index already; this is for what a network draws, such as
    dropout. What a method draws of its samples is to be the same on however many ranks: from `shared_seed`.

    Args:
        seed: ``seed_everything``.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Seed."""
        place = (self.seed, trainer.current_epoch, batch_idx)
        torch.manual_seed(_number(*place, trainer.global_rank))
        pl_module.step_seed = _number(*place)


def _number(*place: int) -> int:
    return int(np.random.SeedSequence(place).generate_state(1)[0])
