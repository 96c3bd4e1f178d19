"""Maps from one markup to another: what cross-dataset tests compare when two datasets mark different points."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datamodules.markup import (
    AFLW_17,
    AFLW_19,
    CAT_7,
    CAT_9,
    CELEBA_5,
    COFW_29,
    COMMON_18,
    IBUG_68,
    WFLW_98,
    Floats,
    Markup,
)

Weights = Mapping[int, float]  # landmark of the source: its weight


@dataclass(frozen=True)
class MarkupMap:
    """Each landmark of the target as a weighted sum of landmarks of the source.

    Args:
        source: the markup mapped from.
        target: the markup mapped to.
        weights: one entry for each landmark of the target.
        weights_of_y: entries of y where they are not those of x, by landmark of the target.

    Raises:
        ValueError: if the entries do not fit the two markups.
    """

    source: Markup
    target: Markup
    weights: tuple[Weights, ...]
    weights_of_y: Mapping[int, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.weights) != self.target.num_landmarks:
            raise ValueError(
                f"the map from {self.source.name} to {self.target.name} has {len(self.weights)} entries, expected "
                f"{self.target.num_landmarks}"
            )
        for index in (i for entry in (*self.weights, *self.weights_of_y.values()) for i in entry):
            if not 0 <= index < self.source.num_landmarks:
                raise ValueError(
                    f"the map from {self.source.name} to {self.target.name} names landmark {index}, expected 0 to "
                    f"{self.source.num_landmarks - 1}"
                )

    @property
    def matrices(self) -> Floats:
        """The weights (2, T, N) of N source landmarks in T target landmarks, of x and of y."""
        of_y = [self.weights_of_y.get(i, entry) for i, entry in enumerate(self.weights)]
        matrices = np.zeros((2, self.target.num_landmarks, self.source.num_landmarks))
        for matrix, entries in zip(matrices, (self.weights, of_y), strict=True):
            for row, entry in zip(matrix, entries, strict=True):
                row[list(entry)] = list(entry.values())
        return matrices

    def points(self, landmarks: Floats) -> Floats:
        """Target landmarks (..., T, 2) of source landmarks (..., N, 2) in pixels of a crop.

        Weights apply to distances from the crop's corner, half a pixel before the centre of its first pixel: only
        there do weights that do not sum to 1 mean what the code they come from meant.
        """
        return np.einsum("ctn,...nc->...tc", self.matrices, landmarks + 0.5) - 0.5

    def visible(self, visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which target landmarks (..., T) have all their source landmarks (..., N) visible."""
        needed = (self.matrices != 0).any(axis=0)
        return ~((~visible)[..., None, :] & needed).any(axis=-1)


def find_map(source: str, target: str) -> MarkupMap:
    """The map from a markup to a target, by their names in ``MAPS``.

    Raises:
        ValueError: there is none; lists those there are.
    """
    known = [name for origin, name in MAPS if origin == source]
    if target not in known:
        raise ValueError(
            f"no map from {source} to '{target}' is known, "
            + (f"expected one of: {', '.join(known)}" if known else "nor to any other markup")
        )
    return MAPS[source, target]


def _equal(*indices: int) -> tuple[Weights, ...]:
    return tuple({i: 1.0} for i in indices)


def _mean(*indices: int) -> Weights:
    return {i: 1 / len(indices) for i in indices}


def _eye(first: int, two_thirds: float, third: float) -> tuple[Weights, ...]:
    """Six points of an eye from the eight that begin with ``first``."""
    return (
        {first: 1.0},
        {first + 1: two_thirds, first + 2: third},
        {first + 3: two_thirds, first + 2: third},
        {first + 4: 1.0},
        {first + 5: two_thirds, first + 6: third},
        {first + 7: two_thirds, first + 6: third},
    )


def _wflw_to_ibug(two_thirds: float, third: float) -> tuple[Weights, ...]:
    face = _equal(*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60))  # jaw, brows, nose
    return (*face, *_eye(60, two_thirds, third), *_eye(68, two_thirds, third), *_equal(*range(76, 96)))


# PIPNet's conversion: iBUG's brows are one line, which takes x from WFLW's upper line and y from between its two.
BROW_LINES: dict[int, Weights] = {
    target: _mean(upper, lower)
    for target, upper, lower in (
        *zip(range(18, 22), (34, 35, 36, 37), (41, 40, 39, 38), strict=True),
        *zip(range(22, 26), (42, 43, 44, 45), (50, 49, 48, 47), strict=True),
    )
}


