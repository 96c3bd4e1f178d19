"""What a set of landmarks means: how many there are, their mirror images, parts, edges to draw and normalisers of NME.

Left and right are the image's sides. Indices are 0-based.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Groups = tuple[tuple[int, ...], tuple[int, ...]]

BOX_NORMALIZERS = {
    "box-size": "square root of the area of the landmarks' tight box",
    "box-diagonal": "diagonal of the landmarks' tight box (Menpo)",
    "crop-size": "side of the crop (PIPNet's AFLW)",
    "provided-box": "longer side of the dataset's own rectangle (HRNet's AFLW)",
}


@dataclass(frozen=True)
class Markup:
    """A landmark scheme.

    Args:
        name: as in a config's ``markup``.
        num_landmarks: N.
        flip: for each landmark of a mirrored face, the landmark of the original that it is; its own inverse.
        normalizers: name to two groups of landmarks; NME divides by the distance between the groups' mean points.
            The first is the default. Every markup also has those of `BOX_NORMALIZERS`.
        parts: name to landmarks.
        edges: pairs of landmarks to join in a drawing.

    Raises:
        ValueError: if an index does not exist or ``flip`` is not its own inverse; says which.
    """

    name: str
    num_landmarks: int
    flip: tuple[int, ...]
    normalizers: Mapping[str, Groups] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.flip) != self.num_landmarks or any(
            not 0 <= j < self.num_landmarks or self.flip[j] != i for i, j in enumerate(self.flip)
        ):
            raise ValueError(f"markup {self.name}: flip must pair {self.num_landmarks} landmarks with each other")
        uses = {"normalizers": [i for pair in self.normalizers.values() for group in pair for i in group]}
        uses |= {
            "parts": [i for part in self.parts.values() for i in part],
            "edges": [i for e in self.edges for i in e],
        }
        for key, indices in uses.items():
            for index in indices:
                if not 0 <= index < self.num_landmarks:
                    raise ValueError(
                        f"markup {self.name}: {key} names landmark {index}, expected 0 to {self.num_landmarks - 1}"
                    )

    @property
    def default_normalizer(self) -> str:
        """The normaliser of the field's tables, ``box-size`` where there is none."""
        return next(iter(self.normalizers), "box-size")

    def check_normalizer(self, normalizer: str) -> None:
        """Refuse a normaliser this markup does not have, with a ValueError that lists those it has."""
        if normalizer not in self.normalizers and normalizer not in BOX_NORMALIZERS:
            known = ", ".join([*self.normalizers, *BOX_NORMALIZERS])
            raise ValueError(f"data.init_args.normalizer is '{normalizer}', but {self.name} has: {known}")

    def norm(self, landmarks: Floats, normalizer: str, crop_size: float, box: Floats | None = None) -> Floats:
        """The distance NME divides by, (...), of true landmarks (..., N, 2), in the landmarks' own unit.

        ``crop_size`` is the side of the crop and ``box`` (..., 4) the dataset's own rectangle in that unit. NaN where
        what it needs is NaN or not there.
        """
        self.check_normalizer(normalizer)
        if normalizer == "provided-box":
            return np.full(landmarks.shape[:-2], np.nan) if box is None else (box[..., 2:] - box[..., :2]).max(axis=-1)
        if normalizer == "crop-size":
            return np.full(landmarks.shape[:-2], crop_size)
        if normalizer in BOX_NORMALIZERS:
            extent = np.nanmax(landmarks, axis=-2) - np.nanmin(landmarks, axis=-2)
            diagonal = normalizer == "box-diagonal"
            return np.linalg.norm(extent, axis=-1) if diagonal else np.sqrt(extent.prod(axis=-1))
        first, second = (landmarks[..., list(group), :].mean(axis=-2) for group in self.normalizers[normalizer])
        return np.linalg.norm(first - second, axis=-1)


def _ordered(*runs: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for run in runs for i in run)


