"""Random numbers that a resumed run draws as an uninterrupted one would have."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class StepSeed(Callback):
    """Seeds torch before each training batch from seed, epoch, batch and rank, so that nothing before matters.

    Shuffling and augmentation are functions of seed, epoch and index already; this is for what a network draws.

    Args:
        seed: ``seed_everything``.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed."""
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
