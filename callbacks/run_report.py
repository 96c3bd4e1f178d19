"""The report that every fit and test leaves in the run's folder."""

import json
from typing import Any

from lightning import Callback

from callbacks.report.environment import environment
from callbacks.report.page import write_report
from callbacks.result_meaning import device_name, parameters
from callbacks.run_folder import RunFolder, note

HELD_OUT, PUBLISHED = "held-out training faces", "the published validation faces"


class RunReport(Callback):
    """Writes ``report.html`` at the end of fit and test, and ``fit.json``.

    The latter says how long and with what it was trained, and what ``val/nme`` is of.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Note what was done, and write the page."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        data = trainer.datamodule
        done = {
            "epochs": trainer.fit_loop.epoch_progress.current.started,
            "steps": trainer.global_step,
            "parameters": parameters(pl_module),
            "device": device_name(pl_module.device),
            "processes": trainer.world_size,
            "normalizer": data.normalizer,
            "box": data.box,
            "validation": PUBLISHED if "val" in getattr(data, "published", ()) else HELD_OUT,
        }
        self._write({**done, **environment()})

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the page."""
        if trainer.is_global_zero:
            self._write()

    def _write(self, done: dict[str, Any] | None = None) -> None:
        try:
            if done:
                (self.run.path / "fit.json").write_text(json.dumps(done, indent=1))
            print(f"report: {write_report(self.run.path)}")
        except Exception as error:  # whatever it is, checkpoints and results are worth more than a page of them
            reason = " ".join(str(error).split()) or type(error).__name__
            note(f"the report of run {self.run.name} was not written: {reason}; its results are not touched")
