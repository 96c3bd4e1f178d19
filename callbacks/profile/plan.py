"""What measured figures and assumptions come to: a step on a GPU, the loader's share, memory, and many GPUs."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from callbacks.profile.assumptions import Assumptions
from callbacks.profile.communication import SHORT
from callbacks.profile.scaling import (
    exposed_seconds,
    gpu_seconds,
    largest_batch,
    line,
    link_of_ring,
    loading_seconds,
    memory_bytes,
    ring_bytes,
    ring_seconds,
    step_seconds,
    tree_seconds,
    workers_needed,
)
from callbacks.profile.timer import BACKWARD, FORWARD, WAIT

GPUS = (1, 2, 4, 8, 16, 32, 64)
SIDES = (0.5, 1.0, 1.5, 2.0)  # of inputs, as multiples of the config's
BATCHES = (1, 8, 16, 32, 64, 128)
CARDS = (16, 24, 40, 80, 141)  # GB of GPUs in use
Figures = Mapping[str, Any]


def derive(measured: Figures, assumed: Assumptions) -> dict[str, Any]:
    """All that follows from what `Measure` wrote; seconds, bytes and samples."""
    run = measured["run"]
    samples = run["batch"] * run["accumulated"]
    phases = [{"name": phase["name"], **on_gpu(measured, phase, assumed)} for phase in measured["phases"]]
    costliest = max(range(len(phases)), key=lambda place: phases[place]["step"])
    gpu = {**phases[costliest], "samples": samples, "short_messages": short_messages(measured)}
    loading = loader(measured, gpu)
    scaling = []
    for gpus in sorted({*GPUS, assumed.gpus_per_node}):
        rows = [scaled(measured, assumed, {**gpu, **phase}, loading["loading"], gpus) for phase in phases]
        steps = [epochs * run["samples_an_epoch"] / (gpus * samples) for epochs in epochs_of(measured)]
        total = {key: sum(n * row[key] for n, row in zip(steps, rows, strict=True)) / 3600 for key in ("step", "fed")}
        planned = (run["epochs"] or 0) > 0
        hours = {"hours": total["step"], "hours_fed": total["fed"]} if planned else {}
        scaling.append({**rows[costliest], **hours})
    return {
        "gpu": gpu,
        "phases": phases,
        "loader": loading,
        "memory": memory(run["size"], run["batch"], measured["phases"][costliest]["memory"]),
        "link": link(measured["communication"]),
        "scaling": scaling,
    }


def busy_seconds(phase: Figures) -> float:
    """A step's time but for waiting for data and for other processes."""
    step = next(phase[kind] for kind in ("silent", "whole", "parts") if kind in phase)
    return step["step"] - step["parts"][WAIT]


def exchange_seconds(phase: Figures) -> float | None:
    """By how much the exchange of gradients makes a step longer; None where there is one process."""
    if "silent" not in phase:
        return None
    with_exchange, without = phase.get("whole", phase["parts"]), phase["silent"]
    waits = with_exchange["parts"][WAIT] - without["parts"][WAIT]
    return with_exchange["step"] - without["step"] - waits


def on_gpu(measured: Figures, phase: Figures, assumed: Assumptions) -> dict[str, Any]:
    """A step of a phase on one GPU, its backward pass, and how they are derived."""
    busy, parts = busy_seconds(phase), phase["parts"]["parts"]
    backward = max(0.0, parts[BACKWARD] - max(0.0, exchange_seconds(phase) or 0.0))
    if assumed.speedup:
        how = f"measured {1e3 * busy:.4g} ms / assumed speed-up {assumed.speedup:g}"
        return {"step": busy / assumed.speedup, "backward": backward / assumed.speedup, "how": how}
    if measured["run"]["on_gpu"]:
        return {"step": busy, "backward": backward, "how": "measured"}
    flops, operations = phase["flops"], phase["operations"]
    step = gpu_seconds(flops, assumed.tflops * 1e12, operations, assumed.launch_us * 1e-6)
    how = f"{flops / 1e12:.3g} TFLOP counted / {assumed.tflops:g} TFLOP/s assumed"
    if step > flops / (assumed.tflops * 1e12):
        how = f"{operations:,} operations counted x {assumed.launch_us:g} µs assumed, longer than {how}"
    return {"step": step, "backward": step * backward / (parts[FORWARD] + backward), "how": how}


