"""Evaluation metrics: functions of tensors in `functional`, torchmetrics classes that keep rows in `faces`."""

from lightning_modules.metrics.faces import (
    FAILURE_RATES,
    AccuracyByLandmark,
    AreaUnderCurve,
    CumulativeErrorDistribution,
    ErrorByLandmark,
    FailureRate,
    LandmarkCumulativeErrorDistribution,
    LandmarkFailureRate,
    NormalizedMeanError,
    PerFaceMetric,
    PointVariance,
    face_metrics,
    face_tables,
)
from lightning_modules.metrics.functional import (
    accuracy_within,
    area_under_curve,
    cumulative_error_distribution,
    failure_rate,
    normalized_mean_error,
    point_errors,
    point_variance,
)

__all__ = [
    "FAILURE_RATES",
    "AccuracyByLandmark",
    "AreaUnderCurve",
    "CumulativeErrorDistribution",
    "ErrorByLandmark",
    "FailureRate",
    "LandmarkCumulativeErrorDistribution",
    "LandmarkFailureRate",
    "NormalizedMeanError",
    "PerFaceMetric",
    "PointVariance",
    "accuracy_within",
    "area_under_curve",
    "cumulative_error_distribution",
    "face_metrics",
    "face_tables",
    "failure_rate",
    "normalized_mean_error",
    "point_errors",
    "point_variance",
]
