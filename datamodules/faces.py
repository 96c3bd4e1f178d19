"""Annotated faces as columns, the dataset that cuts crops out of them, and what every datamodule shares.

A dataset's own file only has to read its annotations into `Faces`; `csv_landmarks.py` is the smallest one to copy.
"""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.batch import LandmarkBatch
from datamodules.crop import Floats, box_convention, compose, crop_affine, invert, landmark_box, transform, warp
from datamodules.image_files import image_size, read_image
from datamodules.markup import Markup
from datamodules.transforms import Augmentation, Image

Key = int | tuple[int, int]
FARTHEST = 1e5  # pixels; a coordinate beyond it is a broken file, not a landmark


@dataclass(frozen=True)
class Faces:
    """The annotations of one split, as columns: row i is the sample whose ``index`` is i.

    Arrays rather than objects, so that hundreds of thousands of rows cost workers no memory of their own.

    Args:
        source: the annotation file, for error sentences.
        line: (M,) the line of ``source`` that holds each face, counted from 1.
        image: (M,) path of each face's image.
        landmarks: (M, N, 2) in pixels of the original image, centre of the top-left pixel at (0, 0).
        visible: (M, N) annotated as visible.
        box: (M, 4) the dataset's own rectangle x0, y0, x1, y1; four NaN where it has none.
        subsets: (M, S) which of the dataset's test subsets a face is in.
        photograph: (M,) faces of one photograph (or person) share a value and are never split by validation.

    Raises:
        ValueError: one sentence naming file and line, for no faces, a coordinate that is not finite or absurd, all
            landmarks at one point, a box without area.
    """

    source: Path
    line: NDArray[np.int64]
    image: NDArray[np.str_]
    landmarks: Floats
    visible: NDArray[np.bool_]
    box: Floats
    subsets: NDArray[np.bool_]
    photograph: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self):
            raise ValueError(f"{self.source}: no faces found, expected at least one")
        for row in np.flatnonzero(~np.isfinite(self.landmarks).all(axis=(1, 2))):
            landmark = int(np.flatnonzero(~np.isfinite(self.landmarks[row]).all(axis=1))[0])
            raise ValueError(
                f"{self.where(row)}: landmark {landmark} is {tuple(self.landmarks[row, landmark].tolist())}, "
                "expected two finite numbers"
            )
        for row, landmark, _ in np.argwhere(np.abs(self.landmarks) > FARTHEST):
            x, y = self.landmarks[row, landmark]
            raise ValueError(
                f"{self.where(row)}: landmark {landmark} is at ({x:g}, {y:g}), expected pixels of an image, at most "
                f"{FARTHEST:g} from its corner"
            )
        if self.landmarks.shape[1] > 1:
            for row in np.flatnonzero((self.landmarks == self.landmarks[:, :1]).all(axis=(1, 2))):
                raise ValueError(f"{self.where(row)}: all landmarks are at one point, expected a face")
        has_box = ~np.isnan(self.box).all(axis=1)
        area = (self.box[:, 2:] > self.box[:, :2]).all(axis=1) & (np.abs(self.box) <= FARTHEST).all(axis=1)
        for row in np.flatnonzero(has_box & ~area):
            raise ValueError(
                f"{self.where(row)}: box is {tuple(self.box[row].tolist())}, expected left < right and top < bottom, "
                f"in pixels, at most {FARTHEST:g} from the image's corner"
            )

    def __len__(self) -> int:
        return len(self.image)

    def where(self, row: int | np.integer[Any]) -> str:
        """The place of a face, for error sentences."""
        return f"{self.source}: line {self.line[row]}"

    def select(self, rows: NDArray[np.bool_]) -> "Faces":
        """The faces at these rows."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "source"}
        return replace(self, **columns)

    def check_images(self) -> None:
        """Refuse missing images now rather than in the middle of an epoch.

        Raises:
            FileNotFoundError: one sentence naming the first line and how many images there are without a file.
        """
        paths, rows = np.unique(self.image, return_index=True)
        missing = sorted(row for path, row in zip(paths, rows, strict=True) if not Path(path).is_file())
        if missing:
            path = Path(self.image[missing[0]])
            raise FileNotFoundError(
                f"{self.where(missing[0])} names image {path}, which is {'a folder' if path.is_dir() else 'not there'} "
                f"({len(missing)} of {len(paths)} images are missing); correct the line or get the images again"
            )


class FaceDataset(Dataset[dict[str, Any]]):
    """Crops of `Faces`. A plain index gives the clean face; ``(epoch, index)`` gives its augmentation in that epoch.

    An augmentation is a function of seed, epoch and index alone: not of the worker, the process or what came before,
    so that a resumed run sees the faces an uninterrupted one would have seen.
    """

    def __init__(
        self,
        faces: Faces,
        markup: Markup,
        normalizer: str,
        size: int,
        box: str,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        read: Callable[[int], Image] | None = None,
    ) -> None:
        """``read`` gives the image of a row where it does not come from a file.

        Raises:
            ValueError: a face has no box or no normaliser of this kind; names file, line and config key.
        """
        self.faces, self.markup, self.size, self.seed = faces, markup, size, seed
        self.augmentation = augmentation or Augmentation()
        self.read, self.from_files = read or self._read_file, read is None
        convention = box_convention(box)
        self.margin = convention.margin
        if convention.source == "landmarks":
            self.boxes = landmark_box(faces.landmarks)
        else:
            self.boxes = faces.box
        self.whole_image = convention.source == "image"
        if convention.source == "provided" and np.isnan(self.boxes).any():
            first = np.flatnonzero(np.isnan(self.boxes).any(axis=1))[0]
            raise ValueError(f"{faces.where(first)} has no box; set data.init_args.box to landmarks-1.2 or image")
        if convention.source == "landmarks" and markup.num_landmarks == 1:
            raise ValueError(
                f"data.init_args.box is '{box}', but {markup.name} has one landmark, which has no size; set it to "
                "provided-1.2 or image"
            )
        self.norms = markup.norm(faces.landmarks, normalizer, 1.0)
        self.norm_is_crop = normalizer == "crop-size"
        for row in np.flatnonzero(~(self.norms > 0)):
            raise ValueError(
                f"{faces.where(row)}: the {normalizer} distance is {self.norms[row]:g} pixels, so NME is not defined; "
                "correct the landmarks or choose another data.init_args.normalizer"
            )

    def __len__(self) -> int:
        return len(self.faces)

    def affine(self, row: int, image: Image | None = None) -> Floats:
        """The clean crop's affine (2, 3), crop to image pixels; looks at the file where ``image`` is not given."""
        if not self.whole_image:
            return crop_affine(self.boxes[row], self.size, self.margin)
        if image is None and self.from_files:
            width, height = image_size(str(self.faces.image[row]))  # does not decode the pixels
        else:
            height, width = (self.read(row) if image is None else image).shape[:2]
        return crop_affine(np.array([0, 0, width, height]) - 0.5, self.size, self.margin)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key if isinstance(key, tuple) else (None, key)
        image = self.read(row)
        affine = self.affine(row, image)
        landmarks, visible = self.faces.landmarks[row], self.faces.visible[row]
        self._check_overlap(row, transform(invert(affine), landmarks), image)
        rng = np.random.default_rng((self.seed, epoch or 0, row))
        if epoch is not None:
            geometry, flipped = self.augmentation.geometry(rng, self.size)
            affine = compose(affine, geometry)
            if flipped:
                landmarks, visible = landmarks[list(self.markup.flip)], visible[list(self.markup.flip)]
        points = transform(invert(affine), landmarks)
        visible = visible & _inside(points, self.size, self.size)
        crop = warp(image, affine, self.size)
        if epoch is not None:
            crop, visible = self.augmentation.appearance(rng, crop, points, visible)
        scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))  # image pixels per crop pixel
        sample: LandmarkBatch = {
            "image": torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))),
            "landmarks": torch.from_numpy(points.astype(np.float32)),
            "visible": torch.from_numpy(visible),
            "norm": torch.tensor(self.size if self.norm_is_crop else self.norms[row] / scale, dtype=torch.float32),
            "index": torch.tensor(row),
            "crop": torch.from_numpy(affine.astype(np.float32)),
            "subsets": torch.from_numpy(self.faces.subsets[row]),
        }
        return dict(sample)

    def _check_overlap(self, row: int, points: Floats, image: Image) -> None:
        """Refuse a face none of whose landmarks lies in both its image and its clean crop, (N, 2) ``points`` there."""
        height, width = image.shape[:2]
        in_image = _inside(self.faces.landmarks[row], width, height)
        if not (in_image & _inside(points, self.size, self.size)).any():
            raise ValueError(
                f"{self.faces.where(row)}: no landmark lies within {'the crop' if in_image.any() else 'the image'} of "
                f"{self.faces.image[row]} ({width} x {height} pixels); the landmarks or the box belong to another image"
            )

    def _read_file(self, row: int) -> Image:
        return read_image(str(self.faces.image[row]))


