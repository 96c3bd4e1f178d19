"""How well discovered landmarks tell where annotated ones are: by a linear map (Rahaman et al. 2021, section 4.1).

Letters: M faces, K discovered and N annotated landmarks. Points are (x, y) in pixels of square frames.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Origin = Literal["centre", "corner"]


@dataclass(frozen=True)
class Ridge:
    """Ridge regression without bias from the coordinates of all discovered landmarks to those of the annotated ones.

    Without a bias the origin matters, and what alpha does depends on the unit; the paper gives neither. ``corner``
    counts pixels from the frame's top-left corner (the code of Jakab et al. 2018, with alpha 0), where an alpha of 0.1
    is next to nothing, and landmarks that hardly move serve as a bias. ``centre`` goes from -1 to 1, 0 in the middle
    (that of Zhang et al. 2018 but for a factor), where those near the middle say nothing.

    Args:
        alpha: weight of the map's squares.
        origin: of the coordinates.

    Raises:
        ValueError: alpha is not a number of at least 0, or there is no such origin.
    """

    alpha: float = 0.1
    origin: Origin = "corner"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < torch.inf:
            raise ValueError(f"alpha of the regression is {self.alpha}, expected a number of at least 0")
        if self.origin not in get_args(Origin):
            raise ValueError(f"origin of the regression is '{self.origin}', expected {' or '.join(get_args(Origin))}")

    def fit(self, found: Tensor, truth: Tensor, side: int) -> Tensor:
        """The map (2 K, 2 N) in float64.

        Args:
            found: (M, K, 2) discovered landmarks.
            truth: (M, N, 2) annotated ones; those that are not finite teach nothing.
            side: of the frames.

        Raises:
            ValueError: a discovered landmark is not finite, or a landmark is annotated in no face.
        """
        inputs, outputs = self._coordinates(found, side), self._coordinates(truth, side)
        if not inputs.isfinite().all():
            raise ValueError("a discovered landmark is not finite: the network has diverged; lower the learning rate")
        known = truth.isfinite().all(dim=-1)  # (M, N)
        if not known.any(dim=0).all():
            nowhere = int((~known.any(dim=0)).nonzero()[0])
            raise ValueError(f"landmark {nowhere} is annotated in none of {len(truth)} faces, so it cannot be learnt")
        found_map = inputs.new_empty(inputs.shape[1], outputs.shape[1])
        patterns, of_landmark = torch.unique(known.T, dim=0, return_inverse=True)  # those known in the same faces
        for number, faces in enumerate(patterns):
            columns = (of_landmark == number).repeat_interleave(2)
            found_map[:, columns] = self._solve(inputs[faces], outputs[faces][:, columns])
        return found_map

    def _solve(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        weight = self.alpha**0.5 * torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        stacked = torch.cat([inputs, weight]), torch.cat([outputs, outputs.new_zeros(len(weight), outputs.shape[1])])
        return torch.linalg.pinv(stacked[0]) @ stacked[1]  # of alpha 0 and few faces the smallest map that fits

    def predict(self, found: Tensor, weights: Tensor, side: int) -> Tensor:
        """Annotated landmarks (..., N, 2) from discovered ones (..., K, 2) and a map of `fit`."""
        outputs = self._coordinates(found, side) @ weights.double()
        points = outputs.view(*outputs.shape[:-1], -1, 2)
        points = points - 0.5 if self.origin == "corner" else (points + 1) * (side / 2) - 0.5
        return points.to(found.dtype)

    def _coordinates(self, points: Tensor, side: int) -> Tensor:
        """(..., 2 K) in float64."""
        points = points.double() + 0.5
        return (points if self.origin == "corner" else points * (2 / side) - 1).flatten(-2)


def chosen_faces(count: int, samples: int, repeat: int, seed: int) -> Tensor:
    """Which of ``count`` faces (samples,) a repeat of an experiment with few labels has; other repeats have others."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + repeat) * 1_000_003 + samples)
    return torch.randperm(count, generator=generator)[:samples]
