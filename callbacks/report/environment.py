"""When and with what a run was made: date, code version, packages. Imports none of them."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "opencv-python-headless", "albumentations")


def environment() -> dict[str, Any]:
    """Date (UTC), code version (None where git cannot tell), Python's and the packages' versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(ROOT),
        "packages": {"python": platform.python_version(), **dict(filter(None, map(_package, PACKAGES)))},
    }


def code_version(root: Path) -> str | None:
    """The commit of a checkout, with ``+ changes`` where its files differ; None where it is no checkout of git."""
    if not (root / ".git").exists():  # a folder in somebody else's repository has a commit that says nothing of it
        return None
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = commit and _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit} + changes" if changed else commit or None


def _git(root: Path, *words: str) -> str:
    git = shutil.which("git")
    if not git:
        return ""
    try:
        done = subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, timeout=10)  # noqa: S603 (words of ours)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _package(name: str) -> tuple[str, str] | None:
    try:
        return name, version(name)
    except PackageNotFoundError:
        return None
