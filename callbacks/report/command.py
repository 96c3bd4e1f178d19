"""``python cli.py report``: the page of a run, and runs side by side."""

from collections.abc import Sequence
from pathlib import Path

from callbacks.arguments import UsageError, suggestion
from callbacks.report.page import write_comparison, write_report

USAGE = """usage: python cli.py report RUN [RUN ...] [--out FILE]

Writes report.html into the folder of one run (runs/NAME), or a page with several runs side by side:
only tests of the same data, box, normaliser and input size are compared.

  --out FILE   the page (default: report.html in the run's folder; comparison.html beside the first of several runs)"""


def main(words: Sequence[str]) -> Path | None:
    """``python cli.py report`` with these words; the page, None where help was asked for.

    Raises:
        UsageError: no run, a folder that is none, an unknown option, a page that is not to be a .html file.
    """
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return None
    folders, out = _read(words)
    for position, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:position]]:
            raise UsageError(f"report: {folder} is given twice; give each run once")
    if len(folders) == 1:
        path = write_report(folders[0], out)
    else:
        path = write_comparison(folders, out or folders[0].resolve().parent / "comparison.html")
    print(path)
    return path


def _read(words: Sequence[str]) -> tuple[list[Path], Path | None]:
    folders: list[Path] = []
    out: Path | None = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, separator, value = word.partition("=")
        if option == "--out":
            if not separator and not rest:
                raise UsageError("report: --out takes a file, such as --out comparison.html")
            out = Path(value if separator else rest.pop(0))
        elif word.startswith("-"):
            raise UsageError(f"report has no option {option}{suggestion(option, ['--out', '--help'])}")
        else:
            folders.append(Path(word))
    if not folders:
        raise UsageError("report takes the folders of one or more runs, such as runs/ldeq_wflw")
    if out and out.suffix not in (".html", ".htm"):
        raise UsageError(f"report: --out is {out}, expected a file that ends in .html")
    return folders, out
