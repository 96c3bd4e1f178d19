"""The figures of a report: which curves there are, and the errors of landmarks on the mean face."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callbacks.report.charts import LETTER, Axis, Chart, Line, axis_of, draw, thin
from callbacks.report.files import Row
from callbacks.report.run import Measurement, Run

# What every method logs; the rest is the method's own.
USUAL = ("nme", "fr10", "fr10_landmarks", "auc10", "point_var", "loss")
TONES = {"train": "train", "val": "model"}
RATE = "Learning rate"
SMALL, WIDE = (400.0, 290.0), (560.0, 360.0)  # of charts: three a line, or two with names at their curves
FACE = 520  # side of the mean face's drawing, in its own units
FACES_END, LANDMARKS_END = 10.0, 30.0  # of error curves, in percent of the normaliser
LARGEST = 30.0  # radius of a disc there: larger ones would hide the face and each other


def error_curves(test: Measurement) -> Chart | None:
    """The cumulative error distributions of a test: faces and single landmarks, the mean shape beside the model."""
    lines = []
    for column, label, tone, dashed in (
        ("model", "faces", "model", False),
        ("model_landmarks", "landmarks", "model", True),
        ("mean_shape", "mean shape", "mean", False),
        ("mean_shape_landmarks", "its landmarks", "mean", True),
    ):
        if points := _curve(test, column, FACES_END):
            lines.append(Line(f"{label} {points[-1][1]:.0f} %", points, tone, dashed))
    return _distribution("Cumulative error distribution", "% of faces (solid), landmarks (dashed)", lines)


def compared_curves(tests: Mapping[str, Measurement], tones: Mapping[str, str], landmarks: bool) -> Chart | None:
    """One curve for each of several tests (by title): of faces, or of single landmarks, of which some are far off."""
    lines = []
    for title, test in tests.items():
        column, end = ("model_landmarks", LANDMARKS_END) if landmarks else ("model", FACES_END)
        if points := _curve(test, column, end):
            lines.append(Line(f"{points[-1][1]:.0f} % {title}", points, tones[title], bool(test.variant)))
    of = "single landmarks" if landmarks else "faces"
    return _distribution(f"Cumulative error distribution of {of}", f"% of {of}", lines)


def _curve(test: Measurement, column: str, end: float) -> list[tuple[float, float]]:
    """Thresholds up to an end and shares in percent, every fifth of them, which the eye cannot tell from all."""
    rows = [row for row in test.ced if column in row and row["threshold_percent"] <= end + 1e-9]
    points = [(row["threshold_percent"], 100 * row[column]) for row in rows]
    return points[::5] + points[-1:]


def _distribution(title: str, unit: str, lines: Sequence[Line]) -> Chart | None:
    if not lines:
        return None
    end = max(x for line in lines for x, _ in line.points)
    return draw(title, lines, Axis("error at most, % of the normaliser", 0, end), Axis(unit, 0, 100))


def training_curves(runs: Mapping[str, Run], tones: Mapping[str, str] | None = None) -> list[Chart]:
    """Loss, validation error and learning rate against the steps, of one run, or of several by title and tone."""
    charts = []
    measured = {run.validation for run in runs.values()}  # where runs differ in it, the comparison says so
    validation = ": ".join(filter(None, ("Validation error", measured.pop() if len(measured) == 1 else "")))
    for title, unit, tone, names in (
        ("Training loss", "", "train", ("train/loss", "train/loss_step", "train/loss_epoch")),
        (validation, "NME, %", "model", ("val/nme",)),
        (RATE, "", "ink", ()),
    ):
        lines: list[Line] = []
        marks: list[tuple[float, float, str, str]] = []
        for label, run in runs.items():
            rates = sorted(name for name in run.series if name.startswith("lr-"))
            name = next((name for name in names or rates if name in run.series), None)
            if not name:
                continue
            own = tones[label] if tones else tone
            text = label if tones else ""
            if name == "val/nme" and (best := run.best()):
                text = f"{best[1]:.2f} {label}" if tones else ""
                marks.append((*best, "" if tones else f"best {best[1]:.2f} %", own))
            lines.append(Line(text, thin(run.series[name]), own))
        if lines:
            charts.append(_over_steps(title, unit, lines, marks, WIDE if tones else SMALL))
    return charts


def method_curves(run: Run) -> list[Chart]:
    """Everything else that was logged, one chart a quantity with a curve for each stage.

    What is of neither stage, such as ``pseudo/moved``, has a chart of its own.
    """
    quantities: dict[str, dict[str, str]] = {}
    for name in run.series:
        stage, _, quantity = name.partition("/")
        if quantity and stage not in TONES and not stage.startswith("lr-"):
            quantities[name] = {"": name}
        elif stage in TONES and quantity.split("/")[0].removesuffix("_step").removesuffix("_epoch") not in USUAL:
            quantities.setdefault(quantity, {})[stage] = name
    charts = []
    for quantity, stages in sorted(quantities.items()):
        lines = [Line(stage, thin(run.series[name]), TONES.get(stage, "ink")) for stage, name in sorted(stages.items())]
        charts.append(_over_steps(words(quantity), "", lines))
    return charts


def _over_steps(
    title: str,
    unit: str,
    lines: Sequence[Line],
    marks: Iterable[tuple[float, float, str, str]] = (),
    size: tuple[float, float] = SMALL,
) -> Chart:
    end = max(x for line in lines for x, _ in line.points)
    y = axis_of(unit, lines, log=title != RATE)  # a schedule that ends at zero has no last decade
    return draw(title, lines, Axis("step", 0, end or 1), y, *size, [*marks] or _alone(lines))


def _alone(lines: Sequence[Line]) -> list[tuple[float, float, str, str]]:
    """Marks of curves that have one point only, which is easily missed."""
    finite = ([point for point in line.points if math.isfinite(point[1])] for line in lines)
    return [
        (*points[0], f"{points[0][1]:.3g}", line.tone)
        for line, points in zip(lines, finite, strict=True)
        if len(points) == 1
    ]


def words(name: str) -> str:
    """A metric's name as text."""
    return name.replace("_", " ").replace("/", ", ")


