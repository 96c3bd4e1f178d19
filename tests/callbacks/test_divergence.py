"""A loss that is no number stops the run, wherever among the batches it was."""

from types import SimpleNamespace

import pytest
import torch

from callbacks.divergence import StopOnDivergence
from lightning_modules.pipnet import DANN
from tests.experiment import run, write_experiment
from tests.mixed_experiment import write_mixed
from tests.tiny import Tiny


def trainer(log_every_n_steps=50):
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.25}])
    settings = {"gradient_clip_val": 1.0, "precision": "bf16-mixed", "optimizers": [optimizer], "current_epoch": 3}
    settings["strategy"] = SimpleNamespace(root_device="cpu", reduce=lambda value, reduce_op: value)
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
    assert callback.steps == []


@pytest.mark.parametrize("kind", ["faces", "mixture"])
def test_the_batch_is_kept_as_it_was(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    if kind == "faces":
        config, at = write_experiment(tmp_path, max_epochs=2, log_every_n_steps=50).name, (1, 2)
        method = Tiny
    else:
        config, at = write_mixed(tmp_path, "DANN", domain_width=8, trainer={"max_epochs": 2}).name, (1, 1)
        method = DANN
    original, seen = method.training_step, []

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        if (self.current_epoch, batch_idx) == at:
            seen.append(batch)
            return loss * float("nan")
        return loss

    monkeypatch.setattr(method, "training_step", step)
    with pytest.raises(SystemExit):
        run("fit", "--config", config, "--name", "wild")
    kept = torch.load("runs/wild/diverged.pt", weights_only=True)
    assert (kept["epoch"], kept["batch_idx"]) == at
    assert kept["loss"].isnan()
    (batch,) = seen
    assert batch.keys() == kept["batch"].keys()
    for key, value in batch.items():
        torch.testing.assert_close(kept["batch"][key], value, rtol=0, atol=0, equal_nan=True)
