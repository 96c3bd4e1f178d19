"""Saves a training in the middle of an epoch where a signal asks for it."""

from typing import Any

import torch
from lightning import Callback, LightningModule

from callbacks.checkpoints import LAST
from callbacks.divergence import StopOnDivergence
from callbacks.run_folder import RunFolder
from callbacks.signals import REQUEST, Stopped

EVERY = 10  # batches after which processes tell each other of signals; a look after each would make GPUs wait


class SaveOnSignal(Callback):
    """Writes last.ckpt and ends the training once one of its processes has a `Request`.

    All end after the same batch. The run that goes on from there makes the steps that an uninterrupted one would have
    made: samplers leave out the samples that were had, and nothing that is drawn depends on what was drawn before.
    After the last batch of an epoch nothing is done, for its end saves too. Only the means of an epoch that are logged
    of the training are of its batches since the interruption.

    Args:
        run: the run's folder.
        divergence: looks at the losses first, so that no diverged weights are saved.
    """

    def __init__(self, run: RunFolder, divergence: StopOnDivergence) -> None:
        self.run, self.divergence = run, divergence
        self.ending = False

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """End at once where the signal came while the training was being prepared.

        Raises:
            Stopped: it did.
        """
        REQUEST.possible = True
        if self._asked(trainer):
            raise Stopped(self._signum(trainer))

    def on_train_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """From here on there is nothing to save."""
        REQUEST.possible = False

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end, where it is asked for and the optimiser has just made a step.

        Raises:
            Stopped: after saving.
        """
        if trainer.world_size == 1 or batch_idx % EVERY == 0:
            self.ending = self.ending or self._asked(trainer)
        loop = trainer.fit_loop
        if not self.ending or trainer.is_last_batch or loop._should_accumulate():
            return
        if loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            return  # a validation comes first, which the run that goes on would leave out
        self.divergence.check(trainer)
        trainer._logger_connector.on_batch_end()
        trainer._logger_connector.update_train_step_metrics()  # Lightning would after this hook
        if not trainer.fast_dev_run:
            trainer.save_checkpoint(self.run.checkpoint(LAST))
        raise Stopped(self._signum(trainer), saved=not trainer.fast_dev_run)

    @staticmethod
    def _asked(trainer: Any) -> bool:
        """Whether any process has a request."""
        return bool(trainer.strategy.reduce_boolean_decision(REQUEST.signum != 0, all=False))

    @staticmethod
    def _signum(trainer: Any) -> int:
        """Of the signal: the highest number any process got, for not all of them need to have got one."""
        number = torch.tensor(REQUEST.signum, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(number, reduce_op="max"))
