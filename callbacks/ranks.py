"""What the processes of a run know together."""

import atexit
from typing import Any

import torch.distributed

from lightning_modules.processes import rank_and_size


def from_all_ranks(rows: list[Any]) -> list[Any]:
    """The rows of all processes, in order of rank, on each of them; every process has to call this."""
    size = rank_and_size()[1]
    if size == 1:
        return rows
    parts: list[list[Any]] = [[]] * size
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


@atexit.register
def part() -> None:
    """Leave the group before the interpreter ends: its threads may still drop what was gathered, and would abort it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
