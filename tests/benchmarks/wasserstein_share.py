"""Share of a training step that the Wasserstein loss takes: ours, and POT's.

    python tests/benchmarks/wasserstein_share.py [--backbone hrnet_w18] [--size 256] [--batch 16] [--landmarks 68]
        [--sigmas 1 1.5 3] [--threads 2] [--rounds 5] [--device cpu] [--compiled]

A step is forward, loss, backward and Adam's update, on the device; "step with L2" is the same step with heatmap L2. The
loss is timed alone too, forward and backward. POT's time is that of `ot.sinkhorn2` between all cells and the target's
window, of eight pairs, times the number of pairs: it solves one after the other on the CPU. ``--compiled`` compiles our
loss.

Steps take turns; figures are medians of the rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.heatmaps import HeatmapLoss
from lightning_modules.wasserstein_hrnet.hrnet import HRNetwork
from lightning_modules.wasserstein_hrnet.losses import HeatmapL2, Wasserstein
from tests.benchmarks.wasserstein_speed import pots


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="hrnet_w18")
    numbers = {"size": 256, "batch": 16, "landmarks": 68, "threads": 2, "rounds": 5}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sigmas", type=float, nargs="+", default=[1.0, 1.5, 3.0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    shape = (options.batch, 3, options.size, options.size)
    image = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    centres = (options.size / 4 - 1) * torch.rand(options.batch, options.landmarks, 2, device=device)
    network: nn.Module = HRNetwork(options.backbone, options.landmarks).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    heatmaps = network(image)[-1].detach()

    def timed(run: Callable[[], None]) -> float:
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    def step(loss: HeatmapLoss) -> Callable[[], None]:
        def run() -> None:
            optimizer.zero_grad()
            loss(network(image)[-1], centres).mean().backward()
            optimizer.step()

        return run

    def alone(loss: HeatmapLoss) -> Callable[[], None]:
        def run() -> None:
            loss(heatmaps.clone().requires_grad_(), centres).mean().backward()

        return run

    def made(sigma: float) -> HeatmapLoss:
        loss: HeatmapLoss = Wasserstein(sigma)
        return torch.compile(loss) if options.compiled else loss

    losses = {sigma: made(sigma) for sigma in options.sigmas}
    runs = {"l2": step(HeatmapL2(1.0))}
    for sigma, loss in losses.items():
        runs |= {f"step {sigma:g}": step(loss), f"alone {sigma:g}": alone(loss)}
    for run in runs.values():
        timed(run)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run))
    found = {name: statistics.median(times) for name, times in seconds.items()}
    pairs = options.batch * options.landmarks
    words = (
        f"{options.backbone}, {options.size} px, batch {options.batch}, {options.landmarks} landmarks: {pairs} pairs"
    )
    print(f"{words}; {options.threads} threads, {options.device}; step with L2 {found['l2']:.3f} s")
    print(f"{'sigma':>6} {'step, s':>9} {'loss alone, s':>14} {'share of step':>14} {'POT, s':>9} {'its share':>10}")
    for sigma in options.sigmas:
        solve = pots(sigma, full=False, side=options.size // 4)["POT, window, exponential"]
        theirs = pairs * statistics.median(timed(partial(solve, pair)) for pair in range(8))
        whole, own = found[f"step {sigma:g}"], found[f"alone {sigma:g}"]
        shares = own / whole, theirs / (whole - own + theirs)
        print(f"{sigma:6g} {whole:9.3f} {own:14.3f} {shares[0]:14.1%} {theirs:9.1f} {shares[1]:10.1%}")


if __name__ == "__main__":
    main()
