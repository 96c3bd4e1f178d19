"""Files that can be made again: where they lie, that one process makes them, and that none is seen half written."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lightning.fabric.utilities.rank_zero import rank_zero_only


def cache_folder() -> Path:
    """The folder that LANDMARK_CACHE names, else ``landmark-suite`` in the user's cache folder (XDG)."""
    if named := os.environ.get("LANDMARK_CACHE"):
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "landmark-suite"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process, of all that see the folder, that makes ``path``; wait until the others are done.

    Raises:
        OSError: the folder cannot be made, written or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however that ends
        except BlockingIOError:
            tell_once(f"waiting for another process, which makes {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write to, whose file becomes ``path`` at the end and is removed on an error; to be used in `locked`.

    The name is always the same: what a killed process left is written over.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@cache
@rank_zero_only
def tell_once(text: str) -> None:
    """Tell the user something that is no error."""
    print(f"note: {text}", file=sys.stderr, flush=True)
