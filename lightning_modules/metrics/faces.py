"""Metrics of a test set of faces, exact under any number of processes and any sampler.

Each metric keeps one row a face, keyed by the sample's index, and drops repeats before it reduces: a distributed
sampler repeats samples to give every process as many.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from lightning_modules.metrics.functional import (
    accuracy_within,
    area_under_curve,
    cumulative_error_distribution,
    failure_rate,
    first_rows,
    point_errors,
    point_variance,
)


class PerFaceMetric(Metric):
    """A number of a set of faces: implement ``reduce``. It is NaN where the set is empty.

    All such metrics that measure faces alike keep the same rows, so that a collection updates one of them for all.

    Args:
        subset: column of ``subsets`` whose faces count; None counts all.
    """

    is_differentiable = False
    full_state_update = False

    index: list[Tensor]
    error: list[Tensor]
    subsets: list[Tensor]

    def __init__(self, subset: int | None = None) -> None:
        super().__init__()
        self.subset = subset
        for state in ("index", "error", "subsets"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, target: Tensor, norm: Tensor, index: Tensor, subsets: Tensor) -> None:
        """Add the rows of B faces with N landmarks.

        Args:
            pred: (B, N, 2) in pixels.
            target: (B, N, 2) in the same pixels.
            norm: (B,) normaliser in the same pixels.
            index: (B,) int64, the identity of each sample in its split.
            subsets: (B, S) bool, which subsets each face is in.

        Raises:
            ValueError: as in `point_errors`; if index or subsets have another shape.
        """
        error = self.measure(pred, target, norm, index)
        if index.shape != norm.shape or subsets.ndim != 2 or len(subsets) != len(pred):
            raise ValueError(
                f"index has shape {tuple(index.shape)} and subsets {tuple(subsets.shape)}, "
                f"expected ({len(pred)},) and ({len(pred)}, number of subsets)"
            )
        if self.subset is not None and self.subset >= subsets.shape[1]:
            raise ValueError(f"subset {self.subset} is not among the {subsets.shape[1]} subsets of the batch")
        self.index.append(index.long())
        self.error.append(error.float().flatten())
        self.subsets.append(subsets.bool().flatten())

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows of all processes; torchmetrics calls it before every ``compute``."""
        # A process without faces sends empty rows. They must have the type and the number of dimensions of the others'
        # rows, or gathering hangs or crashes: torchmetrics would send float32, and a table's width is not known here,
        # hence the flattened rows.
        if not len(self.index):
            for state, dtype in ((self.index, torch.int64), (self.error, torch.float32), (self.subsets, torch.bool)):
                state.append(torch.empty(0, dtype=dtype, device=self.device))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """The metric of the distinct faces seen by all processes."""
        index, error = dim_zero_cat(self.index), dim_zero_cat(self.error)
        if not len(index):
            return self.reduce(error.reshape(0, 0))
        order = first_rows(index)
        error = error.reshape(len(index), -1)[order]
        if self.subset is not None:
            error = error[dim_zero_cat(self.subsets).reshape(len(index), -1)[order, self.subset]]
        return self.reduce(error)

    def measure(self, pred: Tensor, target: Tensor, norm: Tensor, index: Tensor) -> Tensor:
        """What is kept of B faces, with the same number of columns for each: the point errors (B, N)."""
        return point_errors(pred, target, norm, index)

    @abstractmethod
    def reduce(self, error: Tensor) -> Tensor:
        """The number of M distinct faces with point errors (M, N) in percent."""


class NormalizedMeanError(PerFaceMetric):
    """Mean NME in percent of the normaliser."""

    higher_is_better = False

    def reduce(self, error: Tensor) -> Tensor:
        """Mean over landmarks, then faces."""
        return error.mean(dim=-1).mean()


class PointVariance(PerFaceMetric):
    """Mean `point_variance` (Point-Var), in percent of the normaliser, squared."""

    higher_is_better = False

    def measure(self, pred: Tensor, target: Tensor, norm: Tensor, index: Tensor) -> Tensor:
        """The `point_variance` (B, 1) of each face."""
        return point_variance(pred, target, norm, index).unsqueeze(-1)

    def reduce(self, error: Tensor) -> Tensor:
        """Mean over the faces."""
        return error.mean()


class FailureRate(PerFaceMetric):
    """Share of faces, in percent, whose NME exceeds a threshold (FR^I; 0.10 on WFLW, some papers use 0.08).

    Args:
        threshold: a fraction of the normaliser.
        subset: as in `PerFaceMetric`.
    """

    higher_is_better = False

    def __init__(self, threshold: float = 0.10, subset: int | None = None) -> None:
        super().__init__(subset)
        self.threshold = threshold

    def reduce(self, error: Tensor) -> Tensor:
        """`failure_rate` of the faces."""
        return failure_rate(error.mean(dim=-1), self.threshold)


class LandmarkFailureRate(FailureRate):
    """Share of single landmarks, in percent, whose error exceeds a threshold (FR^L of the Wasserstein paper)."""

    def reduce(self, error: Tensor) -> Tensor:
        """`failure_rate` of the points."""
        return failure_rate(error, self.threshold)


