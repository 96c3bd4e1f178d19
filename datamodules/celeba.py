"""CelebA (Liu et al. 2015, arXiv:1411.7766) and MAFL (Zhang et al. 2014), its 20,000 faces: aligned, five landmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_table import landmark_columns, read_list
from datamodules.crop import Floats
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces, split_validation
from datamodules.image_files import image_size
from datamodules.markup import CELEBA_5
from datamodules.published_data import PublishedData

LANDMARKS = "Anno/list_landmarks_align_celeba.txt"
PARTITION = "Eval/list_eval_partition.txt"
MAFL_LISTS = {"train": "MAFL/training.txt", "test": "MAFL/testing.txt"}
COORDINATES = landmark_columns(CELEBA_5.num_landmarks)
PARTITIONS = {"train": "0", "val": "1", "test": "2"}
SIZE = 178, 218  # width and height of every aligned image, in pixels


class CelebA(PublishedData):
    """CelebA's aligned images, 178 x 218 pixels: eyes, nose and corners of the mouth of 202,599 faces.

    The split is clean: no face of MAFL, neither of its training nor of its test list, is among the training or the
    validation faces, so a network trained here without labels can be probed on MAFL. DVE (Thewlis et al. 2019) trains
    so too; imm (Jakab et al. 2018) keeps nine tenths of MAFL's training faces. The validation faces are CelebA's own
    (partition 1, other people than those trained on), so ``validation_fraction`` has no effect.

    The lists do not say where their pixels begin. The alignment puts the middle between the eyes at x = 88.5, which is
    the middle of 178 columns counted from 0, so coordinates are used as they are.

    Args:
        root: folder that holds ``Anno``, ``Eval``, ``Img/img_align_celeba`` and, with its two lists, ``MAFL``.
        box: ``celeba-imm`` is imm's crop without the stretching and so that of Rahaman et al. 2021, ``celeba-dve``
            DVE's; the provided rectangle is the whole aligned image.
        and the rest: see `PublishedData`.
    """

    annotated = CELEBA_5
    usual_box = "celeba-imm"
    published: ClassVar[Mapping[str, int]] = {"train": 162_770, "val": 19_867, "test": 19_962}  # faces of MAFL included
    holds, prepared_as = "Anno, Eval, Img and MAFL", "celeba"

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The partitions for training and validation, without MAFL."""
        train, val = self._read("train", "val")
        return train, val

    def load(self, split: str) -> Faces:
        """Read the landmarks and the lists that make the split; see `annotation_table` for what else is refused."""
        return self._read(split)[0]

    def published_counts(self, split: str) -> Mapping[int, str]:
        """Without the faces of MAFL, of which it is not published how many are in which split."""
        counts = super().published_counts(split)
        if split == "test":
            return counts
        path = self.root / PARTITION
        table = read_list(path, ["image", "partition"], self.remedy)
        of_mafl = self.of_mafl(path, np.array(table.text("image")), "train", "test")
        left_out = int((of_mafl & (np.array(table.text("partition")) == PARTITIONS[split])).sum())
        return {count - left_out: f"as published, without {left_out:,} of MAFL" for count in counts}

    def _read(self, *splits: str) -> list[Faces]:
        """The faces of these splits, all out of one reading of each list."""
        path = self.root / LANDMARKS
        table = read_list(path, ["image", *COORDINATES], self.remedy, header=2)
        names = np.array(table.text("image"))
        _check_count(path, len(names))
        chosen = self.chosen(path, names, splits)
        for split, of_split in zip(splits, chosen, strict=True):
            if not of_split.any():
                raise ValueError(f"{path} has no face of the split '{split}'; get it and the lists of the split again")
        line, points = np.array(table.line), table.numbers(COORDINATES).reshape(-1, CELEBA_5.num_landmarks, 2)
        return [self._faces(path, line[rows], names[rows], points[rows]) for rows in chosen]

    def _faces(self, path: Path, line: NDArray[np.int64], names: NDArray[np.str_], points: Floats) -> Faces:
        return Faces(
            source=path,
            line=line,
            image=np.strings.add(f"{self.root / 'Img/img_align_celeba'}/", names),
            landmarks=points,
            visible=np.ones((len(names), CELEBA_5.num_landmarks), bool),
            box=np.tile(np.array([0, 0, *SIZE]) - 0.5, (len(names), 1)),
            subsets=np.zeros((len(names), 0), bool),
            photograph=names,
        )

    def chosen(self, path: Path, names: NDArray[np.str_], splits: Sequence[str]) -> list[NDArray[np.bool_]]:
        """For each split, which of the images (M,) of ``path`` are in it."""
        partition = _partition(self.root / PARTITION, path, names, self.remedy)
        chosen = {split: partition == PARTITIONS[split] for split in splits}
        if fitted := chosen.keys() - {"test"}:
            others = ~self.of_mafl(path, names, "train", "test")
            chosen |= {split: chosen[split] & others for split in fitted}
        return list(chosen.values())

    def of_mafl(self, path: Path, names: NDArray[np.str_], *splits: str) -> NDArray[np.bool_]:
        """Which of the images (M,) of ``path`` are in one of these lists of MAFL."""
        listed = np.zeros(len(names), bool)
        for split in splits:
            table = read_list(self.root / MAFL_LISTS[split], ["image"], self.remedy)
            images = np.array(table.text("image"))
            for row in np.flatnonzero(~np.isin(images, names)).tolist():
                raise ValueError(
                    f"{table.path}: line {table.line[row]} names {images[row]}, of which {path} has no landmarks; get "
                    "both lists again"
                )
            listed |= np.isin(names, images)
        return listed

    def dataset(self, faces: Faces) -> FaceDataset:
        """These crops; the first image is looked at, as images of another size would all be."""
        dataset = super().dataset(faces)
        if (found := image_size(str(faces.image[0]))) != SIZE:
            raise ValueError(
                f"{faces.where(0)}: image {faces.image[0]} has {found[0]} x {found[1]} pixels, expected {SIZE[0]} x "
                f"{SIZE[1]}; get the aligned images (img_align_celeba) as they are published"
            )
        return dataset


