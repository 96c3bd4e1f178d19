"""What the processes of a run know together."""

import atexit
from typing import Any

import torch.distributed


def from_all_ranks(rows: list[Any]) -> list[Any]:
    """The rows of all processes, in order of rank, on each of them; every process has to call this."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return rows
    parts: list[list[Any]] = [[]] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


@atexit.register
def part() -> None:
    """Leave the group before the interpreter ends: its threads may still drop what was gathered, and would abort it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
