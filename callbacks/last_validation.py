"""Validation after the last epoch, whatever the interval of validation is."""

from typing import Any

from lightning import Callback


class LastValidation(Callback):
    """Validates after epoch ``trainer.max_epochs`` too, so that a finished run has a best checkpoint.

    ``trainer.check_val_every_n_epoch`` alone would leave out the last epochs, or all of a short run.
    """

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Let Lightning validate after this epoch if it is the last; without an interval of epochs that is left."""
        if trainer.check_val_every_n_epoch and trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    on_train_start = on_train_epoch_start  # which is left out of an epoch that is gone on with
