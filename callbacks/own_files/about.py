"""What the results in a folder were made of and with, so that they are not continued otherwise."""

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from callbacks.arguments import UsageError

ABOUT = "about.json"
ENDS = 2**16  # bytes at either end of a file by which it is known again; whole videos would take too long to read


class About:
    """``about.json`` beside results: what they were made with, and the files that they are of.

    Args:
        folder: of the results.
        made_with: what has to stay the same.
        option: which names the folder.

    Raises:
        UsageError: the folder holds results that were made with something else.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any], option: str) -> None:
        self.folder, self.made_with = folder, made_with
        self.remedy = f"delete it, or give another folder as {option}"
        before = json.loads((folder / ABOUT).read_text()) if self._has_results() else {}
        self.files: dict[str, str] = before.get("files", {})
        self.begun: set[str] = set()
        other = [key for key in made_with if before and before.get(key) != made_with[key]]
        if other:
            what = f"other {other[0]}" if other[0] in ("weights", "members") else f"another {other[0]}"
            raise UsageError(
                f"{folder} was made with {what} ({before.get(other[0])}, now {made_with[other[0]]}); {self.remedy}"
            )

    def _has_results(self) -> bool:
        """Whether there is anything beside the file itself, which is written before the first result."""
        own = (ABOUT, self._partial.name)
        return (self.folder / ABOUT).is_file() and any(
            path.is_file() and path.name not in own for path in self.folder.rglob("*")
        )

    @property
    def _partial(self) -> Path:
        return (self.folder / ABOUT).with_suffix(".partial")

    def check(self, sources: Iterable[Any], begun: set[str]) -> None:
        """Refuse to go on beside results of files that have changed.

        Args:
            sources: the files, as `OwnFiles` has them.
            begun: the names of those that have results, in part or whole.

        Raises:
            UsageError: one of them is not the file that it was.
        """
        self.begun = begun
        for source in sources:
            if source.name in begun and self.files.setdefault(source.name, now := _known_by(source.path)) != now:
                raise UsageError(
                    f"{source.path} is another file than the one that {self.folder} has results of; {self.remedy}"
                )

    def write(self, sources: Iterable[Any]) -> None:
        """Note all of this, once it is checked; other processes may be reading it."""
        new = {source.name: _known_by(source.path) for source in sources if source.name not in self.begun}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._partial.write_text(json.dumps({**self.made_with, "files": {**self.files, **new}}, indent=1))
        self._partial.replace(self.folder / ABOUT)


def asked(data: Any) -> dict[str, Any]:
    """What results depend on of `OwnFiles`."""
    about = {"path": str(Path(data.path).absolute()), "boxes": data.boxes and str(data.boxes)}
    about |= {key: getattr(data, key) for key in ("box", "size", "every", "threshold", "long_side")}
    return {**about, "content of boxes": digest(data.boxes)}


def digest(path: str | Path | None) -> str | None:
    """Of a file's content."""
    if not path:
        return None
    with Path(path).open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()[:32]


def _known_by(path: str) -> str:
    """Of a file's size, beginning and end; '' of what cannot be read, and of cameras."""
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            known = blake2b(str(size).encode() + file.read(ENDS), digest_size=16)
            file.seek(max(ENDS, size - ENDS))
            known.update(file.read(ENDS))
            return known.hexdigest()
    except OSError:
        return ""
