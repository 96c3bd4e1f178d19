"""How much memory a training step takes, by batch."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


class PeakMemory:
    """The most that a step of a smaller batch allocates, beyond what there is when it begins.

    On a GPU as its allocator counts it, elsewhere as torch's profiler does: the tensors of autograd, of operations and
    of solvers, but not what libraries keep inside (nor a GPU's context, about half a gigabyte).

    Args:
        device: that is computed on.
        samples: of the batch.
    """

    def __init__(self, device: torch.device, samples: int) -> None:
        self.device, self.samples = device, samples
        self.bytes = 0

    def begin(self, batch: dict[str, Any]) -> None:
        """Cut the batch, in place, and look on."""
        for key, value in batch.items():
            if isinstance(value, Tensor):
                batch[key] = value[: self.samples]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        else:
            self.profile: Any = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.profile.start()

    def end(self) -> None:
        """Note the peak."""
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self.before
            return
        self.profile.stop()
        events = self.profile.profiler.kineto_results.events()
        changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
        allocated = 0
        for _, change in sorted(changes, key=lambda each: each[0]):
            allocated += change
            self.bytes = max(self.bytes, allocated)


def cut_batches(batch: int) -> list[int]:
    """The batches that memory is measured at: a quarter, a half and the whole, of two samples at least."""
    return sorted({samples for samples in (batch // 4, batch // 2) if samples >= 2} | {batch})


def static_bytes(module: Any, optimizers: Iterable[Any], buckets: bool) -> dict[str, int]:
    """Bytes that are there between steps.

    ``buckets`` is whether there are several processes: DistributedDataParallel has a second copy of the gradients, that
    it sends.
    """
    state = [value for optimizer in optimizers for kept in optimizer.state.values() for value in kept.values()]
    gradients = size(parameter for parameter in module.parameters() if parameter.requires_grad)
    return {
        "weights": size(module.parameters()) + size(module.buffers()),
        "gradients": gradients,
        "optimiser": size(value for value in state if isinstance(value, Tensor)),
        "buckets": gradients if buckets else 0,
    }


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
