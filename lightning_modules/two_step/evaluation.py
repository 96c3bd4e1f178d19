"""What discovered landmarks and features are worth: errors with few labels, and how features move with the image.

Letters: M training and T test faces, K discovered and N annotated landmarks. Points are (x, y) in pixels.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.two_step.probe import Ridge, chosen_faces

SAMPLES = (1, 5, 10, 50, 100, 500)  # of the paper's Tables 2, 3 and 5, and all


class Faces(NamedTuple):
    """What is known of faces."""

    found: Tensor  # (M, K, 2) discovered landmarks
    truth: Tensor  # (M, N, 2) annotated ones, NaN where there is none
    norm: Tensor  # (M,) what errors are divided by, in the same pixels


class FewLabels(NamedTuple):
    """The error of regressions on so many labelled faces, over repeats that draw other faces."""

    samples: int
    mean: float  # NME in percent, of all test faces
    spread: float  # standard deviation over the repeats, of all faces 0
    repeats: int


def few_labels(
    train: Faces,
    test: Faces,
    side: int,
    ridge: Ridge,
    samples: Sequence[int] = SAMPLES,
    repeats: int = 10,
    seed: int = 0,
) -> list[FewLabels]:
    """The probe's error with each number of labelled faces that there are, and with all of them."""
    rows = []
    for count in [*(count for count in samples if count < len(train.found)), len(train.found)]:
        times = repeats if count < len(train.found) else 1
        errors = []
        for repeat in range(times):
            chosen = chosen_faces(len(train.found), count, repeat, seed)
            weights = ridge.fit(train.found[chosen], train.truth[chosen], side)
            errors.append(_nme(ridge.predict(test.found, weights, side), test))
        found = torch.stack(errors)
        spread = float(found.std()) if times > 1 else 0.0
        rows.append(FewLabels(count, float(found.mean()), spread, times))
    return rows


def _nme(predicted: Tensor, test: Faces) -> Tensor:
    error = (predicted - test.truth).norm(dim=-1) / test.norm.unsqueeze(1)
    return 100 * error[test.truth.isfinite().all(dim=-1)].mean()


def accuracy_curve(errors: Tensor, distances: Iterable[float]) -> list[float]:
    """Acc(d) (Eq. 6): the share in percent of errors, in pixels, that are at most each distance; NaN is left out."""
    known = errors[errors.isfinite()]
    return [100 * float((known <= distance).double().mean()) for distance in distances]


def chance_curve(side: int, distances: Iterable[float], draws: int = 100_000) -> list[float]:
    """Acc(d) where both the place and the guess are drawn evenly over the frame: nothing is known."""
    generator = torch.Generator().manual_seed(0)
    errors = (torch.rand(draws, 2, generator=generator) - torch.rand(draws, 2, generator=generator)).norm(dim=1) * side
    return accuracy_curve(errors, distances)
