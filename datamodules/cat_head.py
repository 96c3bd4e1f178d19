"""Cat Head (Zhang, Sun and Tang, ECCV 2008): 10,000 photographs of cats with nine points of the head."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_table import read_list
from datamodules.crop import Floats
from datamodules.faces import Faces, split_validation
from datamodules.file_index import FileList, list_files, parsed
from datamodules.markup import CAT_9
from datamodules.published_data import PublishedData

LISTS = {"train": "cat_train_images.txt", "test": "cat_test_images.txt"}
PUBLISHED, LMDIS_TRAINING = 10_000, 7_747  # images
TEST_SHARE, TEST_SEED = 0.3, -1  # another seed than any of the validation split, which may not be negative
KNOWN_ERROR = (
    "the archives have CAT_00/00000003_019.jpg.cat, to which there is no image, and lack CAT_00/00000003_015.jpg.cat, "
    "which is published beside them: delete the one and put the other in its place"
)


class CatHead(PublishedData):
    """Cat heads: eyes, mouth and three points of each ear; ``convert_to: cat-7`` leaves out the tips of the ears.

    Papers on unsupervised landmarks compare these seven points, with the split of lmdis (Zhang et al. 2018; 7,747
    training images, those with a hidden head left out), on crops of 100 x 100 pixels of which lmdis uses the inner 80.
    Where its lists ``cat_train_images.txt`` and ``cat_test_images.txt`` are in ``root``, they make the split. The
    dataset's authors never published theirs (5,000, 2,000 and 3,000 images), so without lists 30 % of the numbers that
    file names begin with (images of one number were found together) are held out by a hash. The title tells which.

    No paper says how its crops were cut out of the photographs; ours are 1.5 times the tight box of the nine points,
    which shows the head from the ears to the chin. The files do not say where their pixels begin; coordinates are used
    as they are. Points that the photograph cuts off were placed outside of it.

    Args:
        root: folder that holds ``CAT_00`` to ``CAT_06``, with ``<image>.jpg`` and ``<image>.jpg.cat`` in each, and
            lmdis' lists if there are any.
        and the rest: see `PublishedData`.
    """

    annotated = CAT_9
    usual_box = "landmarks-1.5"
    holds, prepared_as = "CAT_00 to CAT_06", "cat_head"
    may_differ = "10,000 is the authors' number, and that of the archives' files is not published"

    @property
    def title(self) -> str:
        """Which split it is belongs to every result."""
        return "Cat Head" if self._has_lists() else "Cat Head, own split"

    def load(self, split: str) -> Faces:
        """Read all annotations, by `parsed`, and choose those of a split; see `Faces` for what else is refused."""
        faces = self._all()
        if self._has_lists():
            return faces.select(self._listed(split, faces))
        return split_validation(faces, TEST_SHARE, TEST_SEED)[split == "test"]

    def published_counts(self, split: str) -> Mapping[int, str]:
        """Of lmdis' lists the training images; without them, both splits together are the images published."""
        if self._has_lists():
            return {LMDIS_TRAINING: "as lmdis has"} if split == "train" else {}
        tested = len(self.load("test"))
        return {PUBLISHED - tested: f"as published, with {tested:,} for testing"} if split == "train" else {}

    def _all(self) -> Faces:
        files, names = self._annotated_images()
        return Faces(
            source=self.root,
            line=np.zeros(len(files), int),
            image=np.strings.add(f"{self.root}/", names),
            landmarks=parsed(files, read_cat),
            visible=np.ones((len(files), CAT_9.num_landmarks), bool),
            box=np.full((len(files), 4), np.nan),
            subsets=np.zeros((len(files), 0), bool),
            photograph=np.array([Path(name).name.partition("_")[0] for name in names]),
        )

    def _annotated_images(self) -> tuple[FileList, NDArray[np.str_]]:
        """The annotation files and the images (M,) beside them, below ``root``; refuses one without the other."""
        files, images = (list_files(self.root, (suffix,), self.remedy) for suffix in (".cat", ".jpg"))
        names = np.array([name.removesuffix(".cat") for name in files.name.tolist()])
        for name in np.setdiff1d(names, images.name):
            remedy = KNOWN_ERROR if Path(name).name == "00000003_019.jpg" else "get the image again"
            raise ValueError(f"{self.root / name}.cat has no image {Path(name).name} beside it; {remedy}")
        for name in np.setdiff1d(images.name, names):
            remedy = KNOWN_ERROR if Path(name).name == "00000003_015.jpg" else "get its .cat file again"
            raise ValueError(f"{self.root / name} has no annotation {Path(name).name}.cat beside it; {remedy}")
        return files, names

    def _has_lists(self) -> bool:
        return any((self.root / name).exists() for name in LISTS.values())

    def _listed(self, split: str, faces: Faces) -> NDArray[np.bool_]:
        """Which faces (M,) are in lmdis' list of a split, which has an image a line, with or without its folder."""
        remedy = f"put both lists of lmdis into {self.root}, or neither for a split of ours"
        table = read_list(self.root / LISTS[split], ["image"], remedy)
        rows: dict[str, int] = {}
        for row, image in enumerate(faces.image.tolist()):
            if (same := rows.setdefault(Path(image).name, row)) != row:
                raise ValueError(
                    f"{image} and {faces.image[same]} have one name, so {table.path} may mean either; remove one"
                )
        chosen = np.zeros(len(faces), bool)
        for line, image in zip(table.line, table.text("image"), strict=True):
            if (found := rows.get(Path(image).name)) is None:
                raise ValueError(f"{table.path}: line {line} names {image}, which is not in {self.root}; get it again")
            chosen[found] = True
        return chosen


def read_cat(path: Path) -> Floats:
    """The points (9, 2) of an annotation file: one line, ``9`` and then x and y of each.

    Raises:
        ValueError: one sentence that names the file, for anything else.
    """
    expected = "expected 9 and then x and y of nine points"
    try:
        cells = path.read_text(encoding="ascii").split()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not ASCII text, {expected}; get the file again") from None
    if not cells:
        raise ValueError(f"{path}: is empty, {expected}; get the file again")
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError as error:
        raise ValueError(f"{path}: {error}, {expected}; correct the file or get it again") from None
    if numbers[0] != CAT_9.num_landmarks:
        raise ValueError(f"{path}: begins with {cells[0]}, {expected}; correct the file or get it again")
    if len(numbers) != 1 + 2 * CAT_9.num_landmarks:
        raise ValueError(
            f"{path}: has {len(numbers) - 1} numbers after the first, {expected}; correct the file or get it again"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: has a number that is not finite, {expected}; correct the file or get it again")
    return numbers[1:].reshape(-1, 2)
