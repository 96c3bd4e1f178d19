"""Time and memory of one LDEQ training step for each way to differentiate the equilibrium.

    python tests/benchmarks/ldeq_gradients.py [--width 64] [--size 128] [--batch 16] [--threads 1]

Prints seconds a step (median of interleaved rounds), the ratio to the implicit gradient, and what autograd saves, for
2, 5, 10 and 20 forward iterations.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.implicit import DampedUnrolling, Gradient, Implicit, SingleStep, Unrolled
from lightning_modules.ldeq.solvers import Anderson


def step(module: LDEQ, image: torch.Tensor, way: Gradient, iterations: int) -> tuple[float, int]:
    """Seconds of forward and backward, and bytes saved for backward."""
    saved = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    begin = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        f, z0 = module.inject(image)
        found = way(f, z0, Anderson(iterations, tolerance=0.0))
        loss = module.decode(found.states[-1]).square().mean()
    loss.backward()
    seconds = time.perf_counter() - begin
    module.zero_grad()
    return seconds, saved


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("width", 64), ("size", 128), ("batch", 16), ("threads", 1), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    module = LDEQ(68, injection_width=options.width, width=options.width, width_step=options.width // 4)
    image = torch.randint(0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8)
    print(f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M parameters, batch {options.batch}")
    print("gradient            iterations   seconds   ratio   saved MB")
    for iterations in (2, 5, 10, 20):
        ways: dict[str, Gradient] = {
            "implicit": Implicit(Anderson(5, tolerance=0.0)),
            "single step": SingleStep(),
            "damped, 5 steps": DampedUnrolling(5),
            "unrolled": Unrolled(iterations),
        }
        runs = [
            {name: step(module, image, way, iterations) for name, way in ways.items()} for _ in range(options.rounds)
        ]
        seconds = {name: statistics.median(run[name][0] for run in runs) for name in ways}
        for name in ways:
            ratio, megabytes = seconds[name] / seconds["implicit"], runs[0][name][1] / 2**20
            print(f"{name:18} {iterations:11d} {seconds[name]:9.3f} {ratio:7.2f} {megabytes:10.0f}")


if __name__ == "__main__":
    main()
