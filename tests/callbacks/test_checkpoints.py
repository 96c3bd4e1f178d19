"""Checkpoint files: whole or not there; the best is the best whatever happened in between."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.checkpoints import MONITOR, BestAndLast, CheckpointFiles


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path):
    files, path = CheckpointFiles(), tmp_path / "last.ckpt"
    files.save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)
    with pytest.raises(RuntimeError, match="boom"):
        files.save_checkpoint({"state_dict": Unsavable()}, path)
    assert torch.equal(files.load_checkpoint(path)["state_dict"]["a"], torch.ones(2))


class Unsavable:
    def __reduce__(self):
        raise RuntimeError("boom")


def validations(callback, scores):
    """The files saved after validations with these scores."""
    saved = []
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        fast_dev_run=False,
        current_epoch=0,
        save_checkpoint=lambda path: saved.append((score, path.name)),
    )
    for score in scores:
        trainer.callback_metrics = {MONITOR: torch.tensor(score)}
        callback.on_validation_end(trainer, SimpleNamespace(print=lambda text: None))
    return saved


def test_only_the_lowest_error_is_kept_also_after_resuming(tmp_path):
    first = BestAndLast(tmp_path / "a")
    assert validations(first, [5.0, 6.0, 4.0, float("nan")]) == [(5.0, "best.ckpt"), (4.0, "best.ckpt")]
    resumed = BestAndLast(tmp_path / "moved")
    resumed.load_state_dict(first.state_dict())
    assert validations(resumed, [4.5, 3.5]) == [(3.5, "best.ckpt")]


def test_a_missing_monitor_is_one_sentence(tmp_path):
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        fast_dev_run=False,
        callback_metrics={"val/loss": 1.0},
    )
    with pytest.raises(ValueError, match=r"logged no val/nme.*it logged: val/loss"):
        BestAndLast(tmp_path).on_validation_end(trainer, None)