def _without_eye_centres(entries: tuple[Weights, ...]) -> tuple[Weights, ...]:
    """The 17 entries of AFLW-17 of the 19 of AFLW-19."""
    return (*entries[:7], *entries[8:10], *entries[11:])


# In the order of AFLW: brows, eyes (each with its pupil), nose, mouth, chin. A brow's points are midway between its
# lines, the mouth's centre between the lips' inner lines. (``BROW_LINES`` is not that on a tilted head.)
WFLW_TO_AFLW = (
    *(_mean(33), _mean(35, 40), _mean(37, 38), _mean(42, 50), _mean(44, 48), _mean(46)),
    *_equal(60, 96, 64, 68, 97, 72, 55, 54, 59, 76),
    *(_mean(90, 94), _mean(82), _mean(16)),
)
COFW_TO_AFLW = (
    *(_mean(0), _mean(4, 5), _mean(2), _mean(3), _mean(6, 7), _mean(1)),
    *_equal(8, 16, 10, 11, 17, 9, 18, 20, 19, 22),
    *(_mean(25, 26), _mean(23), _mean(28)),
)
IBUG_TO_AFLW_17 = (*_equal(17, 19, 21, 22, 24, 26, 36, 39, 42, 45, 31, 30, 35, 48), _mean(62, 66), *_equal(54, 8))
AFLW_TO_AFLW_17 = _without_eye_centres(_equal(*range(19)))

# Landmarks that 300-W and WFLW both mark, as SPIGA's identities say (db_info.json of 300wpublic and wflw).
IBUG_TO_COMMON = _equal(17, 19, 21, 22, 24, 26, 36, 39, 42, 45, 31, 30, 35, 48, 51, 54, 57, 8)
WFLW_TO_COMMON = _equal(33, 35, 37, 42, 44, 46, 60, 64, 68, 72, 55, 54, 59, 76, 79, 82, 85, 16)

# Eyes, nose and corners of the mouth, as MAFL has them; where pupils are not marked, the mean of the eyelids.
IBUG_TO_CELEBA = (_mean(*range(36, 42)), _mean(*range(42, 48)), *_equal(30, 48, 54))
WFLW_TO_CELEBA = _equal(96, 97, 54, 76, 82)

MAPS = {
    ("wflw-98", "ibug-68"): MarkupMap(WFLW_98, IBUG_68, _wflw_to_ibug(2 / 3, 1 / 3), BROW_LINES),
    # As in PIPNet's code, whose weights sum to 0.999 and so draw eight points to the crop's corner.
    ("wflw-98", "ibug-68-pipnet"): MarkupMap(WFLW_98, IBUG_68, _wflw_to_ibug(0.666, 0.333), BROW_LINES),
    ("wflw-98", "aflw-19"): MarkupMap(WFLW_98, AFLW_19, WFLW_TO_AFLW),
    ("wflw-98", "aflw-17"): MarkupMap(WFLW_98, AFLW_17, _without_eye_centres(WFLW_TO_AFLW)),
    ("wflw-98", "celeba-5"): MarkupMap(WFLW_98, CELEBA_5, WFLW_TO_CELEBA),
    ("ibug-68", "celeba-5"): MarkupMap(IBUG_68, CELEBA_5, IBUG_TO_CELEBA),
    ("wflw-98", "common-18"): MarkupMap(WFLW_98, COMMON_18, WFLW_TO_COMMON),
    ("ibug-68", "aflw-17"): MarkupMap(IBUG_68, AFLW_17, IBUG_TO_AFLW_17),
    ("ibug-68", "common-18"): MarkupMap(IBUG_68, COMMON_18, IBUG_TO_COMMON),
    ("cofw-29", "aflw-19"): MarkupMap(COFW_29, AFLW_19, COFW_TO_AFLW),
    ("cofw-29", "aflw-17"): MarkupMap(COFW_29, AFLW_17, _without_eye_centres(COFW_TO_AFLW)),
    ("aflw-19", "aflw-17"): MarkupMap(AFLW_19, AFLW_17, AFLW_TO_AFLW_17),
    ("cat-9", "cat-7"): MarkupMap(CAT_9, CAT_7, _equal(0, 1, 2, 3, 5, 6, 8)),
}
