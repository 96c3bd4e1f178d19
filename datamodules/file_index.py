"""Folders of many small files: listed in about a second for 200,000, and parsed once.

A dataset with an annotation file for each image or frame reads

    files = list_files(root, (".pts",), "set data.init_args.root to ...")  # sorted; below root, in all its folders
    points = parsed(files, read_pts)                                       # (M, 68, 2), row i is of files.name[i]

where ``read_pts(path) -> array`` parses one file. What `parsed` finds is kept in the cache folder (`cache_files`) and
checked at each opening against names, sizes and times of the files: only new and changed ones are parsed again. Rows
are columns of arrays, so that workers share them.
"""

import inspect
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from datamodules.cache_files import cache_folder, locked, tell_once, written_whole

Values = NDArray[Any]
Parse = Callable[[Path], Any]
MANY = 5000  # files; reading more shows a bar
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class FileList:
    """Files in a folder and in those below it, as columns in the order of their names.

    Args:
        folder: where they are.
        suffixes: what their names end in.
        name: (M,) from ``folder`` on, with "/" between folders.
        size: (M,) in bytes.
        modified: (M,) in nanoseconds since 1970.
    """

    folder: Path
    suffixes: tuple[str, ...]
    name: NDArray[np.str_]
    size: NDArray[np.int64]
    modified: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.name)

    @property
    def path(self) -> NDArray[np.str_]:
        """(M,) with the folder before the name."""
        return np.strings.add(f"{self.folder}/", self.name)


def list_files(folder: Path, suffixes: Sequence[str], remedy: str) -> FileList:
    """The files whose names end in one of ``suffixes``, in small letters or capitals.

    Names that begin with a dot are left out, files and folders: file systems keep their own notes there (``._a.jpg``).

    Raises:
        FileNotFoundError: no such folder or none of these files in it; with ``remedy``, which says what to do.
        ValueError: not a folder, or a link that leads in a circle.
        OSError: a folder cannot be read, or a link leads nowhere.
    """
    if folder.is_file():
        raise ValueError(f"{folder} is a file, expected a folder; {remedy}")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} not found; {remedy}")
    endings = tuple(suffix.lower() for suffix in suffixes)
    found: list[tuple[str, int, int]] = []
    _collect(f"{folder}/", "", endings, (), found)
    if not found:
        ending = f" that ends in {' or '.join(suffixes)}" if all(suffixes) else ""
        raise FileNotFoundError(f"{folder} has no file{ending}; {remedy}")
    found.sort()
    name, size, modified = zip(*found, strict=True)
    return FileList(folder, endings, np.array(name), np.array(size, np.int64), np.array(modified, np.int64))


def _collect(
    root: str, below: str, endings: tuple[str, ...], above: tuple[tuple[int, int], ...], found: list[Any]
) -> None:
    """Add name, size and time of the files in ``root + below``; ``above`` are the folders that hold this one."""
    try:
        status = Path(root + below).stat()
        if (own := (status.st_dev, status.st_ino)) in above:
            raise ValueError(f"{root}{below} is a link to a folder that holds it; remove the link")
        with os.scandir(root + below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    _collect(root, f"{below}{entry.name}/", endings, (*above, own), found)
                elif entry.name.lower().endswith(endings):
                    status = entry.stat()
                    found.append((below + entry.name, status.st_size, status.st_mtime_ns))
    except OSError as error:
        if not error.filename:  # an error that has been told already
            raise
        raise type(error)(f"{error.filename} cannot be read ({error.strerror}); correct or remove it") from error


def parsed(files: FileList, parse: Parse) -> Values:
    """What ``parse`` makes of each file, (M, ...), an array of one shape and type for all.

    The cache is of this folder and this function: another text of the function's module, or other arguments of a
    `functools.partial`, is another cache. So ``parse`` may depend on its file, its module and its arguments only.
    Where a file is refused, those before it need not be parsed again.

    Raises:
        ValueError: two files give arrays of two shapes or types; or whatever ``parse`` raises.
    """
    path = cache_folder() / f"index-{_key(files, parse)}.npz"
    known = _read(path)
    if known and known.lists(files):
        return known.values
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except OSError as error:
            _tell_not_kept(error)
            return _parse(files, parse, known, None)
        known = _read(path)  # another process may have been here
        return known.values if known and known.lists(files) else _parse(files, parse, known, path)


class _Parsed(NamedTuple):
    """Values of files, and which files they were."""

    name: NDArray[np.str_]
    size: NDArray[np.int64]
    modified: NDArray[np.int64]
    values: Values

    def lists(self, files: FileList) -> bool:
        return all(np.array_equal(getattr(self, key), getattr(files, key)) for key in ("name", "size", "modified"))

    def rows(self, files: FileList) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which files (M,) are known and unchanged, and at which row."""
        row = np.searchsorted(self.name, files.name).clip(max=len(self.name) - 1)
        same = (self.name[row] == files.name) & (self.size[row] == files.size) & (self.modified[row] == files.modified)
        return same, row


def _parse(files: FileList, parse: Parse, known: _Parsed | None, path: Path | None) -> Values:
    """Parse what is not known, and keep all of it at ``path``."""
    if known:
        done, row = known.rows(files)
        values = known.values[row]
    else:
        first = np.asarray(parse(files.folder / str(files.name[0])))
        done = np.arange(len(files)) == 0
        values = np.zeros((len(files), *first.shape), first.dtype)
        values[0] = first
    rows, screen = np.flatnonzero(~done), Console(stderr=True)
    try:
        for i in track(rows, "reading annotation files, once", console=screen, disable=len(rows) < MANY):
            source = files.folder / str(files.name[i])
            value = np.asarray(parse(source))
            if value.shape != values.shape[1:] or value.dtype != values.dtype:
                raise ValueError(
                    f"{source} holds an array {value.shape} of {value.dtype}, expected {values.shape[1:]} of "
                    f"{values.dtype} as in the other files of {files.folder}"
                )
            values[i], done[i] = value, True
    finally:
        if path:
            kept = slice(None) if done.all() else done  # a slice copies nothing
            _write(path, _Parsed(files.name[kept], files.size[kept], files.modified[kept], values[kept]))
    return values


def _read(path: Path) -> _Parsed | None:
    """What a cached file holds, None where it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            known = _Parsed(*(file[key] for key in _Parsed._fields))
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        tell_once(f"the index {path} cannot be read and is made again ({error})")
        return None
    return known if known.name.ndim == 1 and len({len(column) for column in known}) == 1 else None


def _write(path: Path, known: _Parsed) -> None:
    try:
        with written_whole(path) as partial_path, partial_path.open("wb") as file:
            np.savez(file, **known._asdict())
    except OSError as error:
        _tell_not_kept(error)


def _tell_not_kept(error: OSError) -> None:
    tell_once(
        f"the index of annotation files cannot be kept in {cache_folder()} ({error.strerror}), so each start reads "
        "them all; set LANDMARK_CACHE to a folder that can be written"
    )


def _key(files: FileList, parse: Parse) -> str:
    parts = [str(files.folder.resolve()), *files.suffixes, _identity(parse)]
    return blake2b("\n".join(parts).encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _identity(parse: Parse) -> str:
    if isinstance(parse, partial):
        return f"{_identity(parse.func)} {parse.args} {sorted(parse.keywords.items())}"
    return f"{parse.__qualname__}\n{inspect.getsource(inspect.getmodule(parse) or parse)}"
