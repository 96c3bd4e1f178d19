"""``report.html`` of a run, and runs side by side. Imports neither torch nor Lightning, so that it starts at once."""

from callbacks.report.command import main

__all__ = ["main"]
