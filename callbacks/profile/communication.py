"""What processes of a training send each other, and how long a sum over them takes."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.nn import SyncBatchNorm
from torch.profiler import ProfilerActivity, profile

from callbacks.profile.memory import size

SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 23)  # bytes, beside a model's own
REPEATS = 7
SHORT = 1 << 16  # elements below which a message is all latency


class Collectives:
    """Counts the collective operations of some steps, as torch's profiler sees them.

    ``counts`` has them by operation and number of elements.

    Args:
        steps: that it looks on for, from when it is made.
    """

    def __init__(self, steps: int) -> None:
        self.steps = self.left = steps
        self.counts: Counter[tuple[str, int]] = Counter()
        self.profile: Any = None
        self.begin({})

    def begin(self, batch: dict[str, Any]) -> None:
        """Look on."""
        if not self.profile:
            self.profile = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
            self.profile.start()

    def end(self) -> None:
        """Look away after the last step."""
        self.left -= 1
        if not self.left:
            self.look_away()

    def look_away(self) -> None:
        """Count, and leave out what comes before the next step: an epoch's end."""
        self.profile.stop()
        for event in self.profile.events():
            backend, colon, operation = event.name.partition(":")
            if colon and backend in ("gloo", "nccl"):
                self.counts[operation, sum(torch.Size(shape).numel() for shape in event.input_shapes or [])] += 1
        self.profile = None

    def rows(self) -> list[dict[str, Any]]:
        """Operation, elements, and how often a step it is called."""
        rows = sorted(self.counts.items(), key=lambda row: -row[0][1])
        return [{"operation": o, "elements": n, "a_step": count / self.steps} for (o, n), count in rows]


def messages(module: Any) -> dict[str, int]:
    """What DistributedDataParallel sends of a module in each step.

    Bytes of gradients and buffers; and how many messages are all latency: Lightning tells all processes of signals,
    buffers go out by type, and each synchronised batch norm gathers statistics on the way there and sums them on the
    way back.
    """
    synchronised = sum(isinstance(part, SyncBatchNorm) for part in module.modules())
    return {
        "gradient_bytes": size(parameter for parameter in module.parameters() if parameter.requires_grad),
        "buffer_bytes": size(module.buffers()),
        "short_messages": 1 + len({buffer.dtype for buffer in module.buffers()}) + 2 * synchronised,
    }


def all_reduce_seconds(sizes: Sequence[int], device: torch.device) -> list[tuple[int, float]]:
    """Bytes, and the median time of their sum over the processes of the group; each of them has to call this."""
    found = []
    for count in sizes:
        values, times = torch.zeros(count // 4, device=device), []
        for _ in range(2 + REPEATS):
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(values)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
        found.append((count, sorted(times[2:])[REPEATS // 2]))
    return found


def sizes_for(gradients: int) -> list[int]:
    """`SIZES` below a model's gradients, and these."""
    return [*(count for count in SIZES if count < gradients), gradients]


def between_two(gradients: int) -> dict[str, Any]:
    """`all_reduce_seconds` of two processes on this machine, by NCCL where there are two GPUs, else by gloo."""
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    with TemporaryDirectory() as folder:
        spawn(_one_of_two, (backend, folder, gradients), nprocs=2)  # type: ignore[no-untyped-call]
        return {"backend": backend, "processes": 2, "seconds": json.loads(Path(folder, "seconds.json").read_text())}


def _one_of_two(rank: int, backend: str, folder: str, gradients: int) -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    dist.init_process_group(backend, init_method=f"file://{folder}/group", rank=rank, world_size=2)
    found = all_reduce_seconds(sizes_for(gradients), device)
    if rank == 0:
        Path(folder, "seconds.json").write_text(json.dumps(found))
    dist.destroy_process_group()
