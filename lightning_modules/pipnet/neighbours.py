"""Neighbour regression: whose neighbours a landmark predicts, and how their predictions are merged (section 3.2)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


def nearest(mean_shape: Tensor, count: int) -> Tensor:
    """The ``count`` landmarks nearest to each of N on the mean shape (N, 2), itself left out: (N, count), int64.

    Raises:
        ValueError: there are no more than ``count`` landmarks.
    """
    n = len(mean_shape)
    if count >= n:
        raise ValueError(
            f"model.init_args.num_neighbours is {count}, but of {n} landmarks each has {n - 1} others; set it to "
            + (f"{n - 1} or less (0 is no neighbour regression)" if n > 1 else "0, which is no neighbour regression")
        )
    distance = torch.cdist(mean_shape.double(), mean_shape.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distance.fill_diagonal_(torch.inf).argsort(dim=1, stable=True)[:, :count]


class Merge(ABC):
    """How a landmark's own prediction and those that others make of it become one: by weights that sum to 1."""

    @abstractmethod
    def weights(self, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """The weight (N,) of own predictions, and that (N, C) of what landmark i predicts of its j-th neighbour."""

    def __call__(self, own: Tensor, others: Tensor, neighbours: Tensor) -> Tensor:
        """Merged points (B, N, 2).

        Args:
            own: (B, N, 2), what each landmark predicts of itself.
            others: (B, N, C, 2), what it predicts of its neighbours.
            neighbours: (N, C), which these are.
        """
        mine, theirs = (weight.unsqueeze(-1) for weight in self.weights(neighbours))
        merged = own * mine
        return merged.index_add(1, neighbours.flatten(), (others * theirs).flatten(1, 2))


@dataclass(frozen=True)
class Mean(Merge):
    """The mean of a landmark's own prediction and all that others make of it (the paper)."""

    def weights(self, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """See `Merge`."""
        share = 1 / (1 + _times_a_neighbour(neighbours))
        return share, share[neighbours]


@dataclass(frozen=True)
class RepeatedListMean(Merge):
    """The released code's mean, for its published numbers.

    It repeats each landmark's list of predictions by others until it is as long as the longest list, and cuts it there:
    a landmark that few others predict counts less of its own, and the first of its list more. It fails where a landmark
    is nobody's neighbour; here such a landmark keeps its own prediction.
    """

    def weights(self, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """See `Merge`."""
        n, c = neighbours.shape
        times = _times_a_neighbour(neighbours)
        longest = times.max() if c else times.new_tensor(0)
        flat = neighbours.flatten()
        # The place of each prediction in the list of the landmark it is of; lists are ordered by who predicts.
        order = flat.argsort(stable=True)
        first = times.cumsum(0) - times  # where each landmark's list begins in that order
        place = torch.arange(n * c, device=flat.device) - first[flat[order]]
        earlier = torch.empty_like(place).scatter(0, order, place)
        length = times[flat]
        repeats = longest.div(length, rounding_mode="floor") + (earlier < longest % length)
        own = torch.where(times > 0, 1 / (1 + longest), torch.ones_like(times))
        return own, (repeats / (1 + longest)).view(n, c)


def _times_a_neighbour(neighbours: Tensor) -> Tensor:
    """How many landmarks have each of N for a neighbour (N,), as float32."""
    one = neighbours.new_ones(()).expand(neighbours.numel())  # bincount would wait for the device
    return neighbours.new_zeros(len(neighbours)).index_add(0, neighbours.flatten(), one).float()


# Checkpoints hold the merge among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([Mean, RepeatedListMean])
