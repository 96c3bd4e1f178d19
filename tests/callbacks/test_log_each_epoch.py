"""An epoch logs, however short it is."""

from types import SimpleNamespace

import pytest

from callbacks.log_each_epoch import LogEachEpoch
from callbacks.pinned import pinned_callbacks
from callbacks.run_folder import RunFolder


@pytest.mark.parametrize(
    ("batches", "accumulated", "interval"),
    [(4, 1, 4), (49, 1, 49), (51, 1, 50), (60, 2, 30), (5, 2, 3), (0, 1, 1), (float("inf"), 2, 50)],
)
def test_the_interval_is_at_most_an_epoch(batches, accumulated, interval):
    trainer = SimpleNamespace(num_training_batches=batches, accumulate_grad_batches=accumulated, log_every_n_steps=50)
    LogEachEpoch().on_train_epoch_start(trainer, None)
    assert trainer.log_every_n_steps == interval


def test_options_of_the_user_are_kept(tmp_path):
    def names(**options):
        trainer = {"enable_model_summary": None, "log_every_n_steps": None, **options}
        settings = {"seed_everything": 0, "trainer": trainer, "wandb": None}
        arguments = SimpleNamespace(subcommand="fit", resume=False, command=lambda: "")
        found = pinned_callbacks(RunFolder(tmp_path / "run"), arguments, settings, None, None, None)
        return {type(callback).__name__ for callback in found} & {"LogEachEpoch", "ModelTable"}

    assert names() == {"LogEachEpoch", "ModelTable"}
    assert names(log_every_n_steps=50) == {"ModelTable"}
    assert names(log_every_n_steps=0, enable_model_summary=False) == set()
