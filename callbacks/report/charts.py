"""Line charts as SVG: where everything stands. `charts.html` writes it, `style.css` colours it, light and dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Points = Sequence[tuple[float, float]]

LETTER = 10.6  # width of a bold letter of a wide font, in the chart's units, whose text is 16 high
LINE = 20.0  # least distance of two labels
TONES = 8  # run0 to run7, colours of style.css for curves side by side


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        label: stands at its end.
        points: (x, y); the curve is broken where one is not finite, or not positive on a logarithmic axis.
        tone: a class of style.css.
        dashed: drawn so.
    """

    label: str
    points: Points
    tone: str
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``; ``at`` is where ticks are, if not at round values."""

    title: str
    low: float
    high: float
    log: bool = False
    at: tuple[float, ...] = ()

    def share(self, value: float) -> float:
        """Where a value stands, 0 at ``low`` and 1 at ``high``; NaN where it cannot."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self, count: int) -> list[float]:
        """About ``count`` round values, or those that are asked for."""
        if self.at:
            return list(self.at)
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for factors in ((1, 2, 5), (1, 3), (1,)):
                inside = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
                if len(inside) <= count + 2:
                    return inside
            return inside[:: math.ceil(len(inside) / count)]
        raw = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(f * unit for f in (1, 2, 2.5, 5, 10) if raw <= f * unit * 1.0001)
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        return [i * step for i in range(first, last + 1)]


def axis_of(title: str, lines: Iterable[Line], log: bool = True) -> Axis:
    """A vertical axis from zero that holds these lines, logarithmic where they span more than a factor of eight.

    ``log`` is whether it may be logarithmic.
    """
    values = [y for line in lines for _, y in line.points if math.isfinite(y)] or [0.0, 1.0]
    low, high = min(values), max(values)
    if log and low > 0 and high / low > 8:
        return Axis(title, low / 1.1, high * 1.1, log=True)
    low, high = min(low, 0.0), max(high, 0.0)
    pad = (high - low) * 0.06 or 1.0
    return Axis(title, low - pad if low < 0 else 0.0, high + pad)


@dataclass(frozen=True)
class Chart:
    """A chart's geometry: all lengths in units of its ``width``."""

    title: str
    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    curves: list[dict[str, Any]]  # d, tone, dashed
    labels: list[dict[str, Any]]  # y, text, tone, whole
    marks: list[dict[str, Any]]  # x, y, text, tone, anchor


def draw(
    title: str,
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    width: float = 560,
    height: float = 540,
    marks: Iterable[tuple[float, float, str, str]] = (),
) -> Chart:
    """Lay out a chart. ``marks`` are points (x, y, text, tone) to stress."""
    y_ticks = [(value, number(value)) for value in y.ticks(5)]
    left = 12 + LETTER * max((len(text) for _, text in y_ticks), default=1)
    texts = [shorten(line.label) for line in lines]
    right = width - 12 - LETTER * max((len(text) for text in texts), default=0)
    top, bottom = 36.0 if y.title else 12.0, height - 50.0

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + x.share(point[0]) * (right - left), bottom - y.share(point[1]) * (bottom - top)

    ends = [
        next((place(p)[1] for p in reversed(line.points) if math.isfinite(y.share(p[1]))), bottom) for line in lines
    ]
    labels = [
        {"y": at, "text": text, "tone": line.tone, "whole": line.label}
        for line, text, at in zip(lines, texts, spread(ends, top, bottom), strict=True)
    ]
    stressed = [
        {"x": px, "y": py, "text": text, "tone": tone, "anchor": "end" if px > (left + right) / 2 else "start"}
        for (px, py), text, tone in ((place((mx, my)), text, tone) for mx, my, text, tone in marks)
    ]
    return Chart(
        title=title,
        width=width,
        height=height,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        x_title=x.title,
        y_title=y.title,
        x_ticks=[(place((value, y.high))[0], number(value)) for value in x.ticks(5)],
        y_ticks=[(place((x.high, value))[1], text) for value, text in y_ticks],
        curves=[{"d": path(map(place, line.points)), "tone": line.tone, "dashed": line.dashed} for line in lines],
        labels=labels,
        marks=stressed,
    )


def path(points: Iterable[tuple[float, float]]) -> str:
    """The ``d`` of an SVG path, which begins anew after a point that is not finite."""
    words, drawing = [], False
    for x, y in points:
        finite = math.isfinite(x) and math.isfinite(y)
        if finite:
            words.append(f"L{x:.1f} {y:.1f}" if drawing else f"M{x:.1f} {y:.1f}h0")  # h0: a point alone is a dot
        drawing = finite
    return "".join(words)


def spread(at: Sequence[float], low: float, high: float) -> list[float]:
    """Heights near these, `LINE` apart and between two bounds where there is room."""
    order = sorted(range(len(at)), key=lambda i: at[i])
    placed = [0.0] * len(at)
    floor = low
    for i in order:
        floor = placed[i] = max(floor, at[i])
        floor += LINE
    ceiling = high
    for i in reversed(order):
        ceiling = placed[i] = min(ceiling, placed[i])
        ceiling -= LINE
    return placed


def thin(points: Points, count: int = 240) -> list[tuple[float, float]]:
    """Means of as many consecutive points as leave no more than ``count``."""
    size = math.ceil(len(points) / count) or 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def number(value: float) -> str:
    """A tick's text: 0.25, 40, 8k, 5·10⁻⁴."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        mantissa = f"{value / 10.0**exponent:.3g}"
        power = "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return power if mantissa == "1" else f"{mantissa}·{power}"
    return f"{value / 1000:g}k" if abs(value) >= 1e4 else f"{round(value, 10):g}"


def shorten(text: str, length: int = 26) -> str:
    """A text of at most this length."""
    return text if len(text) <= length else text[: length - 1] + "…"
