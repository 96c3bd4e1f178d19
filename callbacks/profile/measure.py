"""The callback that measures a training from within."""

import json
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning import Callback, LightningModule
from torch.nn.parallel import DistributedDataParallel

from callbacks.profile.communication import Collectives, all_reduce_seconds, messages, sizes_for
from callbacks.profile.fitting import MARK
from callbacks.profile.loader import cores, rates, worker_counts
from callbacks.profile.memory import PeakMemory, cut_batches, static_bytes
from callbacks.profile.operations import Operations
from callbacks.profile.timer import StepTimer, summary
from callbacks.report.environment import environment
from callbacks.result_meaning import device_name, parameters

LONGER = 10_000  # epochs added: a training of few and short ones is to go on until all is measured
COUNTED = 10  # steps in which messages are counted: some are sent with every tenth batch only


class Bystander:
    """An instrument that only lets a step pass, which the timer takes the time of as of any.

    Args:
        fine: whether a GPU is waited for after each part; where not, the step takes as long as it does in a training.
        silent: whether the processes leave out the exchange of gradients.
    """

    def __init__(self, fine: bool = False, silent: bool = False) -> None:
        self.fine, self.silent = fine, silent

    def begin(self, batch: dict[str, Any]) -> None:
        """The step's first batch is about to be computed."""

    def end(self) -> None:
        """The optimiser has made the step."""


