"""``profile.html``: what was measured, what is assumed, and what is derived of both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callbacks.profile.assumptions import Assumptions
from callbacks.profile.plan import exchange_seconds
from callbacks.profile.table import figure, megabytes, milliseconds, static
from callbacks.profile.timer import PARTS
from callbacks.report.charts import Axis, Chart, Line, draw
from callbacks.report.page import write

TONES = ("run2", "run4", "run0", "run1", "run3", "mean")  # of the parts of a step
WIDE = (560.0, 400.0)
Figures = Mapping[str, Any]


def write_page(path: Path, measured: Figures, assumed: Assumptions, derived: Figures) -> Path:
    """Write the page."""
    run, loader = measured["run"], derived["loader"]
    content = {
        "measured": measured,
        "derived": derived,
        "run": run,
        "gpu": derived["gpu"],
        "loader": loader,
        "assumed": assumed.told,
        "per_node": assumed.gpus_per_node,
        "bars": [bar(phase) for phase in measured["phases"]],
        "parts": dict(zip(PARTS, TONES, strict=True)),
        "rest": rest(measured["phases"]),
        "exchange": {phase["name"]: exchange_seconds(phase) for phase in measured["phases"] if "silent" in phase},
        "static": {phase["name"]: static(phase) for phase in measured["phases"]},
        "charts": {
            "loader": loader_chart(measured, derived),
            "memory": memory_chart(measured, derived),
            "efficiency": efficiency_chart(measured, derived),
        },
        "collectives": measured["communication"].get("collectives"),
        "check": derived["memory"].get("check"),
        "figure": figure,
        "ms": milliseconds,
        "mb": megabytes,
    }
    return write(path, "profile.html", content, Path(__file__).parent)


def bar(phase: Figures) -> dict[str, Any]:
    """A step as a bar: its parts side by side, as wide as their share."""
    step, parts = phase["parts"]["step"], phase["parts"]["parts"]
    segments, begin = [], 0.0
    for part, tone in zip(PARTS, TONES, strict=True):
        share = parts[part] / step
        text = f"{share:.0%}" if share >= 0.05 else ""
        segments.append({"part": part, "tone": tone, "begin": begin, "share": share, "text": text})
        begin += share
    return {"phase": phase, "segments": segments}


def rest(phases: Sequence[Figures], count: int = 4) -> dict[str, list[tuple[str, float]]]:
    """Of each phase, the actions that take most of what is no part of its own, from 1 % of a step on."""
    found = {}
    for phase in phases:
        actions = {_action(name): value for name, value in phase["parts"]["actions"].items()}
        large = sorted(actions.items(), key=lambda action: -action[1])[:count]
        found[phase["name"]] = [(name, value) for name, value in large if value > 0.01 * phase["parts"]["step"]]
    return found


def _action(name: str) -> str:
    """``ModelTable.on_train_batch_end`` of ``[Callback]ModelTable{'...'}.on_train_batch_end``."""
    owner, _, hook = name.rpartition("]")[2].rpartition(".")
    return f"{owner.partition('{')[0]}.{hook}" if owner else f"Lightning's loop {hook}".rstrip()


def loader_chart(measured: Figures, derived: Figures) -> Chart:
    """What workers deliver beside what a GPU asks for."""
    loader = derived["loader"]
    points = [(float(workers), rate) for workers, rate in measured["loader"]["rates"].items()]
    last = max(points[-1][0], 1.0, *([float(loader["workers_needed"])] if loader["workers_needed"] <= 64 else []))
    lines = [
        Line("measured", points, "run0"),
        Line("derived", [(0.0, 0.0), (last, last * loader["rate"])], "run0", dashed=True),
    ]
    top = max(rate for line in lines for _, rate in line.points)
    if loader["asked"] < 20 * top:
        lines.append(Line("a GPU asks", [(0.0, loader["asked"]), (last, loader["asked"])], "run1", dashed=True))
        top = max(top, loader["asked"])
    return draw("Loading", lines, Axis("workers", 0, last), Axis("samples/s", 0, 1.08 * top), *WIDE)


def memory_chart(measured: Figures, derived: Figures) -> Chart:
    """Memory by batch, at the config's side and others; the measured batches are marked."""
    found, size = derived["memory"], measured["run"]["size"]
    phase = next(phase for phase in measured["phases"] if phase["name"] == derived["gpu"]["name"])
    batch = measured["run"]["batch"]
    rows = [row for row in found["by_batch"] if row["batch"] <= 4 * batch]
    lines = [
        Line(f"{side} px", [(row["batch"], row["bytes"][side] / 1e9) for row in rows], tone, dashed=side != size)
        for side, tone in zip(found["by_batch"][0]["bytes"], ("run2", "run0", "run4", "run1"), strict=True)
    ]
    marks = [(count, (static(phase) + peak) / 1e9, "", "run0") for count, peak in phase["memory"]["batches"]]
    top = max(gb for line in lines for _, gb in line.points)
    return draw("Memory", lines, Axis("batch", 0, rows[-1]["batch"]), Axis("GB", 0, 1.08 * top), *WIDE, marks)


def efficiency_chart(measured: Figures, derived: Figures) -> Chart:
    """Efficiency by the number of GPUs."""
    rows, workers = derived["scaling"], derived["loader"]["workers"]
    lines = [
        Line("fed", [(row["gpus"], 100 * row["efficiency_fed"]) for row in rows], "run2"),
        Line(f"{workers} workers", [(row["gpus"], 100 * row["efficiency"]) for row in rows], "run1", dashed=True),
    ]
    gpus = tuple(float(row["gpus"]) for row in rows)
    return draw("Efficiency", lines, Axis("GPUs", 1, gpus[-1], log=True, at=gpus), Axis("%", 0, 105), *WIDE)
