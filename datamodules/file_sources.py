"""Which files a path of the user's names: images and videos to find landmarks in, or a camera."""

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datamodules.file_index import list_files
from datamodules.unlabeled import IMAGES

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
ABOUT = "about.json"  # beside what ``predict`` and ``oracle`` write of own files
OVERLAY = re.compile(
    rf"({'|'.join(map(re.escape, (*IMAGES, *VIDEOS)))})_overlay(\.partial)?\.(jpg|mp4)$", re.IGNORECASE
)
REMEDY = "set --data.path to an image, a video, a folder of them, or camera:0"


class Source(NamedTuple):
    """A file, or a camera."""

    name: str  # below the folder that was given
    path: str
    still: bool  # a photograph


def list_sources(path: str) -> tuple[list[Source], list[str]]:
    """The images and videos of a path, and the names of what is neither.

    What ``fit``, ``predict`` and ``oracle`` wrote there is neither.

    Raises:
        FileNotFoundError, ValueError: there is nothing to predict; one sentence.
    """
    if (number := camera_number(path)) is not None:  # each recording has a name of its own
        return [Source(f"camera{number}-{time.strftime('%Y%m%d-%H%M%S')}", path, False)], []
    given = Path(path)
    if given.is_file():
        if given.suffix.lower() not in (*IMAGES, *VIDEOS):
            known = ", ".join((*IMAGES, *VIDEOS))
            raise ValueError(f"{path} is neither an image nor a video by its name, expected one of {known}; {REMEDY}")
        return [Source(given.name, str(given), given.suffix.lower() in IMAGES)], []
    names = not_written(given, list_files(given, ("",), REMEDY).name.tolist())
    usable = [name for name in names if _is_usable(name)]
    if not usable:
        raise FileNotFoundError(f"{path} holds no image and no video ({len(names)} other files); {REMEDY}")
    sources = [Source(name, str(given / name), name.lower().endswith(IMAGES)) for name in usable]
    return sources, sorted(set(names) - set(usable))


def camera_number(path: str) -> int | None:
    """Of ``camera:1`` the number; None of a file."""
    found = re.fullmatch(r"camera(?::(\d+))?", path)
    return int(found[1] or 0) if found else None


def not_written(folder: Path, names: list[str]) -> list[str]:
    """The names of files below a folder, less those of runs in it and those that ``predict`` and ``oracle`` wrote.

    A run's folder has config.yaml beside metrics.csv or checkpoints/; that of ``oracle`` has copies of videos. What
    ``predict`` writes may lie among files of the user's own: there, images and videos are its own by their names.
    """
    known, places = set(names), {_place(name) for name in names}
    runs = {
        place
        for place in places - {""}
        if f"{place}/config.yaml" in known and (f"{place}/metrics.csv" in known or f"{place}/checkpoints" in places)
    }
    about = {place for place in places if f"{place}/{ABOUT}".lstrip("/") in known}
    predicted = {place for place in about if _is_about(folder / place / ABOUT, "weights")}
    annotated = {place for place in about - {""} if _is_about(folder / place / ABOUT, "members")}
    runs, predicted = _below(places, runs | annotated), _below(places, predicted)
    return [
        name
        for name in names
        if _place(name) not in runs
        and (_place(name) not in predicted or (_is_usable(name) and not OVERLAY.search(name)))
    ]


def _is_usable(name: str) -> bool:
    return name.lower().endswith((*IMAGES, *VIDEOS))


def _place(name: str) -> str:
    return name.rpartition("/")[0]


def _below(places: Iterable[str], tops: Iterable[str]) -> set[str]:
    """Of the folders those that are one of ``tops``, or lie in one."""
    return {place for place in places for top in tops if not top or f"{place}/".startswith(f"{top}/")}


def _is_about(path: Path, models: str) -> bool:
    """Whether a file is that of ``predict`` or ``oracle``, by what it calls the models, and not another of its name."""
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"path", models} <= about.keys()
