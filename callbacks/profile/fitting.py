"""A training that is begun in order to be measured, in a folder of its own."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from callbacks.arguments import UsageError

CLI = Path(__file__).resolve().parents[2] / "cli.py"
CALLBACK = "callbacks.profile.measure.Measure"
MARK = "profile: "  # begins a line of the callback's that is for the user
QUIET = ("enable_progress_bar=false", "enable_model_summary=false", "limit_val_batches=0", "num_sanity_val_steps=0")
LONG = ("max_steps=-1", "max_time=null", "fast_dev_run=false")  # it ends when all is measured


def measure_fit(words: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    """Run ``fit`` with these words and the callback, and return what it has measured.

    The training is the real one, but that its folder is a temporary one, nothing is validated, nothing is told to W&B,
    and that it ends once all is measured.

    Raises:
        UsageError: the training cannot be made; its own sentence.
        RuntimeError: it ended otherwise; its last lines.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder, "measured.json")
        callback = json.dumps({"class_path": CALLBACK, "init_args": {"out": str(out), **options}})
        command = [sys.executable, str(CLI), "fit", *words, f"--runs={folder}", "--wandb=null"]
        command += [*(f"--trainer.{option}" for option in (*QUIET, *LONG)), f"--trainer.callbacks+={callback}"]
        last = _run(command)
        if out.is_file():
            return dict(json.loads(out.read_text()))
    told = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
    if told:
        raise UsageError(told[-1])
    raise RuntimeError("the training that was to be measured ended early:\n" + "\n".join(last))


def _run(command: Sequence[str]) -> list[str]:
    """Run a command, show its lines for the user, and return its last ones."""
    last: deque[str] = deque(maxlen=40)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 (words of this command)
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                if line.startswith(MARK):
                    print(line.removeprefix(MARK), end="", flush=True)
        except BaseException:
            process.terminate()  # what stops this command stops the training
            raise
    return list(last)
