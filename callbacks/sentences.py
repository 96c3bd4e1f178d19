"""Errors that a user can mend are one sentence; errors of the program keep their traceback."""

import os
import re
import signal
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import StackSummary, extract_tb

from callbacks.arguments import UsageError
from callbacks.closed_pipes import leave_closed_pipes
from callbacks.signals import Stopped

LIBRARIES = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))
FRAME = re.compile(r'^  File "(.+)", line \d+, in .+\n    (.*)$', re.MULTILINE)  # of a printed traceback
KILLED = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)")
LOST = re.compile(r"Connection (?:closed|reset) by peer|remote process exited")  # gloo says so, and NCCL
RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+): (.+)\Z", re.MULTILINE | re.DOTALL)  # and its end
TRAINER = str(Path("lightning", "pytorch", "trainer", "trainer.py"))
OURS = ("UsageError", "ValueError", "FloatingPointError")


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with one sentence for a signal, and for an error of use or data.

    The exit status is that of `Stopped`, 2 for a mistake on the command line and 1 for other errors. Where the reader
    of the output has gone, as ``head`` does, it ends without a word, with the shell's status for that, 141.

    These are what this project raises on purpose, a file that cannot be opened, and Lightning's complaints of a
    configuration. ``LANDMARKS_TRACEBACK=1`` shows where they come from.
    """
    try:
        yield
    except Stopped as stop:
        if stop.sentence:
            print(stop.sentence, file=sys.stderr, flush=True)
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and leave_closed_pipes():
            sys.exit(128 + signal.SIGPIPE)
        cause = _cause(error)
        sentence = _sentence(cause)
        if sentence is None and cause is not error:
            raise cause from None
        if sentence is None or os.environ.get("LANDMARKS_TRACEBACK"):
            raise
        print(f"error: {sentence}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(cause, UsageError) else 1)
    finally:
        leave_closed_pipes()


def lost_another(error: BaseException) -> bool:
    """Whether an error only tells that another process of the run, with which this one was talking, is gone."""
    return isinstance(error, RuntimeError) and bool(LOST.search(str(error)))


def _cause(error: Exception) -> Exception:
    """The error of a constructor, which jsonargparse hides behind one of its own."""
    while str(error).startswith("Does not validate against any") and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _sentence(error: Exception) -> str | None:
    """What to tell the user, None for an error of the program."""
    if "in DataLoader worker process" in str(error):
        return _worker_sentence(str(error))
    if isinstance(error, RuntimeError) and (killed := KILLED.match(str(error))):
        return (
            f"a process that loads data was killed ({killed[1] or 'signal unknown'}); where memory ran out, lower "
            "data.init_args.num_workers or batch_size, or give the container more shared memory (docker run --shm-size)"
        )
    if lost_another(error):
        return "another process of this run has failed, and its own message says why; this one ends with it"
    if type(error).__name__ == "MisconfigurationException":
        return " ".join(str(error).split())
    frames = extract_tb(error.__traceback__)
    if isinstance(error, (ValueError, TypeError)) and _refused_by_trainer(frames):
        return f"trainer: {' '.join(str(error).split())}"
    on_purpose = bool(frames) and _on_purpose(frames[-1].filename, frames[-1].line or "")
    if isinstance(error, OSError) and error.filename and not on_purpose:
        return f"{error.filename}: {error.strerror}"
    if on_purpose and (type(error).__name__ in OURS or isinstance(error, OSError)):
        return str(error)
    return None


def _refused_by_trainer(frames: StackSummary) -> bool:
    """Whether Lightning raised on purpose while it read the options of its Trainer."""
    reading = any(frame.name == "__init__" and frame.filename.endswith(TRAINER) for frame in frames)
    return reading and (frames[-1].line or "").startswith("raise ")


def _worker_sentence(report: str) -> str | None:
    """The sentence in the traceback that torch makes the message of a loader's error."""
    traceback = report.rpartition("Traceback (most recent call last):\n")[2]
    frames, raised = FRAME.findall(traceback), RAISED.search(traceback)
    if not frames or not raised or not _on_purpose(*frames[-1]):
        return None
    return raised[2].strip() if raised[1] in OURS or raised[1].endswith(("FileNotFoundError", "OSError")) else None


def _on_purpose(file: str, line: str) -> bool:
    """Whether an error comes from a ``raise`` outside the libraries, rather than from a built-in function's."""
    return line.strip().startswith("raise ") and not file.startswith((*LIBRARIES, "<"))