class Measure(Callback):
    """Measures the loader alone, then the steps of each of the module's phases, writes a file, and ends the training.

    The steps are those of the training itself: its processes, precision, accumulation and callbacks. A step is one of
    the optimiser, of ``trainer.accumulate_grad_batches`` batches; in each an instrument looks on.

    Args:
        out: the file, in JSON.
        warmup: steps before any are measured, in each phase.
        steps: that are timed in each phase.
        workers: numbers of loading processes to measure; None is `worker_counts`.
    """

    def __init__(self, out: str, warmup: int = 5, steps: int = 20, workers: list[int] | None = None) -> None:
        self.out, self.warmup, self.steps, self.workers = Path(out), warmup, steps, workers
        self.found: dict[str, Any] = {"phases": []}
        self.epoch, self.in_step = 0, False

    def on_fit_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Measure what needs no steps, before the training's own loader is made."""
        data: Any = trainer.datamodule
        if getattr(data, "labelled_only", False):
            data.labelled_only = False  # the others have no labels yet: their loss is 0, and takes as long
        self.timer = trainer.profiler = StepTimer(pl_module.device)
        if trainer.is_global_zero:
            counts = self.workers or worker_counts(data.num_workers)
            self._tell(trainer, f"loading alone, with {', '.join(map(str, counts))} workers")
            self.found["loader"] = {"cores": cores(), "rates": rates(data, counts, self.steps // 2)}
        trainer.strategy.barrier()
        sent: dict[str, Any] = messages(pl_module)
        if trainer.world_size > 1:
            self._tell(trainer, f"sums over {trainer.world_size} processes")
            sent["seconds"] = all_reduce_seconds(sizes_for(sent["gradient_bytes"]), pl_module.device)
            sent |= {"backend": dist.get_backend(), "processes": trainer.world_size}
        self.found["communication"] = sent

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Take the first instrument."""
        self.found["run"] = _about(trainer, pl_module)
        self.plan = self._plan(trainer, pl_module)
        trainer.fit_loop.max_epochs = (trainer.max_epochs or 0) + LONGER
        self._go_on(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stay in the epoch that is measured, and let the instrument begin."""
        progress = trainer.fit_loop.epoch_progress.current
        progress.processed = progress.completed = self.epoch
        if not self.in_step:
            self.instrument.begin(batch)
        self.in_step = True

    def on_before_optimizer_step(self, trainer: Any, pl_module: LightningModule, optimizer: Any) -> None:
        """Leave out the optimiser."""
        if isinstance(self.instrument, Operations):
            self.instrument.look_away()

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the optimiser's step, take the next instrument."""
        if not trainer.fit_loop._should_accumulate():
            self.instrument.end()
            self.in_step = False
            self._go_on(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Leave out what follows."""
        self.timer.end()
        if isinstance(self.instrument, Collectives):
            self.instrument.look_away()

    def _go_on(self, trainer: Any) -> None:
        """Take the next instrument; where there is none, write the file.

        Raises:
            SystemExit: all is measured.
        """
        instrument = next(self.plan, None)
        if instrument is None:
            if trainer.is_global_zero:
                self.out.write_text(json.dumps({**self.found, **environment()}, indent=1))
            trainer.strategy.barrier()
            raise SystemExit(0)
        self.instrument = instrument
        self.timer.fine = getattr(instrument, "fine", False)
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            trainer.strategy.model.require_backward_grad_sync = not getattr(instrument, "silent", False)

    def _plan(self, trainer: Any, module: Any) -> Iterator[Any]:
        """The instruments, each for one step; what they found is noted on the way."""
        epochs = trainer.max_epochs or 0
        for name, epoch in module.phases().items():
            if epoch and epoch >= epochs > 0:
                continue  # the training ends before it
            self.epoch = epoch
            yield from repeat(Bystander(), self.warmup)
            phase: dict[str, Any] = {"name": name, "epoch": epoch}
            self.found["phases"].append(phase)
            yield from self._times(trainer, module, phase)
            yield (operations := Operations())
            phase |= {"flops": operations.mode.flops, "operations": operations.mode.count}
            yield from self._memory(trainer, module, phase)
        if trainer.world_size > 1:
            collectives = Collectives(COUNTED)
            yield from repeat(collectives, COUNTED)
            self.found["communication"]["collectives"] = collectives.rows()

    def _times(self, trainer: Any, module: Any, phase: dict[str, Any]) -> Iterator[Any]:
        """Steps taken apart; on a GPU whole ones too, and of several processes some without exchange, in turn."""
        kinds = {"parts": Bystander(fine=True)}
        if module.device.type == "cuda":
            kinds["whole"] = Bystander()
        if isinstance(trainer.strategy.model, DistributedDataParallel):
            kinds["silent"] = Bystander(fine=True, silent=True)
        self._tell(trainer, f"{phase['name']}: {self.steps * len(kinds)} steps")
        batches: dict[str, list[slice]] = {kind: [] for kind in kinds}
        for _ in range(self.steps):
            for kind, instrument in kinds.items():
                first = len(self.timer.batches)
                yield instrument
                batches[kind].append(slice(first, len(self.timer.batches)))
        yield Bystander()  # the last step's time is known once the next one begins
        for kind, steps in batches.items():
            phase[kind] = summary([self.timer.batches[step] for step in steps])

    def _memory(self, trainer: Any, module: Any, phase: dict[str, Any]) -> Iterator[Any]:
        """What steps of smaller batches allocate."""
        batches = cut_batches(trainer.datamodule.batch_size)
        yield PeakMemory(module.device, batches[-1])  # in its first step torch's profiler cannot tell what is freed
        instruments = [PeakMemory(module.device, batch) for batch in batches]
        yield from instruments
        phase["memory"] = {
            **static_bytes(module, trainer.optimizers, trainer.world_size > 1),
            "batches": [[instrument.samples, instrument.bytes] for instrument in instruments],
        }

    @staticmethod
    def _tell(trainer: Any, text: str) -> None:
        if trainer.is_global_zero:
            print(f"{MARK}{text}", flush=True)


def _about(trainer: Any, module: Any) -> dict[str, Any]:
    """What is trained, and how."""
    data = trainer.datamodule
    return {
        "method": type(module).__name__,
        "parameters": parameters(module),
        "data": data.train_title,
        "size": data.size,
        "batch": data.batch_size,
        "accumulated": trainer.accumulate_grad_batches,
        "workers": data.num_workers,
        "samples_an_epoch": trainer.num_training_batches * data.batch_size * trainer.world_size,
        "epochs": trainer.max_epochs,
        "device": device_name(module.device),
        "on_gpu": module.device.type == "cuda",
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
    }
