"""What makes several processes with a part of a batch each compute what one would with all of it.

DistributedDataParallel takes the mean of the processes' gradients. It is that of the whole batch where each process's
loss is a mean over as many things. Where it is not, `mean_count` is what to divide by; and what is random about a
sample has to be the same whichever process has it, `Draws`.
"""

from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def rank_and_size() -> tuple[int, int]:
    """Which process this is, and of how many."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def mean_count(counts: Tensor) -> Tensor:
    """Counts of what a loss is a mean over, in the mean over the processes, which all have to call this.

    A sum over this process's samples divided by it has, in the mean over the processes, the value and the gradient that
    the whole batch has: processes may have unequal numbers of annotated landmarks. Where all together have none it is
    what a count of one would be, so that the sum of nothing is divided by something.
    """
    total = counts.detach().float()
    size = rank_and_size()[1]
    if size > 1:
        total = total.clone()
        torch.distributed.all_reduce(total)
    return total.clamp_min(1) / size


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of what all processes have, through which the gradients of all of them go back to each."""
    summed: Tensor = _Sum.apply(x)
    return summed


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        total = slope.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


class Draws:
    """Random numbers for the samples of a batch; on several processes, those that one would draw for them.

    Sample j of process r is sample j * W + r of the whole batch of W processes, as samplers share them out.

    Args:
        count: samples of this process, as many as any other has.
        generator: on the device to draw on, in the same state on all processes, in another for each batch.
        rank: r.
        size: W.
    """

    def __init__(self, count: int, generator: torch.Generator, rank: int = 0, size: int = 1) -> None:
        self.count, self.generator, self.rank, self.size = count, generator, rank, size
        self.device = generator.device
        self.dtype = torch.promote_types(torch.float32, torch.get_default_dtype())  # float64 in a training that is

    def rand(self, *shape: int) -> Tensor:
        """(count, *shape), even in [0, 1)."""
        return self._own(torch.rand(self.count * self.size, *shape, generator=self.generator, **self._options))

    def randn(self, *shape: int) -> Tensor:
        """(count, *shape), standard normal."""
        return self._own(torch.randn(self.count * self.size, *shape, generator=self.generator, **self._options))

    def order(self, count: int) -> list[int]:
        """An order of as many things, the same for all samples; it is drawn on the CPU, as whoever asks is there."""
        found: list[int] = torch.randperm(count, generator=self._other(-1, torch.device("cpu"))).tolist()
        return found

    def noise(self, *shape: int) -> Tensor:
        """(count, *shape), standard normal: large shapes, of which no more are drawn than this process has."""
        found = torch.empty(self.count, *shape, **self._options)
        for j, row in enumerate(found):
            torch.randn(shape, generator=self._other(j * self.size + self.rank, self.device), out=row)
        return found

    @property
    def _options(self) -> dict[str, Any]:
        return {"device": self.device, "dtype": self.dtype}

    def _own(self, drawn: Tensor) -> Tensor:
        return drawn[self.rank :: self.size]

    def _other(self, number: int, device: torch.device) -> torch.Generator:
        """A generator for one purpose."""
        place = (self.generator.initial_seed(), number + 1)
        return torch.Generator(device).manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
