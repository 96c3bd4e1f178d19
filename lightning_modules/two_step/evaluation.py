"""What discovered landmarks and features are worth: errors with few labels, and how features move with the image.

Letters: M faces, K discovered and N annotated landmarks, R radii. Points are (x, y) in pixels.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.two_step.probe import Ridge, chosen_faces

SAMPLES = (1, 5, 10, 50, 100, 500, 1000)  # of the paper's Tables 2, 3 and 5, and all


class Faces(NamedTuple):
    """What is known of faces."""

    found: Tensor  # (M, K, 2) discovered landmarks
    truth: Tensor  # (M, N, 2) annotated ones, NaN where there is none
    norm: Tensor  # (M,) what errors are divided by, in the same pixels
    radii: Tensor  # (M, R) within which a landmark counts as found, likewise


class FewLabels(NamedTuple):
    """Errors of regressions on so many labelled faces: means and standard deviations over repeats with other faces."""

    samples: int
    repeats: int
    landmarks: float  # annotated in any of the faces, which are those whose errors count; the mean over the repeats
    nme: tuple[float, float]  # in percent, of all test faces; the deviation of one repeat is 0
    within: list[tuple[float, float]]  # of each radius: share of landmarks within it, in percent


def few_labels(
    train: Faces,
    test: Faces,
    side: int,
    ridge: Ridge,
    samples: Sequence[int] = SAMPLES,
    repeats: int = 10,
    seed: int = 0,
) -> list[FewLabels]:
    """The probe's errors with each number of labelled faces that there are, and with all of them."""
    labelled = train.truth.isfinite().all(dim=-1).any(dim=-1)
    found, truth = train.found[labelled], train.truth[labelled]
    rows = []
    for count in [*(count for count in samples if count < len(found)), len(found)]:
        times = repeats if count < len(found) else 1
        measured, landmarks = [], 0
        for repeat in range(times):
            chosen = chosen_faces(len(found), count, repeat, seed)
            known = truth[chosen].isfinite().all(dim=-1).any(dim=0)
            weights = ridge.fit(found[chosen], truth[chosen][:, known], side)
            predicted = ridge.predict(test.found, weights, side)
            measured.append(_errors(predicted, test._replace(truth=test.truth[:, known])))
            landmarks += int(known.sum())
        values = torch.stack(measured)
        spread = values.std(dim=0) if times > 1 else torch.zeros_like(values[0])
        nme, *within = zip(values.mean(dim=0).tolist(), spread.tolist(), strict=True)
        rows.append(FewLabels(count, times, landmarks / times, nme, within))
    return rows


def _errors(predicted: Tensor, test: Faces) -> Tensor:
    """NME and the share within each radius, in percent (1 + R,)."""
    distance = (predicted - test.truth).norm(dim=-1)
    known = test.truth.isfinite().all(dim=-1)
    nme = (distance / test.norm.unsqueeze(1))[known].mean()
    within = [(distance <= radius.unsqueeze(1))[known].double().mean() for radius in test.radii.T]
    return 100 * torch.stack([nme.double(), *within])


def accuracy_curve(errors: Tensor, distances: Iterable[float]) -> list[float]:
    """Acc(d) (Eq. 6): the share in percent of errors, in pixels, that are at most each distance; NaN is left out."""
    known = errors[errors.isfinite()]
    return [100 * float((known <= distance).double().mean()) for distance in distances]
