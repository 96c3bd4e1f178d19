"""Which of some videos are hard: a ranking by the variance of an ensemble (LDEQ, appendix A) or another amount."""

from pathlib import Path

import numpy as np

from datamodules.annotation_table import read_csv
from datamodules.crop import Floats

COLUMNS = ("video", "variance")


def upper_half(amounts: Floats) -> np.ndarray:
    """Which of some videos (V,) are in the upper half by their amounts (V,); the first of equal ones are lower."""
    hard = np.zeros(len(amounts), bool)
    hard[np.argsort(amounts, kind="stable")[(len(amounts) + 1) // 2 :]] = True
    return hard


def variances_of(path: Path, videos: list[str]) -> Floats:
    """The variances (V,) of these videos in a ranking, which may list others.

    Raises:
        FileNotFoundError, ValueError: one sentence, as `read_ranking`, or for a video that it does not list.
    """
    remedy = "set data.init_args.ranking to a ranking of these videos, or to null"
    variance = read_ranking(path, remedy)
    if missing := [video for video in videos if video not in variance]:
        raise ValueError(
            f"{path}: does not list {missing[0]} ({len(missing)} of {len(videos)} test videos are missing); {remedy}"
        )
    return np.array([variance[video] for video in videos])


def read_ranking(path: Path, remedy: str) -> dict[str, float]:
    """The variance of each video in a CSV file with columns ``video`` and ``variance``.

    Args:
        path: the file.
        remedy: what to do where it is not as it should be.

    Raises:
        FileNotFoundError, ValueError: one sentence, for a missing or damaged file, a video that is listed twice, or a
            variance that is none.
    """
    table = read_csv(path, remedy)
    for column in COLUMNS:
        if column not in table.columns:
            raise ValueError(
                f"{path}: line 1 has no column '{column}', expected the columns {' and '.join(COLUMNS)}; {remedy}"
            )
    variance: dict[str, float] = {}
    values = table.numbers(["variance"])[:, 0].tolist()
    for line, video, value in zip(table.line, table.text("video"), values, strict=True):
        if video in variance:
            raise ValueError(f"{path}: line {line} lists {video} again, expected each video once; remove one of them")
        if value < 0:
            raise ValueError(f"{path}: line {line}, column variance is {value:g}, expected 0 or more")
        variance[video] = value
    return variance
