"""The console's share of a profile."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from callbacks.profile.timer import PARTS

Figures = Mapping[str, Any]


def print_table(measured: Figures, derived: Figures) -> None:
    """Print what was measured and what is derived, a line each."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for heading, rows in {"measured": _measured(measured), "derived": _derived(measured, derived)}.items():
        table.add_row(f"[b]{heading}[/b]", "", "")
        for row in rows:
            table.add_row(*row)
        table.add_section()
    Console().print(table)


def _measured(measured: Figures) -> Iterator[tuple[str, str, str]]:
    run, sent = measured["run"], measured["communication"]
    for phase in measured["phases"]:
        step, parts = phase["parts"]["step"], phase["parts"]["parts"]
        yield f"step, {phase['name']}", milliseconds(step), f"{run['device']}, batch {run['batch']}, {run['size']} px"
        for part in PARTS:
            yield f"  {part}", milliseconds(parts[part]), f"{parts[part] / step:.0%}"
        batch, peak = phase["memory"]["batches"][-1]
        yield "  FLOPs", f"{figure(phase['flops'] / 1e9)} G", f"in {phase['operations']:,} operations"
        yield (
            "  memory",
            megabytes(peak + static(phase)),
            f"{megabytes(static(phase))} of it whatever the batch of {batch}",
        )
    for workers, rate in measured["loader"]["rates"].items():
        yield f"loading, {workers} workers", figure(rate), f"samples/s on {measured['loader']['cores']} cores"
    yield "gradients", megabytes(sent["gradient_bytes"]), "summed in each step"


def _derived(measured: Figures, derived: Figures) -> Iterator[tuple[str, str, str]]:
    gpu, loader = derived["gpu"], derived["loader"]
    yield "step on a GPU", milliseconds(gpu["step"]), gpu["how"]
    needed, workers = loader["workers_needed"], loader["workers"]
    yield "workers for it", f"{needed}", f"the config has {workers}" + (": it starves" if workers < needed else "")
    for row in derived["scaling"]:
        if row["gpus"] in (8, 64):
            fed = f"with workers enough; {row['efficiency']:.0%} with {workers}"
            yield f"efficiency, {row['gpus']} GPUs", f"{row['efficiency_fed']:.0%}", fed


def static(phase: Figures) -> int:
    """Bytes that a phase has between its steps."""
    return int(sum(phase["memory"][key] for key in ("weights", "gradients", "optimiser", "buckets")))


def figure(value: float) -> str:
    """``0.123``, ``12.3``, ``1,235``."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def milliseconds(seconds: float) -> str:
    """``12.3 ms``."""
    return f"{figure(1e3 * seconds)} ms"


def megabytes(count: float) -> str:
    """``87 MB``, ``2.2 GB``."""
    return f"{figure(count / 1e6)} MB" if count < 1e9 else f"{figure(count / 1e9)} GB"
