"""The report that every fit and test leaves in the run's folder."""

import json
from typing import Any

from lightning import Callback

from callbacks.closed_pipes import leave_closed_pipes
from callbacks.report.environment import environment
from callbacks.report.page import write_report
from callbacks.result_meaning import device_name, parameters
from callbacks.run_folder import RunFolder, note
from callbacks.training_faces import trained_on

HELD_OUT, PUBLISHED = "held-out training faces", "the published validation faces"


class RunReport(Callback):
    """Writes ``report.html`` at the end of fit and test, and ``fit.json``.

    The latter says how long, with what and on what it was trained, and what ``val/nme`` is of.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Note what is trained, for tests while it trains, and after it was interrupted."""
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self._note(_trained(trainer, pl_module))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was done, and write the page."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        done = {"epochs": trainer.fit_loop.epoch_progress.current.started, "steps": trainer.global_step}
        self._note({**done, **_trained(trainer, pl_module)})
        self._write()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the page."""
        if trainer.is_global_zero:
            self._write()

    def _note(self, content: dict[str, Any]) -> None:
        (self.run.path / "fit.json").write_text(json.dumps(content, indent=1))

    def _write(self) -> None:
        try:
            page = write_report(self.run.path)
        except Exception as error:  # whatever it is, checkpoints and results are worth more than a page of them
            reason = " ".join(str(error).split()) or type(error).__name__
            note(f"the report of run {self.run.name} was not written: {reason}; its results are not touched")
            return
        leave_closed_pipes()
        print(f"report: {page}")


def _trained(trainer: Any, module: Any) -> dict[str, Any]:
    """What is trained, with what and on what."""
    data = trainer.datamodule
    return {
        "parameters": parameters(module),
        "device": device_name(module.device),
        "processes": trainer.world_size,
        "data": data.measured_on,
        "trained_on": trained_on(data),
        "normalizer": data.normalizer,
        "box": data.box,
        "validation": PUBLISHED if "val" in getattr(data, "published", ()) else HELD_OUT,
        **environment(),
    }
