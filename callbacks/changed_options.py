"""New values of optimiser and schedule win over those that a checkpoint restores."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.run_folder import note

Options = dict[str, Any]


class ChangedOptions(Callback):
    """Lets a resumed run use what its options say now, where that differs from what they said before.

    An optimiser's state holds its options too, so that a checkpoint would bring back the old learning rate. Three
    versions are merged: as configured when the checkpoint was written, as configured now, and as restored. A value
    that the configuration changed is taken from now; the learning rate is scaled as its base was, for it may be
    anywhere on a schedule; all else stays as restored.
    """

    def __init__(self) -> None:
        self.before: Options = {}
        self.now: Options = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is configured now: optimisers are made, checkpoints not yet restored into them."""
        self.now = {
            "optimizers": [_groups(optimizer) for optimizer in trainer.optimizers],
            "schedulers": [deepcopy(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs],
        }

    def state_dict(self) -> Options:
        """What is configured now, for the checkpoint."""
        return self.now

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """What was configured when the checkpoint was written."""
        self.before = dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge, now that optimisers and schedules are restored."""
        if not self.before:
            return
        for optimizer, before, now in zip(
            trainer.optimizers, self.before["optimizers"], self.now["optimizers"], strict=True
        ):
            for restored, old, new in zip(optimizer.param_groups, before, now, strict=True):
                _merge_group(restored, old, new)
        for config, before, now in zip(
            trainer.lr_scheduler_configs, self.before["schedulers"], self.now["schedulers"], strict=True
        ):
            changed = {key: now[key] for key in now if key != "_last_lr" and now[key] != before.get(key)}
            if changed:
                config.scheduler.load_state_dict({**config.scheduler.state_dict(), **changed})


def _groups(optimizer: Any) -> list[Options]:
    return [{key: deepcopy(group[key]) for key in group if key != "params"} for group in optimizer.param_groups]


def _merge_group(restored: Options, old: Options, new: Options) -> None:
    base_before, base_now = (float(group["initial_lr" if "initial_lr" in group else "lr"]) for group in (old, new))
    if not math.isclose(base_before, base_now):
        rate = float(restored["lr"])
        restored["lr"] = rate * base_now / base_before if base_before else new["lr"]
        if restored["lr"] != rate:  # at the end of a schedule both are 0
            note(f"learning rate {_told_apart(rate, float(restored['lr']))}")
    restored.update({key: value for key, value in new.items() if key != "lr" and value != old.get(key)})


def _told_apart(before: float, now: float) -> str:
    """``before of the checkpoint is now now``, with as many digits as the two need to differ."""
    digits = next((n for n in range(4, 17) if f"{before:.{n}g}" != f"{now:.{n}g}"), 17)
    return f"{before:.{digits}g} of the checkpoint is now {now:.{digits}g}"