def flip_of(num_landmarks: int, pairs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The flip permutation in which these pairs are mirror images of each other, the other landmarks their own."""
    flip = list(range(num_landmarks))
    for left, right in pairs:
        flip[left], flip[right] = right, left
    return tuple(flip)


def _lines(*paths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The edges along paths of landmarks; a path that is to close repeats its first landmark at the end."""
    return tuple(edge for path in paths for edge in itertools.pairwise(path))


def _closed(start: int, stop: int) -> list[int]:
    return [*range(start, stop), start]


WFLW_98 = Markup(
    name="wflw-98",
    num_landmarks=98,
    flip=_ordered(
        range(32, -1, -1),  # jaw
        (46, 45, 44, 43, 42, 50, 49, 48, 47),  # left brow
        (37, 36, 35, 34, 33, 41, 40, 39, 38),  # right brow
        range(51, 55),  # bridge of the nose
        range(59, 54, -1),  # nostrils
        (72, 71, 70, 69, 68, 75, 74, 73),  # left eye
        (64, 63, 62, 61, 60, 67, 66, 65),  # right eye
        range(82, 75, -1),  # upper lip, outside
        range(87, 82, -1),  # lower lip, outside
        range(92, 87, -1),  # upper lip, inside
        range(95, 92, -1),  # lower lip, inside
        (97, 96),  # pupils
    ),
    normalizers={"inter-ocular": ((60,), (72,)), "inter-pupil": ((96,), (97,))},
    parts={
        "jaw": tuple(range(33)),
        "brows": tuple(range(33, 51)),
        "nose": tuple(range(51, 60)),
        "eyes": (*range(60, 76), 96, 97),
        "mouth": tuple(range(76, 96)),
    },
    edges=_lines(
        range(33),
        _closed(33, 42),
        _closed(42, 51),
        range(51, 55),
        range(55, 60),
        _closed(60, 68),
        _closed(68, 76),
        _closed(76, 88),
        _closed(88, 96),
    ),
)

IBUG_68 = Markup(
    name="ibug-68",
    num_landmarks=68,
    flip=_ordered(
        range(16, -1, -1),  # jaw
        range(26, 16, -1),  # brows
        range(27, 31),  # bridge of the nose
        range(35, 30, -1),  # nostrils
        (45, 44, 43, 42, 47, 46),  # left eye
        (39, 38, 37, 36, 41, 40),  # right eye
        range(54, 47, -1),  # upper lip, outside
        range(59, 54, -1),  # lower lip, outside
        range(64, 59, -1),  # upper lip, inside
        range(67, 64, -1),  # lower lip, inside
    ),
    normalizers={"inter-ocular": ((36,), (45,)), "inter-pupil": (tuple(range(36, 42)), tuple(range(42, 48)))},
    parts={
        "jaw": tuple(range(17)),
        "brows": tuple(range(17, 27)),
        "nose": tuple(range(27, 36)),
        "eyes": tuple(range(36, 48)),
        "mouth": tuple(range(48, 68)),
    },
    edges=_lines(
        range(17),
        range(17, 22),
        range(22, 27),
        range(27, 31),
        range(31, 36),
        _closed(36, 42),
        _closed(42, 48),
        _closed(48, 60),
        _closed(60, 68),
    ),
)

# A face from the side, of which Menpo marks the half that is seen: ear to chin and beyond, brow from outside to inside,
# bridge and base of the nose, eye, outer and inner lips from their middle to the corner and back. Left and right faces
# are marked in the same order, so the mirror image of one is a face of the other side and no landmark moves. So does
# OpenFace's training code map the faces of both sides to 68 points.
MENPO_39 = Markup(
    name="menpo-39",
    num_landmarks=39,
    flip=tuple(range(39)),
    parts={
        "jaw": tuple(range(12)),
        "brows": tuple(range(12, 16)),
        "nose": tuple(range(16, 22)),
        "eyes": tuple(range(22, 27)),
        "mouth": tuple(range(27, 39)),
    },
    edges=_lines(range(12), range(12, 16), range(16, 22), _closed(22, 27), range(27, 34), range(34, 39)),
)

COFW_29 = Markup(
    name="cofw-29",
    num_landmarks=29,
    flip=flip_of(
        29, [(0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17), (18, 19), (22, 23)]
    ),
    normalizers={"inter-ocular": ((8,), (9,)), "inter-pupil": ((16,), (17,))},
    parts={
        "brows": tuple(range(8)),
        "eyes": tuple(range(8, 18)),
        "nose": tuple(range(18, 22)),
        "mouth": tuple(range(22, 28)),
        "chin": (28,),
    },
    edges=_lines(
        (0, 4, 2, 5, 0),
        (3, 6, 1, 7, 3),
        (8, 12, 10, 13, 8),
        (11, 14, 9, 15, 11),
        (18, 21, 19, 20, 18),
        (22, 24, 23, 25, 22),
        (22, 26, 23, 27, 22),
    ),
)

AFLW_19 = Markup(
    name="aflw-19",
    num_landmarks=19,
    flip=flip_of(19, [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)]),
    parts={
        "brows": tuple(range(6)),
        "eyes": tuple(range(6, 12)),
        "nose": (12, 13, 14),
        "mouth": (15, 16, 17),
        "chin": (18,),
    },
    edges=_lines(range(3), range(3, 6), range(6, 9), range(9, 12), range(12, 15), range(15, 18)),
)