class MAFL(CelebA):
    """MAFL: 19,000 training and 1,000 test faces of CelebA, in the same folder.

    Who is on them is not in the lists, so the validation faces, taken out of the training list by chance, and the test
    faces may show people trained on. A network that learned from CelebA's labels must have left MAFL out, as `CelebA`
    does.

    Args:
        root: as for `CelebA`; ``Eval`` is not needed.
        box: as for `CelebA`.
        and the rest: see `PublishedData`.
    """

    published: ClassVar[Mapping[str, int]] = {"train": 19_000, "test": 1_000}
    holds, prepared_as = "Anno, Img and MAFL", "mafl"

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The training list, with validation faces taken out of it."""
        return split_validation(self.load("train"), self.validation_fraction, self.seed)

    def published_counts(self, split: str) -> Mapping[int, str]:
        """Those of its lists."""
        return PublishedData.published_counts(self, split)

    def chosen(self, path: Path, names: NDArray[np.str_], splits: Sequence[str]) -> list[NDArray[np.bool_]]:
        """For each split, which of the images (M,) of ``path`` are in MAFL's list of it."""
        return [self.of_mafl(path, names, split) for split in splits]


def _check_count(path: Path, count: int) -> None:
    """Refuse a list with fewer or more faces than its first line says."""
    with path.open(encoding="utf-8-sig") as file:
        stated = file.readline().strip()
    if stated != str(count):
        raise ValueError(
            f"{path}: line 1 is '{stated[:40]}', expected {count}, the number of faces that follow; get the list again"
        )


def _partition(path: Path, landmarks: Path, names: NDArray[np.str_], remedy: str) -> NDArray[np.str_]:
    """Partition (M,) of each image: the list must have those of ``landmarks``, in their order."""
    table = read_list(path, ["image", "partition"], remedy)
    images, partition = np.array(table.text("image")), np.array(table.text("partition"))
    line = np.array(table.line)
    shared = min(len(images), len(names))
    for row in np.flatnonzero(images[:shared] != names[:shared]):
        raise ValueError(
            f"{path}: line {line[row]} is of {images[row]}, expected {names[row]} as in {landmarks}; get both "
            "lists again"
        )
    if len(images) != len(names):
        raise ValueError(f"{path} has {len(images)} images, but {landmarks} has {len(names)}; get both lists again")
    for row in np.flatnonzero(~np.isin(partition, list(PARTITIONS.values()))):
        raise ValueError(
            f"{path}: line {line[row]}, column partition is '{partition[row]}', expected 0 (training), 1 "
            "(validation) or 2 (test)"
        )
    return partition