def epochs_of(measured: Figures) -> list[int]:
    """How many epochs each phase has; the first begins with the training."""
    begins = [0, *(phase["epoch"] for phase in measured["phases"][1:]), measured["run"]["epochs"] or 0]
    return [after - before for before, after in pairwise(begins)]


def short_messages(measured: Figures) -> float:
    """Messages of a step that are all latency: counted among several processes, else those that are known of."""
    sent = measured["communication"]
    if not sent.get("collectives"):
        return float(sent["short_messages"])
    return float(sum(row["a_step"] for row in sent["collectives"] if row["elements"] < SHORT))


def loader(measured: Figures, gpu: Figures) -> dict[str, Any]:
    """When loading starves a GPU."""
    rates = {int(workers): rate for workers, rate in measured["loader"]["rates"].items()}
    workers = measured["run"]["workers"]
    fewest = min((count for count in rates if count), default=0)
    rate = rates[fewest] / max(fewest, 1)
    loading = loading_seconds(gpu["samples"], workers, rate if workers else rates.get(0, rate))
    return {
        "rate": rate,
        "asked": gpu["samples"] / gpu["step"],
        "loading": loading,
        "delivered": gpu["samples"] / loading,
        "workers": workers,
        "workers_needed": workers_needed(gpu["samples"], gpu["step"], rate),
    }


def memory(size: int, batch: int, found: Figures) -> dict[str, Any]:
    """The line through the two largest batches, how it meets the smallest, and what it says of others.

    Args:
        size: side of the inputs.
        batch: of the config.
        found: what was measured, by batch.
    """
    static = sum(found[key] for key in ("weights", "gradients", "optimiser", "buckets"))
    batches, peaks = zip(*found["batches"], strict=True)
    fixed, each = line(batches[-2:], peaks[-2:]) if len(batches) > 1 else (0.0, 0.0)
    if fixed <= 0:
        fixed, each = 0.0, peaks[-1] / batches[-1]
    check = {"batch": batches[0], "measured": static + peaks[0], "by_line": static + fixed + each * batches[0]}
    return {
        "static": static,
        "fixed": fixed,
        "each": each,
        **({"check": check} if len(batches) > 2 else {}),
        "by_batch": [
            {
                "batch": count,
                "bytes": {round(size * sides): memory_bytes(static, fixed, each, count, sides) for sides in SIDES},
            }
            for count in sorted({*BATCHES, batch})
        ],
        "largest": [
            {
                "gb": card,
                "batch": {
                    round(size * sides): largest_batch(card * 1e9, static, fixed, each, sides) for sides in SIDES
                },
            }
            for card in CARDS
        ],
    }


def link(sent: Figures) -> dict[str, float]:
    """Latency and bandwidth of the measured sums; nothing where there are none."""
    if "seconds" not in sent:
        return {}
    sizes, seconds = zip(*sent["seconds"], strict=True)
    latency, bandwidth = link_of_ring(line(sizes, seconds), sent["processes"])
    return {"latency": latency, "bandwidth": bandwidth}


def scaled(measured: Figures, assumed: Assumptions, gpu: Figures, loading: float, gpus: int) -> dict[str, Any]:
    """A step on so many GPUs, with the same batch on each (weak scaling).

    Args:
        measured: what `Measure` wrote.
        assumed: of the machines.
        gpu: the step on one.
        loading: seconds in which the config's workers load a step's samples.
        gpus: N.
    """
    gradients = measured["communication"]["gradient_bytes"]
    bandwidth = assumed.intra_node_gb * 1e9
    if gpus > assumed.gpus_per_node:
        bandwidth = min(bandwidth, assumed.network_gb * 1e9)
    latency = assumed.latency_us * 1e-6
    communication = ring_seconds(gradients, gpus, latency, bandwidth)
    exposed = exposed_seconds(communication, gpu["backward"], assumed.overlap)
    short = tree_seconds(gpu["short_messages"], gpus, latency)
    fed = gpu["step"] + exposed + short
    step = step_seconds(fed, loading, measured["run"]["workers"])
    return {
        "gpus": gpus,
        "sent": ring_bytes(gradients, gpus),
        "communication": communication,
        "exposed": exposed,
        "short": short,
        "fed": fed,
        "step": step,
        "rate": gpus * gpu["samples"] / step,
        "efficiency": gpu["step"] / step,
        "efficiency_fed": gpu["step"] / fed,
    }
