"""Counts and sums over two processes; as a script, one of them."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from lightning_modules.processes import Draws, mean_count, rank_and_size, sum_over_processes

ROOT = Path(__file__).parents[2]


def test_two_processes_have_the_means_of_the_whole_batch(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([sys.executable, __file__, str(tmp_path), str(r)], env=environment) for r in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    # Of 5 numbers 2 and 0 are known: their mean is that of all, in the mean of what both say. Of none it is 0.
    assert ((one["mean"] + two["mean"]) / 2).tolist() == [(3 + 4 + 5) / 3, 0.0]
    assert one["sum"].tolist() == two["sum"].tolist() == [1.0 + 10.0, 2.0 + 20.0]
    # Both say sum ** 2, whose slopes, 2 * sum, both go back to each
    assert one["slope"].tolist() == two["slope"].tolist() == [4 * 11.0, 4 * 22.0]
    alone = Draws(6, torch.Generator().manual_seed(3))
    for kind in ("rand", "randn", "noise"):
        drawn = getattr(alone, kind)(4)
        assert torch.equal(one[kind], drawn[0::2])
        assert torch.equal(two[kind], drawn[1::2])
    assert one["order"] == two["order"] == alone.order(5)


def test_one_process_is_alone():
    assert rank_and_size() == (0, 1)
    assert mean_count(torch.tensor([3, 0])).tolist() == [3.0, 1.0]


def main(folder: Path, rank: int) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    values = ([3.0, 4.0], [5.0])[rank]
    sums = torch.tensor([sum(values), 0.0])
    mean = sums / mean_count(torch.tensor([len(values), 0]))
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0]][rank], requires_grad=True)
    total = sum_over_processes(x)
    total.square().sum().backward()
    draws = Draws(3, torch.Generator().manual_seed(3), *rank_and_size())
    drawn = {kind: getattr(draws, kind)(4) for kind in ("rand", "randn", "noise")}
    told = {"mean": mean, "sum": total.detach(), "slope": x.grad, "order": draws.order(5), **drawn}
    torch.save(told, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
