"""LDEQ under DistributedDataParallel and gradient accumulation. As a script: one process of the group."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.implicit import Implicit, Unrolled
from lightning_modules.ldeq.solvers import Anderson

WAYS = {"implicit": Implicit(Anderson(6)), "unrolled": Unrolled(3)}
FACES = 4


class TrainingLoss(torch.nn.Module):
    """A training step as DistributedDataParallel wants it: a forward pass that returns the loss."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        options = {"injection_width": 16, "width": 16, "width_step": 4, "depth": 2, "early_epochs": 0}
        self.module = LDEQ(5, gradient=WAYS[way], **options).double().eval()  # batch norms with fixed statistics

    def forward(self, image, target):
        states = self.module.equilibrium(image, epoch=0).states
        return sum((self.module.decode(z) - target).square().mean() for z in states)


def faces():
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (FACES, 3, 64, 64), dtype=torch.uint8, generator=generator)
    return image, 64 * torch.rand(FACES, 5, 2, dtype=torch.float64, generator=generator)


def gradient(network):
    return torch.cat([p.grad.flatten() for p in network.parameters()])


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_average_to_the_gradient_of_the_whole_batch(way, tmp_path):
    """Each process solves its own half, forward and backward; equilibria know nothing of the rest of the batch."""
    whole = TrainingLoss(way)
    whole(*faces()).backward()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, way, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    for rank in range(2):
        half = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(half, gradient(whole), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_accumulated_halves_equal_the_whole_batch(way):
    whole, parts = TrainingLoss(way), TrainingLoss(way)
    image, target = faces()
    whole(image, target).backward()
    for half in (slice(0, 2), slice(2, 4)):
        (parts(image[half], target[half]) / 2).backward()
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-9, atol=1e-12)


def main(way, folder, rank):
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/rendezvous", rank=int(rank), world_size=2, timeout=timedelta(seconds=100)
    )
    network = DistributedDataParallel(TrainingLoss(way))
    image, target = faces()
    half = slice(0, 2) if rank == "0" else slice(2, 4)
    network(image[half], target[half]).backward()
    torch.save(gradient(network), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
