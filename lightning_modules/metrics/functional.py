"""Errors of landmarks as functions of tensors.

Units: errors (NME, also of one point) and failure rates are in percent, variances in percent squared; thresholds are
fractions, as papers write them (0.10); AUC is in [0, 1]. A mean over no faces is NaN. Letters: B faces, N landmarks.
"""

import torch
from torch import Tensor


def point_errors(pred: Tensor, target: Tensor, norm: Tensor, index: Tensor | None = None) -> Tensor:
    """Distance (B, N) of each landmark from its target, in percent of the face's normaliser.

    Args:
        pred: (B, N, 2) in pixels.
        target: (B, N, 2) in the same pixels.
        norm: (B,) the distance that errors are divided by, in the same pixels.
        index: (B,) identities of the samples, for error sentences.

    Raises:
        ValueError: if shapes do not fit, a normaliser is not a finite number above 0, or a coordinate is not finite.
    """
    _check(pred, target, norm, index)
    return 100 * torch.linalg.vector_norm(pred - target, dim=-1) / norm.unsqueeze(-1)


def point_variance(pred: Tensor, target: Tensor, norm: Tensor, index: Tensor | None = None) -> Tensor:
    """How unequally a face's landmarks err (B,): the variance of their differences from the targets, percent squared.

    The mean over the landmarks of the squared distance from the mean difference, which is the variance in x plus that
    in y. Moving all landmarks alike costs nothing, and this plus the squared length of the mean difference is the mean
    square of `point_errors`.

    It is Point-Var of the PIPNet paper (section 4.3.2), which gives neither a unit nor how x and y are put together.
    Here differences are in percent of the normaliser, as errors are, and x and y are summed, so that turning the image
    changes nothing; their mean would be half of it.

    Arguments and errors are those of `point_errors`.
    """
    _check(pred, target, norm, index)
    difference = 100 * (pred - target) / norm.view(-1, 1, 1)
    return (difference - difference.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean(dim=-1)


def _check(pred: Tensor, target: Tensor, norm: Tensor, index: Tensor | None) -> None:
    """Refuse what `point_errors` refuses."""
    if pred.ndim != 3 or pred.shape[-1] != 2 or pred.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(pred.shape)} and target {tuple(target.shape)}, "
            "expected the same (faces, landmarks, 2) for both"
        )
    if norm.shape != pred.shape[:1]:
        raise ValueError(f"norm has shape {tuple(norm.shape)}, expected ({len(pred)},): one distance a face")
    _refuse(
        ~(norm.isfinite() & (norm > 0)),
        index,
        "the normaliser is zero or missing, so NME is not defined; correct the landmarks or choose another "
        "data.init_args.normalizer",
    )
    _refuse(
        ~target.isfinite().all(dim=(1, 2)),
        index,
        "an annotated landmark is not finite; correct the annotation",
    )
    _refuse(
        ~pred.isfinite().all(dim=(1, 2)),
        index,
        "a predicted landmark is not finite: the network diverged; lower the learning rate or clip gradients",
    )


def _refuse(bad: Tensor, index: Tensor | None, why: str) -> None:
    if bad.any():
        face = int(bad.nonzero()[0])
        name = f"face {face} of the batch" if index is None else f"sample {int(index[face])}"
        raise ValueError(f"{name}: {why}")


def first_rows(index: Tensor) -> Tensor:
    """Positions (D,) of the first row of each distinct sample in ``index`` (M,), in the order of the samples."""
    ordered, order = index.sort(stable=True)
    return order[torch.cat([ordered.new_ones(1), ordered.diff()]) != 0]


def normalized_mean_error(pred: Tensor, target: Tensor, norm: Tensor, index: Tensor | None = None) -> Tensor:
    """NME (B,) in percent: the mean of `point_errors` over a face's landmarks, with the same arguments and errors."""
    return point_errors(pred, target, norm, index).mean(dim=-1)


def failure_rate(error: Tensor, threshold: float = 0.10) -> Tensor:
    """Share of errors strictly above the threshold, in percent.

    Of the NME (B,) of faces it is FR^I; of `point_errors` (B, N) it is the landmark-wise FR^L of the Wasserstein
    heatmap paper, over all points of all faces.
    """
    return 100 * (error > 100 * threshold).to(error.dtype).mean()


def failures(error: Tensor, threshold: float = 0.10) -> Tensor:
    """Share (B,) of each face's `point_errors` (B, N) that are strictly above the threshold, in percent."""
    return 100 * (error > 100 * threshold).to(error.dtype).mean(dim=-1)


def cumulative_error_distribution(nme: Tensor, threshold: float = 0.10, step: float = 1e-4) -> tuple[Tensor, Tensor]:
    """Share y in [0, 1] of faces whose NME (B,) is at most x, for x from 0 to the threshold (a fraction).

    The grid of the field's code, ``np.arange(0, threshold + step, step)``, runs past some thresholds by a step (0.05
    gives 502 points); this one always ends at the threshold.
    """
    percent = torch.linspace(0, 100 * threshold, round(threshold / step) + 1, dtype=nme.dtype, device=nme.device)
    count = torch.searchsorted(nme.sort().values, percent, right=True)
    return percent / 100, count.to(nme.dtype) / len(nme)


def area_under_curve(nme: Tensor, threshold: float = 0.10) -> Tensor:
    """Area in [0, 1] under the cumulative error distribution of NME (B,) up to the threshold, divided by it.

    The exact integral. The field's code takes Simpson's rule on the grid of `cumulative_error_distribution`, which
    differs by up to 1e-3 for one face and 2e-5 over 2,500; where that code's grid runs past the threshold (0.05), its
    area is 1e-3 too large.
    """
    return (1 - nme / (100 * threshold)).clamp_min(0).mean()


def accuracy_within(error: Tensor) -> Tensor:
    """Share (N,) of faces, in percent, whose landmark lies at most a radius from its target, for each landmark.

    ``error`` is `point_errors` (B, N) with the radius for the normaliser.
    """
    return 100 * (error <= 100).to(error.dtype).mean(dim=0)
