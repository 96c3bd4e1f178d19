"""How sure a difference between two tests of the same faces is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from callbacks.report.files import Row

DRAWS = 2_000  # and fewer of large sets, whose intervals are narrow


class Difference(NamedTuple):
    """The mean of one test less that of another, and the interval that holds 95 of 100 redrawn sets of faces."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def differences(rows: Sequence[Row], base: Sequence[Row]) -> dict[str, Difference]:
    """Of all numbers that two tables have by face; none where their faces are not the same.

    The bootstrap is paired: faces are drawn with replacement, and both tests are of the same draw.
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
    draws = min(DRAWS, max(400, 20_000_000 // len(order)))
    share = np.full(len(order), 1 / len(order))
    drawn = np.stack([rng.multinomial(len(order), share) @ matrix for _ in range(draws)]) / len(order)
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0).tolist()
    return {
        key: Difference(*each) for key, *each in zip(columns, matrix.mean(axis=0).tolist(), lows, highs, strict=True)
    }
