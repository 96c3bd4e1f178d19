"""The commands that are not Lightning's: modules with a ``main`` of their own, imported when they are asked for."""

from collections.abc import Sequence
from importlib import import_module

MODULES = {
    "prepare": "datamodules.preparation.command",
    "inspect": "callbacks.inspection.command",
    "report": "callbacks.report",
    "oracle": "callbacks.oracle.command",
    "submit": "callbacks.slurm.command",
    "dashboard": "callbacks.dashboard.command",
    "profile": "callbacks.profile.command",
}


def run_other_command(words: Sequence[str]) -> None:
    """Run the command and end the process; return where the first word is one of Lightning's, or of none.

    Raises:
        SystemExit: the command is done.
    """
    if words and words[0] in MODULES:
        import_module(MODULES[words[0]]).main(list(words[1:]))
        raise SystemExit(0)
