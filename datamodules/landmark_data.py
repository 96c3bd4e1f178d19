"""What the datamodules of annotated images share: crops, loaders, and validation faces taken out of training.

A dataset's own file only has to read its annotations into `Faces`; `wflw.py` is the one to copy.
"""

import os
import signal
import sys
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.box_margins import margins
from datamodules.crop import box_convention, invert, landmark_box, transform
from datamodules.crop_cache import cache_crops
from datamodules.face_dataset import EpochSampler, FaceDataset, Read, Rows
from datamodules.faces import Faces, split_validation
from datamodules.markup import Markup
from datamodules.markup_maps import MAPS, MarkupMap, find_map
from datamodules.perturbations import Perturbation
from datamodules.radius import Radius
from datamodules.transforms import Augmentation

MEASURED = 1000  # faces at most that the boxes of crops are compared with
ROOT = "(root is a path, or a folder below the one that the environment variable LANDMARK_DATA names)"  # `data_root`


class LandmarkDataModule(LightningDataModule):
    """What the datamodules of annotated images share: crops, loaders, and validation faces taken out of training.

    Args:
        markup: what the annotated landmarks mean.
        size: side of the network's square input in pixels.
        box: a name of `crop.BOX_CONVENTIONS`; None is ``usual_box`` of the class, or else ``landmarks-1.2``.
        normalizer: what NME divides by; None is ``usual_normalizer`` of the class, or else the markup's default.
        batch_size: faces a batch and process.
        num_workers: loading processes of each training process.
        validation_fraction: share of the training photographs held out; the test set never selects a checkpoint.
        augmentation: changes of training faces.
        seed: of shuffling, augmentation and the validation split.
        convert_to: a map of `markup_maps`, by whose target's landmarks this data is to be used; None is the markup.
        perturbation: what is done to test faces, the same for every model.
        cache: folder on a fast disk for decoded faces (`crop_cache`), so that no epoch decodes an image; None is none.
    """

    usual_box: ClassVar[str] = "landmarks-1.2"
    usual_normalizer: ClassVar[str | None] = None
    annotated: Markup  # what the files have
    markup: Markup  # what the batches have: the same, or what it is converted to
    subset_names: tuple[str, ...] = ()
    radii: tuple[Radius, ...] = ()  # for the share of landmarks found within them, where tables have it

    def __init__(
        self,
        markup: Markup,
        *,
        size: int = 256,
        box: str | None = None,
        normalizer: str | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
        validation_fraction: float = 0.1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        convert_to: str | None = None,
        perturbation: Perturbation | None = None,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        try:
            self.map = find_map(markup.name, convert_to) if convert_to not in (None, markup.name) else None
        except ValueError as error:
            raise ValueError(f"data.init_args.convert_to: {error}") from error
        self.converted_to = convert_to if self.map else None
        self.annotated, self.markup = markup, self.map.target if self.map else markup
        self.size, self.box, self.perturbation, self.cache = size, box or self.usual_box, perturbation, cache
        self.normalizer = normalizer or self.default_normalizer
        self.markup.check_normalizer(self.normalizer)
        box_convention(self.box)
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
        self._first_epoch = self._batches_done = 0

    @property
    def num_landmarks(self) -> int:
        """N, which a module checks against its own."""
        return self.markup.num_landmarks

    @property
    def default_normalizer(self) -> str:
        """The normaliser of the field's tables for this data."""
        return self.usual_normalizer or self.markup.default_normalizer

    @property
    def title(self) -> str:
        """Name of the test faces."""
        return type(self).__name__

    @property
    def measured_on(self) -> str:
        """What a test result was measured on, for tables and file names."""
        converted = [self.converted_to] if self.converted_to else []  # the map: two have the same target
        perturbed = [self.perturbation.title] if self.perturbation else []
        return ", ".join([self.title, *converted, *perturbed])

    @property
    def train_title(self) -> str:
        """Name of the training faces, of which validation faces are some."""
        return self.title

    @property
    def validated_on(self) -> str:
        """What a validation result was measured on; nothing perturbs validation faces."""
        return ", ".join([self.train_title, *([self.converted_to] if self.converted_to else [])])

    def map_from(self, markup: str) -> MarkupMap:
        """The map by which the landmarks of a model trained in another markup are compared with this data.

        Raises:
            ValueError: there is none; says what to do.
        """
        if self.map and markup == self.annotated.name:
            return self.map  # predictions and truth by the same rule
        try:
            return find_map(markup, self.markup.name)
        except ValueError as error:
            common = markup if (self.annotated.name, markup) in MAPS else "a markup that both can be converted to"
            raise ValueError(
                f"the model was trained on {markup} but {type(self).__name__} is in {self.markup.name}: {error}; set "
                f"data.init_args.convert_to to {common}"
            ) from error

    @abstractmethod
    def load(self, split: str) -> Faces:
        """The faces of ``train`` or ``test``."""

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The training and the validation faces; a dataset that publishes validation faces loads them instead."""
        return split_validation(self.load("train"), self.validation_fraction, self.seed)

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of these faces."""
        faces.check_images()
        return self.crops(faces)

    def crops(self, faces: Faces, read: Read | None = None) -> FaceDataset:
        """The dataset of faces whose images come from their files, or from ``read`` for a row."""
        return FaceDataset(
            faces,
            self.markup,
            self.normalizer,
            self.size,
            self.box,
            augmentation=self.augmentation,
            seed=self.seed,
            read=read,
            markup_map=self.map,
        )

    def setup(self, stage: str) -> None:
        """Read what the stage needs: fit and validate the training faces, test and predict the test faces."""
        if stage in ("fit", "validate") and "train" not in self._datasets:
            train, val = self.fit_faces()
            made = {"train": self.dataset(train), "val": self.dataset(val)}
            self.cached(made.values(), augmented=True)
            self._datasets |= made
        if stage in ("test", "predict") and "test" not in self._datasets:
            test = self.dataset(self.load("test"))
            test.perturbation = self.perturbation
            self.cached([test], augmented=False)
            self._datasets["test"] = test

    @property
    def test_faces(self) -> FaceDataset:
        """Clean crops of the test faces, once they are read; of videos, of the frames that count."""
        return self._datasets["test"]

    def fit_counts(self) -> tuple[int, int]:
        """How many faces there are for training and for validation, once they are read."""
        return len(self._datasets["train"]), len(self._datasets["val"])

    def cached(self, datasets: Iterable[FaceDataset], augmented: bool) -> None:
        """Let these datasets read decoded faces, where a cache is asked for."""
        if self.cache:
            cache_crops(list(datasets), self.cache, type(self).__name__, augmented)

    def mean_shape(self) -> torch.Tensor:
        """Mean (N, 2) of the training landmarks in clean crops, in shares of the crop's side from its corner."""
        dataset = self._datasets["train"]
        points = [transform(invert(dataset.affine(row)), p) for row, p in enumerate(dataset.landmarks)]
        return torch.from_numpy(((np.mean(points, axis=0) + 0.5) / self.size).astype(np.float32))

    def box_margins(self) -> list[float] | None:
        """Median `box_margins.margins` of the boxes that crops are made of about the training landmarks' tight boxes.

        So whoever has landmarks and no box of the dataset's kind can make crops as training's. None where both are the
        same box, or crops are whole images, or there is one landmark, whose box has no size.
        """
        dataset = self._datasets["train"]
        source = dataset.convention.source
        if source == "image" or self.num_landmarks == 1:
            return None
        chosen = np.linspace(0, len(dataset) - 1, min(MEASURED, len(dataset))).round().astype(int)
        faces = dataset.faces
        boxes = landmark_box(faces.landmarks[chosen]) if source == "landmarks" else faces.box[chosen]
        found = np.median(margins(landmark_box(dataset.landmarks[chosen]), boxes), axis=0)
        return found.tolist() if found.any() else None

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented; an incomplete last batch is left out."""
        dataset, (ranks, rank) = self._datasets["train"], self._ranks()
        whole = len(dataset) >= ranks * self.batch_size  # else no face is left out, and the last are filled up
        sampler = EpochSampler(dataset, num_replicas=ranks, rank=rank, seed=self.seed, drop_last=whole)
        return self._shuffled(dataset, sampler)

    def clean_dataloader(
        self, count: int | None, split: Literal["training", "validation"] = "training"
    ) -> tuple[DataLoader[Any], int]:
        """Clean crops of training or validation faces over all ranks, evenly out of all, and how many there are.

        Samples have a ``row`` beside the rest, which counts these faces from 0.

        Args:
            count: of the faces at most; None is all.
            split: which faces.
        """
        (ranks, rank), dataset = self._ranks(), self._datasets["train" if split == "training" else "val"]
        chosen = np.linspace(0, len(dataset) - 1, min(count or len(dataset), len(dataset))).round().astype(int)
        return self._loader(Rows(dataset, chosen, range(rank, len(chosen), ranks))), len(chosen)

    def _shuffled(self, dataset: FaceDataset, sampler: EpochSampler) -> DataLoader[Any]:
        self._begin(sampler)
        dataset.augmentation.pipeline(dataset.size)
        return self._loader(dataset, sampler=sampler, drop_last=len(sampler) >= self.batch_size)

    def _begin(self, sampler: EpochSampler) -> None:
        """Tell a sampler where it begins.

        Workers are sent the first samples before Lightning does, in a resumed run and where a loader is made anew.
        """
        sampler.set_epoch(max(self._first_epoch, self.trainer.current_epoch if self.trainer else 0))
        sampler.done, self._batches_done = self._batches_done * self.batch_size, 0

    def _ranks(self) -> tuple[int, int]:
        """How many processes there are, and which this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def state_dict(self) -> dict[str, Any]:
        """The epoch that a run resumed from this checkpoint begins with, and how many of its batches it has had."""
        trainer: Any = self.trainer
        if not trainer:
            return {"epoch": 0, "batches": 0}
        loop = trainer.fit_loop
        done = loop.epoch_progress.current.processed > trainer.current_epoch or trainer.is_last_batch
        batches = 0 if done else loop.epoch_loop.batch_progress.current.processed
        shares = {"processes": trainer.world_size, "batch_size": self.batch_size}
        return {"epoch": loop.epoch_progress.current.processed, "batches": batches, **shares}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin there.

        Raises:
            ValueError: it was saved in the middle of an epoch whose faces were shared out otherwise.
        """
        now = {"processes": self._ranks()[0], "batch_size": self.batch_size}
        for key, name in (("processes", "number of processes"), ("batch_size", "data.init_args.batch_size")):
            before = state_dict.get(key, now[key])
            if state_dict.get("batches") and before != now[key]:
                raise ValueError(
                    f"last.ckpt was saved in the middle of an epoch with another {name} ({before}, now {now[key]}); "
                    f"resume with {before}, or delete it, and --resume goes on from previous.ckpt"
                )
        self._first_epoch, self._batches_done = state_dict["epoch"], state_dict.get("batches", 0)

    def val_dataloader(self) -> DataLoader[Any]:
        """Clean crops of training photographs held out."""
        return self._loader(self._datasets["val"])

    def test_dataloader(self) -> DataLoader[Any]:
        """Clean crops of the test faces."""
        return self._loader(self._datasets["test"])

    def predict_dataloader(self) -> DataLoader[Any]:
        """The test faces."""
        return self.test_dataloader()

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=begin_loading,
            **{"batch_size": self.batch_size, **options},
        )


def begin_loading(worker: int) -> None:
    """What a loading process does first."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # asks the training to save; Slurm sends it to all its processes
    cv2.setNumThreads(0)  # a worker is one core; OpenCV's own pool would take all of them in each
    told = (
        sys.excepthook
    )  # only for the thread that hands over tensors: the loader passes on what loading itself raises

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, (ConnectionError, EOFError)):  # the training process ended while it took one
            told(kind, error, trace)

    sys.excepthook = tell


def data_root(root: Path) -> Path:
    """A dataset's folder: as given, else below the folder that the environment variable LANDMARK_DATA names."""
    folder = os.environ.get("LANDMARK_DATA")
    return Path(folder, root) if folder and not Path(root).exists() else Path(root)
