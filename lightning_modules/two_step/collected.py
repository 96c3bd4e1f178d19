"""Numbers of the samples of a dataset, from whichever rank looked at them."""

from collections.abc import Callable

import torch
from torch import Tensor


class Collected:
    """A row of numbers for each of M samples.

    Args:
        count: M.
        shape: of a row.
        device: that they are kept on.
    """

    def __init__(self, count: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.values = torch.zeros(count, *shape, device=device)
        self.times = torch.zeros(count, device=device)

    def put(self, rows: Tensor, values: Tensor) -> None:
        """Values (B, ...) of samples (B,)."""
        self.values[rows] = values.to(self.values.dtype)
        self.times[rows] = 1

    def everything(self, add: Callable[[Tensor], Tensor]) -> Tensor:
        """The rows (M', ...) of all samples that a rank has put, in their order; ``add`` sums over the ranks.

        A sample that two ranks have put, to share them out evenly, has the mean of what they say.
        """
        unknown = self.values.isnan()
        values, unknown, times = add(self.values.nan_to_num()), add(unknown.float()) > 0, add(self.times)
        values = values / times.clamp_min(1).view(-1, *[1] * (values.ndim - 1))
        return values.masked_fill(unknown, torch.nan)[times > 0]
