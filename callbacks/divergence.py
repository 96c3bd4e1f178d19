"""Stops a run whose loss is no longer a number, and keeps the batch that it came of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule
from torch import Tensor
from torch.utils.data import default_collate

from callbacks.ranks import from_all_ranks

FILE = "diverged.pt"


class _Step(NamedTuple):
    """What is remembered of a batch until its loss is looked at."""

    loss: Tensor
    batch: int
    faces: Tensor | None  # their indices in the dataset


class StopOnDivergence(Callback):
    """Raises once a training loss was infinite or NaN; ``diverged.pt`` in the run's folder then has the batch.

    Losses are looked at together, every ``trainer.log_every_n_steps`` batches and before anything is saved: a look at
    each would make the GPU wait at every step. The batch is read again, which gives the same faces with the same
    augmentation: it need not be kept until then.
    """

    def __init__(self) -> None:
        self.steps: list[_Step] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the loss."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            index = batch.get("index") if isinstance(batch, Mapping) else None
            self.steps.append(_Step(loss.detach(), batch_idx, index))
        if len(self.steps) >= max(1, trainer.log_every_n_steps):
            self.check(trainer)

    def on_validation_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Look before the best checkpoint is chosen."""
        self.check(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Look before the last checkpoint is written."""
        self.check(trainer)

    def check(self, trainer: Any) -> None:
        """Look at the losses since the last look, all processes at the same time.

        Raises:
            FloatingPointError: one of them is infinite or NaN, on any process; all say which came first.
        """
        if not self.steps:
            return
        steps, self.steps = self.steps, []
        wrong = (~torch.stack([step.loss for step in steps]).float().isfinite()).nonzero()
        own = int(wrong[0]) if len(wrong) else len(steps)
        first = int(trainer.strategy.reduce(torch.tensor(own, device=trainer.strategy.root_device), reduce_op="min"))
        if first == len(steps):
            return
        step = steps[first]
        told = from_all_ranks([(float(step.loss), _kept(trainer, step))] if own == first else [])
        files = [file for _, file in told if file]
        kept = f" ({' and '.join(files)} {'has' if len(files) == 1 else 'have'} the batch)" if files else ""
        precision = "" if trainer.precision == "32-true" else " or use --trainer.precision=32-true"
        raise FloatingPointError(
            f"training diverged: the loss of epoch {trainer.current_epoch}, batch {step.batch} is {told[0][0]:g}"
            f"{kept}; lower --model.init_args.lr (now {_rate(trainer)}), set "
            f"--trainer.gradient_clip_val (now {trainer.gradient_clip_val}){precision}; start again, or --resume from "
            "the last finished epoch"
        )


def _kept(trainer: Any, step: _Step) -> str:
    """The file that the batch of a step is kept in, '' where there is none."""
    if step.faces is None or trainer.fast_dev_run:
        return ""
    dataset = trainer.train_dataloader.dataset
    batch = default_collate([dataset[(trainer.current_epoch, int(index))] for index in step.faces.cpu()])
    rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
    path = Path(trainer.default_root_dir, FILE).with_stem(f"diverged{rank}")
    about = {"epoch": trainer.current_epoch, "batch_idx": step.batch, "loss": step.loss.cpu(), "batch": batch}
    torch.save(about, path)
    return str(path)


def _rate(trainer: Any) -> str:
    rates = {f"{float(group['lr']):.3g}" for optimizer in trainer.optimizers for group in optimizer.param_groups}
    return " and ".join(sorted(rates)) or "none"
