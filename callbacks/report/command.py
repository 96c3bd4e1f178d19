"""``python cli.py report``: the page of a run, and runs side by side."""

from collections.abc import Sequence
from pathlib import Path

from callbacks.arguments import UsageError, read_words, suggestion
from callbacks.report.page import write_comparison, write_report
from callbacks.report.run import no_test, read_run

OPTIONS = {"--out": "a file, such as --out comparison.html", "--runs": "the folder of all runs, such as --runs runs"}
USAGE = """usage: python cli.py report RUN [RUN ...] [--out FILE] [--runs FOLDER]

Writes the page of one run, or a page with several runs side by side: only tests of the same data, box, normaliser
and faces are compared; their input sizes may differ, and are named.

  RUN            a run's folder, or its name below runs/
  --out FILE     the page (default: report.html in the folder of one run, such as runs/NAME/report.html;
                 comparison.html beside the first of several, such as runs/comparison.html)
  --runs FOLDER  the folder of all runs, where names are looked up (default: runs)"""


def main(words: Sequence[str]) -> Path | None:
    """``python cli.py report`` with these words; the page, None where help was asked for.

    Raises:
        UsageError: no run, a name or folder of none, an unknown option, a page that is not to be a .html file.
    """
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return None
    named, options = _read(words)
    out = Path(options["--out"]) if "--out" in options else None
    if out and out.suffix not in (".html", ".htm"):
        raise UsageError(f"report: --out is {out}, expected a file that ends in .html")
    folders = [_folder(run, Path(options.get("--runs", "runs"))) for run in named]
    for position, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:position]]:
            raise UsageError(f"report: {folder} is given twice; give each run once")
    if len(folders) == 1:
        path = write_report(folders[0], out)
        print(f"report: {path}")
    else:
        runs = [read_run(folder) for folder in folders]
        path = write_comparison(runs, out or folders[0].parent / "comparison.html")
        print(f"comparison: {path}" + ("" if out else " (--out FILE writes it elsewhere)"))
        print(*(f"{run.path}: {no_test(run)}\n" for run in runs if not run.measurements), sep="", end="")
    return path


def _read(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The runs as typed, and the values of options."""
    runs, options = read_words("report", words, OPTIONS)
    if not runs:
        raise UsageError("report takes the folders or names of one or more runs, such as runs/ldeq_wflw or ldeq_wflw")
    return runs, options


def _folder(run: str, runs: Path) -> Path:
    """The folder of a run: as given, else of this name below the folder of all runs.

    Raises:
        UsageError: there is neither.
    """
    path = Path(run)
    if path.is_dir():
        return path if path.name not in ("", "..") else path.resolve()  # so that it has a name and a parent
    if path.name == str(path):
        if (runs / run).is_dir():
            return runs / run
        known = [folder.name for folder in runs.glob("*/")]
        raise UsageError(f"report: there is neither a folder {run} nor {runs / run}{suggestion(run, known)}")
    raise UsageError(f"report: there is no folder {run}; give the folder of a run, or its name below {runs}/")
