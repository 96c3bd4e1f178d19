"""Two-step discovery: how long a step of training takes, and the memory of the contrastive loss.

    python tests/benchmarks/discovery_speed.py [--size 128] [--batch 32] [--threads 2] [--rounds 3] [--device cpu]

A step is both views, forward, loss and backward of the networks as they are by default, of step 1 and of step 2; beside
it the share of the contrastive loss with its gradients. The memory of the loss is the most that is held at once beyond
its arguments while loss and gradients are computed: of ours, and of the matrix of all similarities (cross entropy of
2 M x 2 M), for B images of K points, whose 2 B K features are compared. Times are medians of the rounds.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.two_step import Discovery
from lightning_modules.two_step.contrastive import contrastive_loss

SIZES = ((8, 100), (16, 100), (32, 100), (64, 100), (32, 25), (32, 50), (32, 200))  # B, K
CHANNELS = 64


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"size": 128, "batch": 32, "threads": 2, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    steps(options, device)
    memory(device, options.rounds)


def steps(options: Any, device: torch.device) -> None:
    """Times of steps in float32 and bfloat16."""
    module: Any = Discovery(68).to(device)
    module.log = module.log_dict = lambda *args, **words: None
    image = torch.randint(0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8, device=device)

    def step(loss: Callable[[Tensor], Tensor], precise: bool) -> Callable[[], None]:
        def run() -> None:
            module.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=not precise):
                found = loss(image)
            found.backward()

        return run

    count = 2 * options.batch * module.points
    views = torch.randn(2, count // 2, CHANNELS, device=device)
    known = torch.ones(count // 2, dtype=torch.bool, device=device)

    def alone() -> None:
        one, other = (view.clone().requires_grad_() for view in views)
        contrastive_loss(one, other, known).backward()

    runs = {f"the contrastive loss alone, {count} features": alone}
    for precise in (True, False):
        name = "float32" if precise else "bfloat16"
        runs |= {f"step 1, {name}": step(module._contrast, precise)}
        runs |= {f"step 2, {name}": step(module._equivariance, precise)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(options.rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number:  # the first warms up
                times[name].append(time.perf_counter() - begin)
    print(f"{options.batch} images of {options.size} pixels, {options.threads} threads, {device}")
    for name, values in times.items():
        print(f"  {name:48} {statistics.median(values):8.3f} s")


def memory(device: torch.device, rounds: int) -> None:
    """Memory and time of the loss, ours and that of the whole matrix."""
    print(f"{'B':>4} {'K':>4} {'features':>9} {'ours MB':>9} {'matrix MB':>10} {'ours s':>8} {'matrix s':>9}")
    for images, points in SIZES:
        half = images * points
        views = torch.randn(2, half, CHANNELS, device=device)
        known = torch.ones(half, dtype=torch.bool, device=device)
        row = []
        for loss in (contrastive_loss, whole_matrix):

            def run(loss: Any = loss, views: Tensor = views, known: Tensor = known) -> None:
                one, other = (view.clone().requires_grad_() for view in views)
                loss(one, other, known).backward()

            run()
            times = []
            for _ in range(rounds):
                begin = time.perf_counter()
                run()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - begin)
            row += [peak(run, device), statistics.median(times)]
        megabytes, seconds = (row[0], row[2]), (row[1], row[3])
        print(f"{images:4} {points:4} {2 * half:9} {megabytes[0]:9.1f} {megabytes[1]:10.1f} ", end="")
        print(f"{seconds[0]:8.3f} {seconds[1]:9.3f}", flush=True)


def peak(run: Callable[[], None], device: torch.device) -> float:
    """The most that is allocated at once, in MB."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    held = most = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 1e6


def whole_matrix(one: Tensor, other: Tensor, known: Tensor, temperature: float = 0.1) -> Tensor:
    """NT-Xent as it is usually written, of points that are all known."""
    half = len(one)
    views = normalize(torch.cat([one, other]), dim=1)
    similarity = views @ views.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    positives = torch.arange(2 * half, device=one.device).roll(half)
    return cross_entropy(similarity, positives)


if __name__ == "__main__":
    main()
