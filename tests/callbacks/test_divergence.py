"""A loss that is no number stops the run, wherever among the batches it was."""

from types import SimpleNamespace

import pytest
import torch

from callbacks.divergence import StopOnDivergence


def trainer(log_every_n_steps=50):
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.25}])
    settings = {"gradient_clip_val": 1.0, "precision": "bf16-mixed", "optimizers": [optimizer], "current_epoch": 3}
    return SimpleNamespace(log_every_n_steps=log_every_n_steps, **settings)


def feed(callback, trainer, losses):
    for batch, loss in enumerate(losses):
        callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, None, batch)


@pytest.mark.parametrize("hook", ["on_validation_start", "on_train_epoch_end"])
def test_the_first_bad_batch_is_named_before_anything_is_saved(hook):
    callback = StopOnDivergence()
    feed(callback, trainer(), [1.0, 2.0, float("inf"), float("nan")])
    with pytest.raises(FloatingPointError, match=r"epoch 3, batch 2 is inf; .*now 0.25.*now 1.0.*precision=32-true"):
        getattr(callback, hook)(trainer(), None)


def test_losses_are_looked_at_every_so_many_batches():
    callback = StopOnDivergence()
    feed(callback, trainer(4), [1.0, float("nan"), 1.0])
    with pytest.raises(FloatingPointError, match="batch 1 is nan"):
        feed(callback, trainer(4), [1.0])


def test_numbers_pass():
    callback = StopOnDivergence()
    feed(callback, trainer(2), [1.0, -1e30, 0.0])
    callback.on_train_epoch_end(trainer(), None)
    assert callback.losses == []
