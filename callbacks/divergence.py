"""Stops a run whose loss is no longer a number."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule
from torch import Tensor


class StopOnDivergence(Callback):
    """Raises once a training loss was infinite or NaN.

    Losses are looked at together, every ``trainer.log_every_n_steps`` batches and before anything is saved: a look at
    each would make the GPU wait at every step.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.batches: list[int] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the loss."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self.losses.append(loss.detach())
            self.batches.append(batch_idx)
        if len(self.losses) >= max(1, trainer.log_every_n_steps):
            self.check(trainer)

    def on_validation_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Look before the best checkpoint is chosen."""
        self.check(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Look before the last checkpoint is written."""
        self.check(trainer)

    def check(self, trainer: Any) -> None:
        """Look at the losses since the last look.

        Raises:
            FloatingPointError: one of them is infinite or NaN.
        """
        if not self.losses:
            return
        losses, batches = torch.stack(self.losses).float().cpu(), self.batches
        self.losses, self.batches = [], []
        wrong = (~losses.isfinite()).nonzero()
        if len(wrong):
            first = int(wrong[0])
            precision = "" if trainer.precision == "32-true" else " or use --trainer.precision=32-true"
            raise FloatingPointError(
                f"training diverged: the loss of epoch {trainer.current_epoch}, batch {batches[first]} is "
                f"{losses[first]:g}; lower --model.init_args.lr (now {_rate(trainer)}), set "
                f"--trainer.gradient_clip_val (now {trainer.gradient_clip_val}){precision}; start again, or --resume "
                "from the last finished epoch"
            )


def _rate(trainer: Any) -> str:
    rates = {f"{float(group['lr']):.3g}" for optimizer in trainer.optimizers for group in optimizer.param_groups}
    return " and ".join(sorted(rates)) or "none"