# AFLW-19 without the eye centres, which 300-W does not mark: the 17 common points of Yan et al. 2021, section 7.1.
AFLW_17 = Markup(
    name="aflw-17",
    num_landmarks=17,
    flip=flip_of(17, [(0, 5), (1, 4), (2, 3), (6, 9), (7, 8), (10, 12), (13, 15)]),
    normalizers={"inter-ocular": ((6,), (9,))},
    parts={
        "brows": tuple(range(6)),
        "eyes": tuple(range(6, 10)),
        "nose": (10, 11, 12),
        "mouth": (13, 14, 15),
        "chin": (16,),
    },
    edges=_lines(range(3), range(3, 6), (6, 7), (8, 9), range(10, 13), range(13, 16)),
)

# The landmarks that both 300-W and WFLW mark; none is computed from others.
COMMON_18 = Markup(
    name="common-18",
    num_landmarks=18,
    flip=flip_of(18, [(0, 5), (1, 4), (2, 3), (6, 9), (7, 8), (10, 12), (13, 15)]),
    normalizers={"inter-ocular": ((6,), (9,))},
    parts={
        "brows": tuple(range(6)),
        "eyes": tuple(range(6, 10)),
        "nose": (10, 11, 12),
        "mouth": (13, 14, 15, 16),
        "chin": (17,),
    },
    edges=_lines(range(3), range(3, 6), (6, 7), (8, 9), range(10, 13), _closed(13, 17)),
)

CELEBA_5 = Markup(
    name="celeba-5",
    num_landmarks=5,
    flip=(1, 0, 2, 4, 3),
    normalizers={"inter-ocular": ((0,), (1,))},
    parts={"eyes": (0, 1), "nose": (2,), "mouth": (3, 4)},
    edges=((0, 2), (1, 2), (2, 3), (2, 4), (3, 4)),
)

CAT_9 = Markup(
    name="cat-9",
    num_landmarks=9,
    flip=flip_of(9, [(0, 1), (3, 8), (4, 7), (5, 6)]),
    normalizers={"inter-ocular": ((0,), (1,))},
    parts={"eyes": (0, 1), "mouth": (2,), "ears": tuple(range(3, 9))},
    edges=_lines((0, 2, 1), (3, 4, 5), (6, 7, 8)),
)

# Without the ears' tips, which the papers on unsupervised landmarks leave out: many lie outside the image.
CAT_7 = Markup(
    name="cat-7",
    num_landmarks=7,
    flip=flip_of(7, [(0, 1), (3, 6), (4, 5)]),
    normalizers={"inter-ocular": ((0,), (1,))},
    parts={"eyes": (0, 1), "mouth": (2,), "ears": (3, 4, 5, 6)},
    edges=_lines((0, 2, 1), (3, 4), (5, 6)),
)

# The upper body of a signer; the first of two joints is the signer's right one, on the image's left.
BBC_7 = Markup(
    name="bbc-7",
    num_landmarks=7,
    flip=flip_of(7, [(1, 2), (3, 4), (5, 6)]),
    parts={"head": (0,), "wrists": (1, 2), "elbows": (3, 4), "shoulders": (5, 6)},
    edges=_lines((1, 3, 5, 6, 4, 2), (5, 0, 6)),
)

MARKUPS = {
    markup.name: markup
    for markup in (WFLW_98, IBUG_68, MENPO_39, COFW_29, AFLW_19, AFLW_17, COMMON_18, CELEBA_5, CAT_9, CAT_7, BBC_7)
}
