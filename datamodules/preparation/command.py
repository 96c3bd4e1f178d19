"""``python cli.py prepare``: the archives a user has got, into the folders that a dataset's reader expects."""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from datamodules.preparation.places import Places
from datamodules.preparation.published import PUBLISHED, PublishedSet
from datamodules.preparation.unpack import Contents, compare, filling, survey, unpack

USAGE = f"""usage: python cli.py prepare NAME --archives FILE [FILE ...] --root FOLDER

Unpacks the archives of a published dataset into the folders that its reader expects, and counts its faces.
With --root alone it unpacks nothing, but checks the folder: what is missing, and the faces against those published.
With neither it says where the dataset is published. Started again, it goes on where it was stopped.

  NAME            one of: {", ".join(PUBLISHED)}
  --archives ...  tar, tar.gz, tar.bz2, tar.xz, zip, or single files; all at once or some at a time
  --root FOLDER   where to unpack, or what to check; it becomes data.init_args.root"""


class _Words(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        more = "" if message.endswith("?") else "; python cli.py prepare --help says more"
        print(f"error: {message}{more}", file=sys.stderr)
        raise SystemExit(2)


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``prepare``.

    Raises:
        SystemExit: 2 for a mistake in the words, once it is said in a sentence.
        FileNotFoundError, ValueError: an archive is wrong or missing, or the faces are not as many as published.
    """
    if not words or {"-h", "--help"} & set(words):
        print(USAGE)
        return
    parser = _Words(add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    parser.add_argument("name")
    parser.add_argument("--archives", nargs="+", type=Path, default=[])
    parser.add_argument("--root", type=Path)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        near = difflib.get_close_matches(unknown[0].partition("=")[0], ["--archives", "--root"], n=1)
        parser.error(f"there is no option '{unknown[0]}'" + (f"; did you mean {near[0]}?" if near else ""))
    if given.name not in PUBLISHED:
        parser.error(f"'{given.name}' is no dataset that can be prepared; {_hint(given.name)}")
    if given.archives and not given.root:
        parser.error("--root is missing, the folder to unpack into")
    if given.archives:
        prepare(given.name, given.archives, given.root)
    elif given.root:
        check(given.name, given.root)
    else:
        print(where_published(given.name))


def where_published(name: str) -> str:
    """What a user has to know in order to get a dataset."""
    published = PUBLISHED[name]
    lines = [
        published.title,
        f"  published  {published.site}",
        f"  files      {', '.join(published.files)}",
        f"  licence    {published.licence}",
        f"  size       {published.size}",
        *([f"  note       {published.note}"] if published.note else []),
        f"  read by    {', '.join(published.readers)}",
        f"then: python cli.py prepare {name} --archives FILE [FILE ...] --root FOLDER",
    ]
    return "\n".join(lines)


def prepare(name: str, archives: Sequence[Path], root: Path) -> None:
    """Unpack archives of a dataset into ``root``, and count its faces once all of them are there.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the archive, the missing part or the count.
    """
    published = PUBLISHED[name]
    places = Places(published.place)
    with filling(root):
        for archive in archives:  # all of them before any is unpacked: a wrong one leaves nothing behind
            with _progress(f"checking {archive.name}", archive) as advance:
                found = survey(archive, places, root, advance)
            if not found.needed:
                raise ValueError(_nothing_of(name, archive, found))
            _tell(archive, found)
        for archive in archives if places.again else ():
            with _progress(f"comparing {archive.name}", archive) as advance:
                compare(archive, places, advance)
        for archive in archives:
            with _progress(f"unpacking {archive.name}", archive) as advance:
                unpack(archive, places, root, advance)
    check(name, root)


def check(name: str, root: Path) -> None:
    """Say whether a dataset is whole in ``root``, and how many faces it has.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the missing part or the count.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"--root {root} is no folder, expected that of {name}; unpack it there with: python cli.py prepare {name} "
            f"--archives FILE [FILE ...] --root {root}"
        )
    published = PUBLISHED[name]
    if missing := [path for path in published.needs if not any(root.glob(path))]:
        others = f" (and {len(missing) - 1} more: {', '.join(missing[1:])})" if len(missing) > 1 else ""
        raise ValueError(
            f"{root} still lacks {missing[0]}, which is in {published.needs[missing[0]]}{others}; give the missing "
            "archives with --archives, what is unpacked stays"
        )
    check_counts(published, root)


def check_counts(published: PublishedSet, root: Path) -> None:
    """Open every split of a prepared dataset with its readers, and compare the faces with those published.

    Raises:
        FileNotFoundError, ValueError: of the readers, as for an image that is not there; or another number of faces
            than published, where a faultless copy has that.
    """
    for reader in published.readers:
        module, _, name = reader.rpartition(".")
        data = getattr(import_module(module), name)(root=root)
        for split in data.published:
            faces = data.load(split)
            data.dataset(faces)  # refuses missing images
            found, counts = data.count(faces), data.published_counts(split)
            expected = " or ".join(f"{count:,} {source}" for count, source in counts.items())
            if counts and found not in counts and not data.may_differ:
                raise ValueError(
                    f"{root} has {found:,} {split} {data.counted} of {data.title}, expected {expected}; an archive is "
                    "incomplete or of another release"
                )
            told = counts.get(found, f"expected {expected}, but {data.may_differ}") if counts else ""
            print(f"{data.title}, {split}: {found:,} {data.counted}" + (f", {told}" if told else ""))
        print(f"ready: data.class_path: {reader}, data.init_args.root: {root}")


def _hint(name: str) -> str:
    """The dataset that was meant, by its letters and then its digits, so that 300-W is w300; else all of them."""
    spelled = {_spelled(known): known for known in PUBLISHED}
    near = difflib.get_close_matches(_spelled(name), spelled, n=1)
    return f"did you mean {spelled[near[0]]}?" if near else f"expected one of: {', '.join(PUBLISHED)}"


def _spelled(name: str) -> str:
    letters = "".join(filter(str.isalpha, name.lower()))
    return letters + "".join(filter(str.isdigit, name))


def _nothing_of(name: str, archive: Path, found: Contents) -> str:
    """The sentence for an archive of another dataset."""
    names = found.names
    others = [other for other, published in PUBLISHED.items() if any(published.place(path) for path in names)]
    hint = f"; it looks like {others[0]}: python cli.py prepare {others[0]}" if others else ""
    return f"{archive} holds nothing of {name}, but {', '.join(names[:3]) or 'no file at all'}{hint}"


def _tell(archive: Path, found: Contents) -> None:
    parts = [f"{found.new:,} files to unpack", f"{found.needed - found.new:,} there already"]
    if found.others:
        parts.append(f"{found.others:,} not needed ({found.names[0]}" + (", ...)" if found.others > 1 else ")"))
    print(f"{archive}: {', '.join(parts)}", flush=True)


@contextmanager
def _progress(text: str, archive: Path) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of an archive, where there is a terminal to draw it on."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=archive.stat().st_size if archive.is_file() else None)
        yield lambda done: progress.update(task, completed=done)
