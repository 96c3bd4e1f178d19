"""Every moment of a step belongs to one action."""

from itertools import accumulate

import pytest
import torch

from callbacks.profile.timer import BACKWARD, FORWARD, OPTIMISER, REST, TRANSFER, WAIT, StepTimer, summary

NEXT = "[_TrainingEpochLoop].train_dataloader_next"
STEP = [  # what Lightning tells a profiler in a batch, and the milliseconds before it
    ("start", NEXT, 1),
    ("stop", NEXT, 10),
    ("start", "[Strategy]SingleDeviceStrategy.batch_to_device", 1),
    ("stop", "[Strategy]SingleDeviceStrategy.batch_to_device", 2),
    ("start", "run_training_batch", 1),
    ("start", "[LightningModule]Tiny.optimizer_step", 1),
    ("start", "[Strategy]SingleDeviceStrategy.training_step", 1),
    ("stop", "[Strategy]SingleDeviceStrategy.training_step", 20),
    ("start", "[Strategy]SingleDeviceStrategy.backward", 1),
    ("stop", "[Strategy]SingleDeviceStrategy.backward", 30),
    ("stop", "[LightningModule]Tiny.optimizer_step", 5),
    ("stop", "run_training_batch", 1),
    ("start", "[Callback]Device.on_train_batch_end", 1),
    ("stop", "[Callback]Device.on_train_batch_end", 3),
]


def timed(monkeypatch, steps, end=True):
    """The batches of a timer that is told of these actions, at their moments."""
    moments = iter(accumulate(0.001 * wait for step in steps for *_, wait in step))
    monkeypatch.setattr("time.perf_counter", lambda: next(moments, 1e6))
    timer = StepTimer(torch.device("cpu"))
    for step in steps:
        for what, action, _ in step:
            getattr(timer, what)(action)
    timer.end()
    return timer.batches


def test_a_step_is_taken_apart(monkeypatch):
    batches = timed(monkeypatch, [STEP, STEP])
    found = summary([batches[:1]])
    milliseconds = {part: 1000 * seconds for part, seconds in found["parts"].items()}
    assert milliseconds == pytest.approx({WAIT: 10, TRANSFER: 2, FORWARD: 20, BACKWARD: 30, OPTIMISER: 7, REST: 9})
    assert 1000 * found["step"] == pytest.approx(sum(wait for *_, wait in STEP))
    assert found["actions"]["[Callback]Device.on_train_batch_end"] == pytest.approx(0.003)


def test_the_slowest_and_the_quickest_do_not_count():
    """Ten times are of the middle half; parts of the same steps sum up to its mean."""
    steps = [[{NEXT: wait, "[Strategy]S.backward": 1.0}] for wait in (9.0, 0.0, 2.0, 3.0)]
    found = summary(steps)
    assert found["step"] == pytest.approx(3.5)
    assert found["parts"][WAIT] == pytest.approx(2.5)
    assert sum(found["parts"].values()) == pytest.approx(found["step"])
    assert found["quartiles"]["step"] == pytest.approx([2.5, 3.5, 5.5])


def test_batches_that_are_accumulated_make_one_step():
    found = summary([[{NEXT: 1.0}, {NEXT: 2.0, "[LightningModule]M.optimizer_step": 4.0}]])
    assert found["parts"][WAIT] == 3
    assert found["parts"][OPTIMISER] == 4
