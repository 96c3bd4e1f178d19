"""Short epochs log too."""

import math
from typing import Any

from lightning import Callback

USUAL = 50  # steps: Lightning's, where ``trainer.log_every_n_steps`` is not set


class LogEachEpoch(Callback):
    """Logs at least one step of each epoch, and every 50th of long ones."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the number of steps of an epoch that has fewer."""
        batches = trainer.accumulate_grad_batches  # of a step
        trainer.log_every_n_steps = math.ceil(min(USUAL * batches, trainer.num_training_batches) / batches) or 1

    on_train_start = on_train_epoch_start  # which is left out of an epoch that is gone on with
