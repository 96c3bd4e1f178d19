"""Time and memory of the Wasserstein loss, ours beside POT's solvers: 64 x 64 cells.

    python tests/benchmarks/wasserstein_speed.py [--pairs 8 64 512 1568] [--sigmas 1 1.5 3] [--threads 1] [--rounds 5]
        [--device cpu] [--full]

Ours is forward and backward, from heatmaps. POT's are the solvers alone, between all cells and those of the target's
window: `ot.sinkhorn2` in float64 and numpy, one pair a round, in the exponential or the logarithmic domain, until the
marginals err by less than 1e-9, its default, or by 1e-4; and `ot.batch.solve_batch` in float32 and PyTorch, of eight
pairs at once, with its default of 1e-5. With ``--full`` also `ot.sinkhorn2` between all cells and all cells, which
takes seconds and 0.8 GB. Half of the predictions have a peak near their target, half have two peaks anywhere. Memory is
what the peak of a fresh process grows by, on a GPU that of the allocator.

Contenders take turns; few pairs are solved several times in a round. A time is the median of the rounds, a ratio the
median of the rounds' ratios. With one thread time is that of the processor, which other processes on the machine
disturb less, else of the clock.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ot
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.wasserstein_hrnet.losses import Wasserstein
from lightning_modules.wasserstein_hrnet.transport import Target, window
from tests.lightning_modules.wasserstein_hrnet.predictions import heatmaps

SIDE = 64


def problem(pairs: int, device: str, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Heatmaps (1, pairs, side, side) and points (1, pairs, 2)."""
    centres = 2 + (side - 4) * torch.rand(pairs, 2, generator=torch.Generator().manual_seed(0))
    near, double = (heatmaps(kind, centres, side, side) for kind in ("near", "double"))
    half = torch.arange(pairs).view(-1, 1, 1) % 2 == 0
    return torch.where(half, near, double).unsqueeze(0).to(device).requires_grad_(), centres.unsqueeze(0).to(device)


def ours(sigma: float, pairs: int, device: str) -> Callable[[], None]:
    """One forward and backward pass."""
    loss, (logits, centres) = Wasserstein(sigma), problem(pairs, device)

    def run() -> None:
        logits.grad = None
        loss(logits, centres).sum().backward()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


AT_ONCE = 8  # pairs of POT's solver of batches


def pots(sigma: float, full: bool, side: int = SIDE) -> dict[str, Callable[[int], Any]]:
    """POT's solvers, each on the pair of a number; "batch" solves `AT_ONCE`, whatever the number."""
    logits, centres = problem(AT_ONCE, "cpu", side)
    u = logits[0].detach().double().flatten(1).softmax(dim=1).numpy()
    v = Target.of(centres[0].double(), sigma, window(sigma), side, side).maps(side, side).flatten(1).numpy()
    cells = np.stack(np.divmod(np.arange(side**2), side)[::-1], axis=1).astype(float)
    whole = ot.dist(cells, cells, metric="euclidean")

    def solve(pair: int, method: str, windowed: bool, **options: Any) -> Any:
        there = v[pair] > 0 if windowed else np.ones(side**2, dtype=bool)
        return ot.sinkhorn2(u[pair], v[pair][there], whole[:, there], sigma / 4, method=method, warn=False, **options)

    order = np.argsort(-v, axis=1)[:, : (v > 0).sum(axis=1).max()]  # windows at the edge have cells without mass
    batch = {"a": u, "b": np.take_along_axis(v, order, axis=1), "M": np.stack([whole[:, each] for each in order])}
    tensors = {key: torch.from_numpy(value).float() for key, value in batch.items()}
    found: dict[str, Callable[[int], Any]] = {
        "POT, window, exponential": lambda pair: solve(pair, "sinkhorn", True),
        "the same to 1e-4": lambda pair: solve(pair, "sinkhorn", True, stopThr=1e-4),
        "POT, window, logarithmic": lambda pair: solve(pair, "sinkhorn_log", True),
        "POT, window, batch": lambda pair: ot.batch.solve_batch(reg=sigma / 4, **tensors),
    }
    return found | ({"POT": lambda pair: solve(pair, "sinkhorn", False)} if full else {})


def grown(sigma: float, pairs: int, device: str) -> float:
    """MiB a pair by which the peak of a pass is above what is held before it."""
    run, first = ours(sigma, pairs, device), ours(sigma, 1, device)
    first()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / pairs / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / pairs / 2**10


def _status(key: str) -> int:
    """A line of the process's status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[8, 64, 512, 1568])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[1.0, 1.5, 3.0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="POT without a window too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 and options.device == "cpu" else time.perf_counter

    def timed(run: Callable[[], Any]) -> float:
        begin = clock()
        run()
        return clock() - begin

    print(f"{options.threads} threads, {options.device}, {options.rounds} rounds; ms a pair, and POT's time over ours")
    for sigma in options.sigmas:
        contenders = {pairs: ours(sigma, pairs, options.device) for pairs in options.pairs}
        others = pots(sigma, options.full)
        for run in contenders.values():
            run()
        seconds: dict[Any, list[float]] = {name: [] for name in (*contenders, *others)}
        for turn in range(options.rounds):
            for pairs, run in contenders.items():
                times = max(1, 64 // pairs)
                seconds[pairs].append(sum(timed(run) for _ in range(times)) / times / pairs)
            for name, solve in others.items():
                seconds[name].append(timed(partial(solve, turn % AT_ONCE)) / (AT_ONCE if "batch" in name else 1))
        print(f"\nsigma {sigma:g}")
        for name in others:
            print(f"  {name:26} {1e3 * statistics.median(seconds[name]):10.2f}")
        for pairs in options.pairs:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                memory = pool.apply(grown, (sigma, pairs, options.device))
            ratios = [statistics.median(p / o for p, o in zip(seconds[n], seconds[pairs], strict=True)) for n in others]
            text = " ".join(f"{ratio:9.0f}" for ratio in ratios)
            own = 1e3 * statistics.median(seconds[pairs])
            print(f"  ours, {pairs:5} pairs          {own:10.3f}   {text}   {memory:.2f} MiB a pair")


if __name__ == "__main__":
    main()
