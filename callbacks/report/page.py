"""The pages: ``report.html`` of a run, and runs side by side."""

import math
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from callbacks.report.charts import TONES
from callbacks.report.comparison import NONE, differences, like_with_like, same_validation
from callbacks.report.environment import ROOT, code_version
from callbacks.report.faces import drawn_faces
from callbacks.report.figures import (
    error_curves,
    face_map,
    method_curves,
    part_rows,
    share_of_largest,
    training_curves,
    within_rows,
)
from callbacks.report.further import further_picture, further_table
from callbacks.report.run import Measurement, Run, read_run

REPORT = "report.html"
TEMPLATES = Path(__file__).parent
Content = dict[str, Any]


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run: into its folder, or where ``out`` says.

    Raises:
        UsageError: the folder is no run.
    """
    run = read_run(folder)
    return write(out or run.path / REPORT, "run.html", run_content(run))


def write_comparison(runs: list[Run], out: Path) -> Path:
    """Write a page of several runs side by side."""
    return write(out, "comparison.html", comparison_content(runs))


def write(path: Path, template: str, content: Content, folder: Path = TEMPLATES) -> Path:
    """Render a template, of this folder or another, into a file, which is whole or not there."""
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,  # names of runs, data and metrics are anybody's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "share": share, "date": date}
    now = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "code": code_version(ROOT)}
    text = environment.get_template(template).render(**content, **now)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)


def run_content(run: Run) -> Content:
    """What the page of a run shows."""
    class_path = str((run.settings.get("model") or {}).get("class_path", ""))
    readme = Path(*class_path.split(".")[:-1], "README.md")
    begin, _, text = run.text.partition("\n")
    best = run.best()
    return {
        "run": run,
        "method": class_path.rpartition(".")[2],
        "readme": str(readme) if class_path and (ROOT / readme).is_file() else "",
        "best": best and best[1],
        "facts": facts(run),
        "tests": [test_content(test) for test in run.measurements],
        "training": training_curves({run.name: run}),
        "method_curves": method_curves(run),
        "command": begin.removeprefix("# ") if begin.startswith("# ") else "",
        "config": text if begin.startswith("# ") else run.text,
    }


def facts(run: Run) -> list[str]:
    """What to know of a run at a glance."""
    data = run.settings.get("data") or {}
    test = next((test.about for test in run.measurements if test.about), {})
    count = run.fitted.get("parameters") or test.get("parameters")
    found = [f"{count / 1e6:.1f} M parameters"] if count else []
    if trained := run.fitted.get("trained_on"):
        found.append(f"trained on {trained}")
    elif name := str(data.get("class_path", "")).rpartition(".")[2]:  # of a run from before fit.json said so
        root = Path(str((data.get("init_args") or {}).get("root", ""))).name
        found.append(f"trained on {name}" + (f" ({root})" if root else ""))
    if run.epochs:
        found.append(f"{run.epochs} epochs")
    if device := run.fitted.get("device"):
        found.append(f"on {device}")
    return found


def test_content(test: Measurement) -> Content:
    """What the page shows of a test."""
    missing = list(test.missing)
    faces, pictures = [], test.further.pictures
    try:
        faces = drawn_faces(test)
    except ValueError as error:
        missing.append(f"The drawings are missing: {error}.")
    return {
        "test": test,
        "about": test.about,
        "missing": missing,
        "bars": share_of_largest(test.rows, "nme"),
        "times": test.full.get("mean_shape_nme", math.nan) / (test.full["nme"] or math.nan),
        "ced": error_curves(test),
        "face": face_map(test),
        "parts": part_rows(test) if test.landmarks else [],
        "within": within_rows(test),
        "tables": [further_table(test.about["tables"][name], rows) for name, rows in test.further.tables.items()],
        "pictures": [further_picture(test.about["pictures"][name], file) for name, file in pictures.items()],
        "groups": [(group, list(members)) for group, members in groupby(faces, key=lambda face: face.group)],
    }


def comparison_content(runs: list[Run]) -> Content:
    """What the page of several runs shows."""
    names = [run.name for run in runs]
    titles = [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, runs, strict=True)]
    named = dict(zip(titles, runs, strict=True))
    tones = {title: f"run{position % TONES}" for position, title in enumerate(titles)}
    return {
        "runs": named,
        "tones": tones,
        "comparisons": like_with_like(named, tones),
        "training": training_curves(named, tones),
        "same_validation": same_validation(runs),
        "differences": differences(runs),
    }


def percent(value: float) -> str:
    """``3.20``; a dash where a subset is empty."""
    return f"{value:.2f}" if math.isfinite(value) else NONE


def share(value: float) -> str:
    """``0.680``."""
    return f"{value:.3f}" if math.isfinite(value) else NONE


def date(value: str) -> str:
    """``2026-11-20 07:54 UTC``."""
    return f"{value[:10]} {value[11:16]} UTC"
