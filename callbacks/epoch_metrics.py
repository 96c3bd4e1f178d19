"""Means of an epoch over the ranks, gathered by all of them at the same moment."""

from typing import Any

from lightning import Callback, LightningModule


class GatherEpochMetrics(Callback):
    """Gathers what a module has logged of the epoch over all ranks, before any other callback has its turn.

    Without it rank 0, which alone has a progress bar, would gather it in order to show it, while the others wait for
    rank 0 where the checkpoint is written: for ever. It has to be the first callback.
    """

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Compute the means; Lightning keeps them."""
        _ = trainer.progress_bar_metrics
