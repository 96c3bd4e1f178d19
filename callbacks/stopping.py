"""What a run does about the signals that stop it."""

import signal
from contextlib import suppress
from subprocess import TimeoutExpired
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.checkpoints import LAST
from callbacks.run_folder import RunFolder
from callbacks.sentences import lost_another
from callbacks.signals import Stopped

SECONDS = 5.0  # that a process which has failed may take to end


class Stopping(Callback):
    """Ends the other processes of a run that a signal stops, and says how to continue it.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.handler: Any = signal.SIG_DFL

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        """Remember who handles SIGTERM: Lightning is about to replace it."""
        self.handler = signal.getsignal(signal.SIGTERM)

    def keep_handler(self, trainer: Any, pl_module: LightningModule) -> None:
        """Put it back.

        Lightning's waits for the end of a batch and then ends with status 0; on several processes it broadcasts from
        within whatever collective operation is going on, which may never end.
        """
        signal.signal(signal.SIGTERM, self.handler)

    on_train_start = on_validation_start = on_test_start = on_predict_start = keep_handler

    def on_exception(self, trainer: Any, pl_module: LightningModule, exception: BaseException) -> None:
        """End the processes that Lightning started, and add to the sentence of a signal what is kept."""
        processes = getattr(trainer.strategy.launcher, "procs", [])
        for process in processes:
            if lost_another(exception):
                with suppress(TimeoutExpired):
                    process.wait(SECONDS)  # for what it has to say
            process.kill()  # it may wait for this one, deaf to other signals
        processes.clear()  # or else Lightning's observer of them kills this one too
        if not isinstance(exception, Stopped):
            return
        if not trainer.is_global_zero:
            exception.sentence = ""
        elif trainer.state.fn == TrainerFn.FITTING and self.run.config.is_file() and not trainer.fast_dev_run:
            kept = "its last finished epoch" if self.run.checkpoint(LAST).is_file() else "no epoch yet"
            if exception.saved:
                kept = f"what it has done of epoch {trainer.current_epoch}"
            command = self.run.training_command()
            exception.sentence += f"; run {self.run.name} keeps {kept}; continue it with: {command}"
