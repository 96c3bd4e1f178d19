"""What a plan assumes of machines that are not at hand: every number of it is an option."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from callbacks.arguments import UsageError


def _option(default: Any, meaning: str, least: float, most: float = float("inf")) -> Any:
    return field(default=default, metadata={"meaning": meaning, "least": least, "most": most})


@dataclass(frozen=True)
class Assumptions:
    """See the meanings of the fields, which the page and ``--help`` have too."""

    gpus_per_node: int = _option(8, "GPUs of a node", 1)
    intra_node_gb: float = _option(200.0, "GB/s that each GPU sends and receives within a node (NVLink)", 1e-3)
    network_gb: float = _option(25.0, "GB/s that each node sends and receives (one adapter of 200 Gbit/s)", 1e-3)
    latency_us: float = _option(10.0, "microseconds that a message takes however short it is", 0)
    overlap: float = _option(0.5, "share of the backward pass beside which gradients travel", 0, 1)
    tflops: float = _option(40.0, "TFLOP/s that a GPU attains on convolutions, where none is at hand", 1e-3)
    launch_us: float = _option(10.0, "microseconds of the host for each operation it gives a GPU, likewise", 0)
    speedup: float = _option(0.0, "times that a GPU is faster than the measured device; 0: see where it is derived", 0)

    @property
    def told(self) -> list[tuple[str, float, str]]:
        """Option, value and meaning of each."""
        values = asdict(self)
        return [(option_of(each.name), values[each.name], each.metadata["meaning"]) for each in fields(self)]


def option_of(name: str) -> str:
    """``--network-gb`` of ``network_gb``."""
    return f"--{name.replace('_', '-')}"


OPTIONS = {option_of(each.name): each for each in fields(Assumptions)}


def read_assumptions(typed: Mapping[str, str]) -> Assumptions:
    """The assumptions, of which some are typed.

    Raises:
        UsageError: a value is no number, or out of range.
    """
    values: dict[str, Any] = {}
    for option, text in typed.items():
        known = OPTIONS[option]
        least, most = known.metadata["least"], known.metadata["most"]
        kind = "a whole number" if known.type is int else "a number"
        span = f"from {least:g} on" if most == float("inf") else f"from {least:g} to {most:g}"
        try:
            value = int(text) if known.type is int else float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most or value == float("inf"):
            raise UsageError(f"{option} is '{text}', expected {kind} {span}: {known.metadata['meaning']}")
        values[known.name] = value
    return Assumptions(**values)