def _inside(points: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """Which points (..., 2) lie on one of width x height pixels."""
    return np.all((points >= -0.5) & (points < (width - 0.5, height - 0.5)), axis=-1)


class EpochSampler(DistributedSampler[Any]):
    """Shuffles by (seed, epoch), shares out over the ranks, and yields (epoch, index).

    A DistributedSampler even on one process, so that Lightning neither replaces it nor forgets ``set_epoch``.
    """

    def __iter__(self) -> Iterator[Any]:
        return ((self.epoch, index) for index in super().__iter__())


class LandmarkDataModule(LightningDataModule):
    """What the datamodules of annotated images share: crops, loaders, and validation faces taken out of training.

    Args:
        markup: what the landmarks mean.
        size: side of the network's square input in pixels.
        box: a name of `crop.BOX_CONVENTIONS`.
        normalizer: what NME divides by; None is the markup's default.
        batch_size: faces a batch and process.
        num_workers: loading processes of each training process.
        validation_fraction: share of the training photographs held out; the test set never selects a checkpoint.
        augmentation: changes of training faces.
        seed: of shuffling, augmentation and the validation split.
    """

    subset_names: tuple[str, ...] = ()

    def __init__(
        self,
        markup: Markup,
        size: int,
        box: str,
        normalizer: str | None,
        batch_size: int,
        num_workers: int,
        validation_fraction: float,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.markup, self.size, self.box = markup, size, box
        self.normalizer = normalizer or markup.default_normalizer
        markup.check_normalizer(self.normalizer)
        box_convention(box)
        for key, value, least in (
            ("size", size, 1),
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"data.init_args.{key} is {value}, expected at least {least}")
        if not 0 < validation_fraction < 1:
            raise ValueError(
                f"data.init_args.validation_fraction is {validation_fraction}, expected between 0 and 1 (both excluded)"
            )
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.validation_fraction, self.augmentation = validation_fraction, augmentation
        self._datasets: dict[str, FaceDataset] = {}
        self._first_epoch = 0

    @property
    def num_landmarks(self) -> int:
        """N, which a module checks against its own."""
        return self.markup.num_landmarks

    @property
    def title(self) -> str:
        """What a test result was measured on, for tables and file names."""
        return type(self).__name__

    @abstractmethod
    def load(self, split: str) -> Faces:
        """The faces of ``train`` or ``test``."""

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of these faces."""
        faces.check_images()
        return FaceDataset(
            faces, self.markup, self.normalizer, self.size, self.box, augmentation=self.augmentation, seed=self.seed
        )

    def setup(self, stage: str) -> None:
        """Read what the stage needs: fit and validate the training faces, test and predict the test faces."""
        if stage in ("fit", "validate") and "train" not in self._datasets:
            train, val = split_validation(self.load("train"), self.validation_fraction, self.seed)
            self._datasets |= {"train": self.dataset(train), "val": self.dataset(val)}
        if stage in ("test", "predict") and "test" not in self._datasets:
            self._datasets["test"] = self.dataset(self.load("test"))

    def mean_landmarks(self) -> torch.Tensor:
        """Mean shape (N, 2) of the training faces in clean crops: the predictor that looks at no image."""
        dataset = self._datasets["train"]
        points = [transform(invert(dataset.affine(row)), p) for row, p in enumerate(dataset.faces.landmarks)]
        return torch.from_numpy(np.mean(points, axis=0).astype(np.float32))

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented; an incomplete last batch is left out."""
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        dataset = self._datasets["train"]
        sampler = EpochSampler(dataset, num_replicas=world, rank=rank, seed=self.seed)
        sampler.set_epoch(self._first_epoch)
        return self._loader(dataset, sampler=sampler, drop_last=len(sampler) >= self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """The epoch that a run resumed from this checkpoint begins with.

        Lightning tells the sampler of it only after the workers were sent the first samples.
        """
        trainer: Any = self.trainer
        return {"epoch": trainer.fit_loop.epoch_progress.current.processed if trainer else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin with that epoch."""
        self._first_epoch = state_dict["epoch"]

    def val_dataloader(self) -> DataLoader[Any]:
        """Clean crops of training photographs held out."""
        return self._loader(self._datasets["val"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Clean crops of the test faces."""
        return self._loader(self._datasets["test"])

    def predict_dataloader(self) -> DataLoader[Any]:
        """The test faces."""
        return self.test_dataloader()

    def _loader(self, dataset: FaceDataset, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
            **options,
        )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)  # a worker is one core; OpenCV's own pool would take all of them in each


def data_root(root: Path) -> Path:
    """A dataset's folder: as given, else below the folder that the environment variable LANDMARK_DATA names."""
    folder = os.environ.get("LANDMARK_DATA")
    return Path(folder, root) if folder and not Path(root).exists() else Path(root)


def split_validation(faces: Faces, fraction: float, seed: int) -> tuple[Faces, Faces]:
    """Training and validation faces; a photograph falls on one side with all its faces.

    The side is a hash of seed and photograph, so adding or removing faces leaves the others where they were.

    Raises:
        ValueError: if one side would be empty.
    """
    photographs, of_face = np.unique(faces.photograph, return_inverse=True)
    draws = [int.from_bytes(blake2b(f"{seed}:{p}".encode(), digest_size=8).digest()) / 2**64 for p in photographs]
    held_out = (np.array(draws) < fraction)[of_face]
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"{faces.source}: {len(photographs)} photographs are too few to hold out "
            f"{fraction:.0%} for validation; add photographs or change data.init_args.validation_fraction"
        )
    return faces.select(~held_out), faces.select(held_out)
