"""What is said of a learning rate that a resumed run changes."""

from types import SimpleNamespace

import pytest
import torch

from callbacks.changed_options import ChangedOptions


def resumed(before, now, rate):
    """The rate after resuming at ``rate`` from a run configured with ``before``."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=before)
    trainer = SimpleNamespace(optimizers=[optimizer], lr_scheduler_configs=[])
    first, second = ChangedOptions(), ChangedOptions()
    first.on_fit_start(trainer, None)
    optimizer.param_groups[0]["lr"] = now
    second.on_fit_start(trainer, None)
    optimizer.param_groups[0]["lr"] = rate
    second.load_state_dict(first.state_dict())
    second.on_train_start(trainer, None)
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("before", "now", "rate", "expected", "told"),
    [
        (0.01, 0.002, 0.005, 0.001, "0.005 of the checkpoint is now 0.001"),
        (0.01, 0.01, 0.005, 0.005, ""),
        (0.01, 0.002, 0.0, 0.0, ""),  # the end of a cosine
        (0.3, 0.1 + 0.2, 0.005, 0.005, ""),
        (0.0, 0.002, 0.0, 0.002, "0 of the checkpoint is now 0.002"),
        (0.01, 0.01000002, 0.01, 0.01000002, "0.01 of the checkpoint is now 0.01000002"),
    ],
)
def test_a_changed_rate_is_told_and_no_other(before, now, rate, expected, told, capsys):
    assert resumed(before, now, rate) == pytest.approx(expected, rel=1e-12)
    assert capsys.readouterr().err == (f"note: learning rate {told}\n" if told else "")
