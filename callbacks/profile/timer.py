"""Where the time of training steps goes, by the actions that Lightning tells a profiler."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.profilers import Profiler

WAIT, TRANSFER, FORWARD, BACKWARD, OPTIMISER, REST = PARTS = (
    "waiting for data",
    "transfer to the device",
    "forward and loss",
    "backward",
    "optimiser",
    "rest",
)
NEXT = ".train_dataloader_next"  # the action that a batch begins with
ENDS = {  # of actions: which part of a step they are
    NEXT: WAIT,
    ".batch_to_device": TRANSFER,
    "_batch_transfer": TRANSFER,
    ".training_step": FORWARD,
    ".backward": BACKWARD,
    ".optimizer_step": OPTIMISER,
    ".optimizer_zero_grad": OPTIMISER,
    ".configure_gradient_clipping": OPTIMISER,
}
Spent = Mapping[str, float]  # seconds by action, or by part


class StepTimer(Profiler):
    """Takes the time of each batch apart: every moment belongs to the innermost action that is going on.

    So the times of a batch's actions sum up to the time from its fetching to the next one's.

    Args:
        device: that is computed on. A GPU is waited for at each action's beginning and end, where ``fine``.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.fine = device, False
        self.batches: list[dict[str, float]] = []
        self._going_on: list[str] = []
        self._last = 0.0
        self._open = False

    def start(self, action_name: str) -> None:
        """An action begins; a batch does with the fetching of it."""
        self._spend(whole=action_name.endswith(NEXT))
        if action_name.endswith(NEXT):
            self.batches.append(defaultdict(float))
            self._open = True
        self._going_on.append(action_name)

    def stop(self, action_name: str) -> None:
        """An action ends."""
        self._spend()
        self._going_on.pop()

    def end(self) -> None:
        """End the batch before another begins: what follows is of the epoch's end."""
        self._spend(whole=True)
        self._open = False

    def _spend(self, whole: bool = False) -> None:
        if self.device.type == "cuda" and (self.fine or whole):
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._open:
            self.batches[-1][self._going_on[-1] if self._going_on else ""] += now - self._last
        self._last = now


def part_of(action: str) -> str:
    """Which of `PARTS` an action is."""
    return next((part for end, part in ENDS.items() if action.endswith(end)), REST)


def by_part(spent: Spent) -> dict[str, float]:
    """Seconds by part."""
    parts = dict.fromkeys(PARTS, 0.0)
    for action, seconds in spent.items():
        parts[part_of(action)] += seconds
    return parts


def summary(steps: Sequence[Sequence[Spent]]) -> dict[str, Any]:
    """Seconds of steps, each of one batch or more.

    ``parts`` and ``actions`` (of the rest) are means over the middle half of the steps, from the quickest to the
    slowest: robust, and parts still sum up to ``step``. ``quartiles`` are of all steps.
    """
    spent = [_sum(batches) for batches in steps]
    order = sorted(spent, key=lambda each: sum(each.values()))
    cut = len(order) // 4
    actions = {key: value / (len(order) - 2 * cut) for key, value in _sum(order[cut : len(order) - cut]).items()}
    parts = [by_part(each) for each in spent]
    return {
        "steps": len(steps),
        "step": sum(actions.values()),
        "parts": by_part(actions),
        "actions": {key: value for key, value in actions.items() if part_of(key) == REST},
        "quartiles": {
            "step": _quartiles([sum(each.values()) for each in spent]),
            **{part: _quartiles([each[part] for each in parts]) for part in PARTS},
        },
    }


def _sum(spent: Sequence[Spent]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for each in spent:
        for key, seconds in each.items():
            total[key] += seconds
    return dict(total)


def _quartiles(seconds: Sequence[float]) -> list[float]:
    """The lower one, the median and the upper one."""
    return np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