@dataclass(frozen=True)
class FaceMap:
    """Errors on the mean face: a disc on each landmark, as large on this face as the landmark's mean error.

    Discs end at the radius `LARGEST`.
    """

    width: float
    height: float
    edges: list[tuple[float, float, float, float]]
    discs: list[dict[str, Any]]  # x, y, r, cut, text
    labels: list[dict[str, Any]]  # x, y, text, anchor: the worst landmark of each part
    scale: tuple[float, str]  # a disc to compare with
    cut: str  # the error that `LARGEST` is, where an error is larger; else empty


def face_map(test: Measurement) -> FaceMap | None:
    """The map of a test; None where the mean face, or the normaliser on it, is not known."""
    rows = test.landmarks
    if not rows or not {"x", "y"} <= rows[0].keys() or not test.about.get("mean_normalizer", 0) > 0:
        return None
    margin, pad = 66.0, 46.0  # at the sides, which hold labels, and above and below
    xs, ys = [row["x"] for row in rows], [row["y"] for row in rows]
    unit = (FACE - 2 * margin) / (max(max(xs) - min(xs), max(ys) - min(ys)) or 1)  # drawing units in the crop's side
    at = [(margin + (x - min(xs)) * unit, pad + (y - min(ys)) * unit) for x, y in zip(xs, ys, strict=True)]
    width, height = (max(values) - min(values) for values in (xs, ys))
    percent = float(test.about["mean_normalizer"]) * unit / 100  # drawing units in a percent of error
    limit = LARGEST / percent  # the error, in percent, of the largest disc
    edges = [(*at[a], *at[b]) for a, b in test.about["edges"] if max(a, b) < len(at)]
    parts = part_of(test)
    discs, labels = [], []
    for i, ((x, y), row) in enumerate(zip(at, rows, strict=True)):
        name = f"landmark {i}" + (f" ({parts[i]})" if i in parts else "")
        text = f"{name}: error {row['nme']:.2f} %, {row['fr10']:.1f} % of faces above 10 %"
        radius = min(max(2.0, row["nme"] * percent), LARGEST)
        discs.append({"x": x, "y": y, "r": radius, "cut": row["nme"] > limit, "text": text})
    size = width * unit + 2 * margin, height * unit + 2 * pad
    middle = sum(x for x, _ in at) / len(at)
    for part in dict.fromkeys(parts.values()):
        worst = max((i for i in parts if parts[i] == part), key=lambda i: rows[i]["nme"])
        x, y = at[worst]
        side, gap = ("end", -1) if x < middle else ("start", 1)
        text = f"{rows[worst]['nme']:.1f}"
        x += gap * (discs[worst]["r"] + 5)
        room = LETTER * len(text)  # inside the drawing
        x = max(x, room) if side == "end" else min(x, size[0] - room)
        labels.append({"x": x, "y": y + 5, "anchor": side, "text": text})
    share, cut = min(5.0, limit), f"{limit:.3g} %" if any(disc["cut"] for disc in discs) else ""
    return FaceMap(*size, edges, discs, labels, scale=(share * percent, f"{share:.3g} %"), cut=cut)


def part_of(test: Measurement) -> dict[int, str]:
    """The part of each landmark that is in one."""
    parts: Mapping[str, Sequence[int]] = test.about["parts"] if test.about else {}
    return {i: part for part, members in parts.items() for i in members if i < len(test.landmarks)}


def part_rows(test: Measurement) -> list[Row]:
    """Errors by part of the face, means over its landmarks."""
    parts = part_of(test)
    rows = []
    for part in dict.fromkeys(parts.values()):
        members = [test.landmarks[i] for i in parts if parts[i] == part]
        keys = [key for key in members[0] if key not in ("landmark", "x", "y")]
        means = {key: sum(row[key] for row in members) / len(members) for key in keys}
        rows.append({"part": part, "landmarks": len(members), **means})
    return rows


def within_rows(test: Measurement) -> list[Row]:
    """For each radius of the data, the share of landmarks within it in percent: of all, and by part of the face."""
    found: Mapping[str, Sequence[float]] = test.about["within"] if test.about else {}
    parts = part_of(test)
    rows = []
    for radius, shares in found.items():
        groups = {"all": shares}
        for part in dict.fromkeys(parts.values()):
            groups[part] = [shares[i] for i in parts if parts[i] == part]
        rows.append({"radius": radius, **{name: sum(group) / len(group) for name, group in groups.items()}})
    return rows


def share_of_largest(rows: Sequence[Row], key: str) -> list[float]:
    """For bars: each row's value in percent of the largest."""
    values = [row[key] if math.isfinite(row[key]) else 0.0 for row in rows]
    return [100 * value / (max(values) or 1) for value in values]
