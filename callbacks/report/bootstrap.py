"""How sure a difference between two tests of the same faces is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from callbacks.report.files import Row

DRAWS = 2_000  # and fewer of large sets, whose intervals are narrow


class Difference(NamedTuple):
    """The mean of one test less that of another, and the interval that holds 95 of 100 redrawn sets of photographs."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def differences(rows: Sequence[Row], base: Sequence[Row]) -> dict[str, Difference]:
    """Of all numbers that two tables have by face; none where their faces are not the same.

    The bootstrap is paired: both tests are of the same draw. It draws photographs with all their faces and videos with
    all their frames, with replacement: frames of one video err alike.
    """
    import numpy as np  # here, because --help is to answer at once

    ours, theirs = ({int(row["index"]): row for row in table} for table in (rows, base))
    if not ours or ours.keys() != theirs.keys():
        return {}
    first = next(iter(ours.values()))
    keys = [key for key in first if key == "nme" or key.endswith("_landmarks")]
    order = sorted(ours)

    def column(rows: Mapping[int, Row], key: str) -> np.ndarray:
        return np.array([rows[index][key] for index in order])

    columns = {key: column(ours, key) - column(theirs, key) for key in keys if key in theirs[order[0]]}
    for at in (8, 10):
        failed = [100.0 * (column(rows, "nme") > at) for rows in (ours, theirs)]
        columns[f"fr{at:02}"] = failed[0] - failed[1]
    matrix, rng = np.stack(list(columns.values()), axis=1), np.random.default_rng(0)
    _, of_face = np.unique([_source(ours[index]) for index in order], return_inverse=True)
    faces = np.bincount(of_face)
    sums = np.stack([np.bincount(of_face, weights) for weights in matrix.T], axis=1)
    draws = min(DRAWS, max(400, 20_000_000 // len(faces)))
    share = np.full(len(faces), 1 / len(faces))
    times = (rng.multinomial(len(faces), share) for _ in range(draws))
    drawn = np.stack([(each @ sums) / (each @ faces) for each in times])
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0).tolist()
    return {
        key: Difference(*each) for key, *each in zip(columns, matrix.mean(axis=0).tolist(), lows, highs, strict=True)
    }


def _source(row: Row) -> str:
    """The photograph or video that a face is in; tables from before there were images have faces only."""
    return str(row.get("image", row["index"])).partition("#")[0]
