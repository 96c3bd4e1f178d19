"""Evaluation metrics: functions of tensors in `functional`, torchmetrics classes that keep rows in `faces`."""

from lightning_modules.metrics.faces import (
    AreaUnderCurve,
    CumulativeErrorDistribution,
    FailureRate,
    LandmarkFailureRate,
    NormalizedMeanError,
    PerFaceMetric,
    face_metrics,
)
from lightning_modules.metrics.functional import (
    area_under_curve,
    cumulative_error_distribution,
    failure_rate,
    normalized_mean_error,
    point_errors,
)

__all__ = [
    "AreaUnderCurve",
    "CumulativeErrorDistribution",
    "FailureRate",
    "LandmarkFailureRate",
    "NormalizedMeanError",
    "PerFaceMetric",
    "area_under_curve",
    "cumulative_error_distribution",
    "face_metrics",
    "failure_rate",
    "normalized_mean_error",
    "point_errors",
]