class AreaUnderCurve(PerFaceMetric):
    """Normalised area, in [0, 1], under the cumulative error distribution up to a threshold.

    Args:
        threshold: a fraction of the normaliser.
        subset: as in `PerFaceMetric`.
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.10, subset: int | None = None) -> None:
        super().__init__(subset)
        self.threshold = threshold

    def reduce(self, error: Tensor) -> Tensor:
        """`area_under_curve` of the faces."""
        return area_under_curve(error.mean(dim=-1), self.threshold)


class CumulativeErrorDistribution(PerFaceMetric):
    """The curve that `AreaUnderCurve` integrates, a table (P, 2); being no single number, it is not in `face_metrics`.

    Args:
        threshold: the curve's end, a fraction of the normaliser.
        subset: as in `PerFaceMetric`.
    """

    def __init__(self, threshold: float = 0.10, subset: int | None = None) -> None:
        super().__init__(subset)
        self.threshold = threshold

    def reduce(self, error: Tensor) -> Tensor:
        """`cumulative_error_distribution` of the faces: thresholds as fractions, then shares in [0, 1]."""
        return torch.stack(cumulative_error_distribution(error.mean(dim=-1), self.threshold), dim=-1)


class LandmarkCumulativeErrorDistribution(CumulativeErrorDistribution):
    """The same curve of single landmarks: the share of all points of all faces whose error is at most a threshold."""

    def reduce(self, error: Tensor) -> Tensor:
        """`cumulative_error_distribution` of the points."""
        return torch.stack(cumulative_error_distribution(error.flatten(), self.threshold), dim=-1)


class ErrorByLandmark(PerFaceMetric):
    """A table (N, 2): mean error and failure rate at a threshold of each landmark, both in percent.

    Args:
        threshold: a fraction of the normaliser.
        subset: as in `PerFaceMetric`.
    """

    def __init__(self, threshold: float = 0.10, subset: int | None = None) -> None:
        super().__init__(subset)
        self.threshold = threshold

    def reduce(self, error: Tensor) -> Tensor:
        """Mean over the faces, and `failure_rate` of each landmark."""
        return torch.stack(
            [error.mean(dim=0), 100 * (error > 100 * self.threshold).to(error.dtype).mean(dim=0)], dim=-1
        )


class AccuracyByLandmark(PerFaceMetric):
    """Share (N,) of faces, in percent, in which each landmark is found: ``update`` takes a radius for ``norm``."""

    def reduce(self, error: Tensor) -> Tensor:
        """`accuracy_within` the radius."""
        return accuracy_within(error)


# What a test measures beside the failure rates at 0.10, by name: of faces and of single landmarks, at the thresholds of
# the Wasserstein heatmap paper's Tables 1, 2 and 10.
FAILURE_RATES: Mapping[str, tuple[type[FailureRate], float]] = {
    "fr08": (FailureRate, 0.08),
    "fr05_landmarks": (LandmarkFailureRate, 0.05),
    "fr08_landmarks": (LandmarkFailureRate, 0.08),
    "fr15_landmarks": (LandmarkFailureRate, 0.15),
    "fr20_landmarks": (LandmarkFailureRate, 0.20),
}
LANDMARK_THRESHOLDS = {"fr10_landmarks": 0.10} | {  # by name, of all failure rates of single landmarks
    name: threshold for name, (kind, threshold) in FAILURE_RATES.items() if kind is LandmarkFailureRate
}


def face_metrics(subset_names: Sequence[str], failure_rates: bool = False) -> MetricCollection:
    """NME, FR and AUC at 0.10 and Point-Var over all faces, and by subset as ``nme/<name>`` and so on.

    ``nme``, ``fr10`` (share of faces) and ``fr10_landmarks`` (share of single landmarks) are in percent, ``auc10`` is
    in [0, 1], ``point_var`` in percent squared.

    Args:
        subset_names: of the columns of ``subsets``, in their order.
        failure_rates: `FAILURE_RATES` too.
    """
    metrics: dict[str, Metric | MetricCollection] = {}
    for subset, suffix in [(None, ""), *((i, f"/{name}") for i, name in enumerate(subset_names))]:
        metrics[f"nme{suffix}"] = NormalizedMeanError(subset=subset)
        metrics[f"fr10{suffix}"] = FailureRate(0.10, subset=subset)
        metrics[f"fr10_landmarks{suffix}"] = LandmarkFailureRate(0.10, subset=subset)
        metrics[f"auc10{suffix}"] = AreaUnderCurve(0.10, subset=subset)
        metrics[f"point_var{suffix}"] = PointVariance(subset=subset)
        for name, (kind, threshold) in FAILURE_RATES.items() if failure_rates else ():
            metrics[f"{name}{suffix}"] = kind(threshold, subset=subset)
    # Groups, named: rows are kept once for each way to measure, from the first batch on, and no comparison of values
    # decides it.
    variances = [name for name, metric in metrics.items() if isinstance(metric, PointVariance)]
    return MetricCollection(metrics, compute_groups=[[name for name in metrics if name not in variances], variances])


def face_tables() -> MetricCollection:
    """What is no single number, over all faces.

    ``ced`` and ``ced_landmarks`` are curves (P, 2) up to 0.30, of faces and of single landmarks (of which robustness
    shows beyond 0.10); ``landmarks`` is the table of `ErrorByLandmark` at 0.10.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "ced": CumulativeErrorDistribution(0.30),
        "ced_landmarks": LandmarkCumulativeErrorDistribution(0.30),
        "landmarks": ErrorByLandmark(),
    }
    return MetricCollection(metrics, compute_groups=[list(metrics)])
