"""Annotated faces and faces without annotation in the same batches."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from datamodules.crop import Floats, box_convention
from datamodules.face_dataset import EpochSampler, FaceDataset, Key
from datamodules.faces import Faces
from datamodules.landmark_data import LandmarkDataModule
from datamodules.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from datamodules.published_data import PublishedData


class Mixture(LandmarkDataModule):
    """Trains on annotated faces and others, whose annotation is not there or not looked at.

    Training batches are of `MixedBatch`. An epoch has every annotated training face once and ``ratio`` times as many
    others, spread evenly: one face in 1 + ``ratio`` is annotated, so that of smaller batches some have no annotated
    face. The others are drawn without replacement: each is seen as often as any other, to one time, over however many
    epochs. Validation and test are those of ``labelled``.

    Args:
        labelled: the annotated faces; its batch size, workers and seed are the mixture's, and its augmentation is that
            of the others too, unless they have one of their own.
        unlabelled: the other faces, of the same size; of annotated data those of the training split, in crops
            of its own ``box``, which must not come from the landmarks: it would tell where they are. Batch size,
            workers and seed of these are not looked at.
        ratio: others for each annotated face; None is all of the others in every epoch.

    Raises:
        ValueError: no landmarks, no others, a ratio that is not above 0, others of another size or cut by landmarks.
    """

    def __init__(
        self, labelled: LandmarkDataModule, unlabelled: list[LandmarkDataModule], ratio: float | None = 1.0
    ) -> None:
        super().__init__(
            labelled.markup,
            size=labelled.size,
            box=labelled.box,
            normalizer=labelled.normalizer,
            batch_size=labelled.batch_size,
            num_workers=labelled.num_workers,
            validation_fraction=labelled.validation_fraction,
            augmentation=labelled.augmentation,
            seed=labelled.seed,
            perturbation=labelled.perturbation,
        )
        if not labelled.num_landmarks:
            raise ValueError("data.init_args.labelled has no landmarks; set it to annotated faces")
        if not unlabelled:
            raise ValueError("data.init_args.unlabelled is empty, expected at least one datamodule")
        if ratio is not None and not 0 < ratio < np.inf:
            raise ValueError(
                f"data.init_args.ratio is {ratio}, expected a number above 0, or null for all others in each epoch"
            )
        for place, data in enumerate(unlabelled):
            if data.size != self.size:
                raise ValueError(
                    f"data.init_args.unlabelled: number {place} has size {data.size}, but labelled has {self.size}; "
                    "set both to one size"
                )
            if box_convention(data.box).source == "landmarks":
                raise ValueError(
                    f"data.init_args.unlabelled: number {place} ({type(data).__name__}) has box '{data.box}', which is "
                    "drawn around its landmarks; set its box to image or to one of provided-..."
                )
            data.augmentation = data.augmentation or self.augmentation
            # Its own random numbers: row i of each part would be turned and occluded alike with the mixture's seed.
            data.seed = int(np.random.default_rng((self.seed, place + 1)).integers(2**62))
        self.labelled, self.unlabelled, self.ratio = labelled, unlabelled, ratio
        self.subset_names, self.annotated = labelled.subset_names, labelled.annotated
        if isinstance(labelled, PublishedData):
            self.published: Mapping[str, int | None] = labelled.published
        self.radii = labelled.radii
        self.labelled_only = False  # True where a method begins with supervised epochs; loaders then have no others
        self._mixed: MixedFaces | None = None

    @property
    def title(self) -> str:
        """Name of the test faces."""
        return self.labelled.title

    @property
    def measured_on(self) -> str:
        """What a test result was measured on."""
        return self.labelled.measured_on

    @property
    def validated_on(self) -> str:
        """What a validation result was measured on."""
        return self.labelled.validated_on

    @property
    def default_normalizer(self) -> str:
        """The normaliser of the field's tables for the annotated faces."""
        return self.labelled.default_normalizer

    def load(self, split: str) -> Faces:
        """The annotated faces."""
        return self.labelled.load(split)

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The annotated faces for training and validation."""
        return self.labelled.fit_faces()

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of annotated faces."""
        return self.labelled.dataset(faces)

    def setup(self, stage: str) -> None:
        """Read the annotated faces, and the others where there is training."""
        self.labelled.setup(stage)
        self._datasets = self.labelled._datasets
        if stage == "fit" and not self._mixed:
            others = [self._others(place, data) for place, data in enumerate(self.unlabelled)]
            self._mixed = MixedFaces(self._datasets["train"], others)

    def _others(self, place: int, data: LandmarkDataModule) -> FaceDataset:
        try:
            dataset = data.dataset(data.load("train"))
        except (FileNotFoundError, ValueError) as error:
            if type(error) not in (FileNotFoundError, ValueError) or getattr(error, "errno", None):
                raise
            sentence = str(error).replace("data.init_args.", "its init_args.")  # those of the part, not the mixture's
            raise type(error)(f"data.init_args.unlabelled: number {place}: {sentence}") from error
        data.cached([dataset], augmented=True)
        return dataset

    @property
    def mixed(self) -> "MixedFaces":
        """The training faces, once they are read."""
        if self._mixed is None:
            raise RuntimeError("the mixture has no training faces before setup('fit')")
        return self._mixed

    def pseudo_label(self, landmarks: Floats) -> None:
        """Give the others landmarks (U, N, 2) in pixels of their original images; rows of NaN have none.

        They are augmented as true landmarks are, and visible in the batches of loaders made from now on;
        ``labelled`` stays False. The order is that of ``unlabelled_dataloader``.

        Raises:
            ValueError: of another shape.
        """
        self.mixed.pseudo_label(landmarks)

    @property
    def unlabelled_images(self) -> NDArray[np.str_]:
        """The images (U,) of the others as seen from their datasets, so that a folder may be moved."""
        faces = [part.faces for part in self.mixed.parts[1:]]
        return np.array([os.path.relpath(image, part.source) for part in faces for image in part.image.tolist()])

    def write_pseudo_labels(self, path: Path, landmarks: Floats, confidence: Floats) -> None:
        """Keep landmarks (U, N, 2) as `pseudo_label` takes them, and their confidence (U, N), in a file."""
        write_pseudo_labels(path, self.unlabelled_images, landmarks, confidence)

    def read_pseudo_labels(self, path: Path) -> Floats:
        """The landmarks in such a file.

        Raises:
            FileNotFoundError, ValueError: it is not there, damaged, or not of these faces.
        """
        return read_pseudo_labels(path, self.unlabelled_images, self.num_landmarks)

    @property
    def first_epoch(self) -> int:
        """The epoch that this process begins with: 0, or that after those of the checkpoint."""
        return self._first_epoch

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, augmented and mixed; an incomplete last batch is left out.

        While ``labelled_only``, batches have the faces that those of ``labelled`` would have.
        """
        world, rank = self._ranks()
        sampler: EpochSampler
        if self.labelled_only:
            faces = self.mixed.parts[0]
            whole = len(faces) >= world * self.batch_size
            sampler = EpochSampler(faces, num_replicas=world, rank=rank, seed=self.seed, drop_last=whole)
        else:
            sampler = MixtureSampler(self.mixed, self.ratio, self.batch_size, world, rank, self.seed)
        self._begin(sampler)
        for part in self.mixed.parts:
            part.augmentation.pipeline(part.size)
        return self._loader(self.mixed, sampler=sampler, drop_last=len(sampler) >= self.batch_size)

    def unlabelled_dataloader(self) -> DataLoader[Any]:
        """The clean crops of the others, each once over all ranks.

        ``index`` less ``mixed.num_labelled`` counts them from 0.
        """
        world, rank = self._ranks()
        return self._loader(Subset(self.mixed, range(self.mixed.num_labelled + rank, len(self.mixed), world)))


class MixedFaces(Dataset[dict[str, Any]]):
    """Annotated faces, then faces of other datasets, whose landmarks are forgotten; samples of a `MixedBatch`."""

    def __init__(self, labelled: FaceDataset, unlabelled: Sequence[FaceDataset]) -> None:
        self.parts = [labelled, *unlabelled]
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.num_labelled = len(labelled)
        for part in unlabelled:
            part.markup, part.norm_is_crop, part.landmarks_are_true = labelled.markup, False, False
            part.norms = np.full(len(part), np.nan)
        self.pseudo_label(np.broadcast_to(np.nan, (len(self) - len(labelled), *labelled.landmarks.shape[1:])))

    @property
    def pseudo_labels(self) -> Floats:
        """The landmarks (U, N, 2) of the others in pixels of their original images; NaN where they have none."""
        return np.concatenate([part.landmarks for part in self.parts[1:]])

    def pseudo_label(self, landmarks: Floats) -> None:
        """As `Mixture.pseudo_label`."""
        expected = (len(self) - self.num_labelled, *self.parts[0].landmarks.shape[1:])
        if landmarks.shape != expected:
            raise ValueError(f"pseudo-labels have shape {landmarks.shape}, expected {expected}")
        for part, start in zip(self.parts[1:], self.ends[:-1] - self.num_labelled, strict=True):
            part.landmarks = landmarks[start : start + len(part)]
            part.visible = np.asarray(np.isfinite(part.landmarks).all(axis=-1))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        number = int(np.searchsorted(self.ends, index, side="right"))
        part = self.parts[number]
        row = int(index - self.ends[number] + len(part))
        sample = part[row if epoch is None else (epoch, row)]
        sample |= {"index": torch.tensor(index), "labelled": torch.tensor(number == 0)}
        if number:
            sample["subsets"] = torch.zeros(self.parts[0].faces.subsets.shape[1], dtype=torch.bool)
        return sample


class MixtureSampler(EpochSampler):
    """(epoch, index) of every annotated face and ``ratio`` times as many others (None: all), spread evenly, over ranks.

    The ranks' batches are together those of one process whose batches are as large as all of theirs. Of each such batch
    the ranks take their parts of both kinds, which differ by one face at most. Fewer faces than such a batch has are
    filled up with faces from the beginning.
    """

    def __init__(
        self, faces: MixedFaces, ratio: float | None, batch_size: int, num_replicas: int, rank: int, seed: int
    ) -> None:
        super().__init__(faces, num_replicas=num_replicas, rank=rank, seed=seed)
        self.num_labelled, self.num_others = faces.num_labelled, len(faces) - faces.num_labelled
        self.drawn = self.num_others if ratio is None else max(1, round(ratio * faces.num_labelled))
        self.whole_batch, count = batch_size * num_replicas, self.num_labelled + self.drawn
        # A last round that is not full is left out, as an incomplete batch is, where there are whole ones
        self.num_samples = count // num_replicas if count >= self.whole_batch else -(-count // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def order(self) -> Iterable[int]:
        """As `EpochSampler.order`."""
        labelled = self._order("labelled", self.num_labelled, self.epoch)
        others = self.num_labelled + self._others()
        # Face i of n belongs at (i + 1/2) / n of the epoch.
        places = [(np.arange(len(kind)) + 0.5) / len(kind) for kind in (labelled, others)]
        mixed = np.concatenate([labelled, others])[np.argsort(np.concatenate(places), kind="stable")]
        mixed = np.resize(mixed, self.total_size)
        batch = np.arange(len(mixed)) // self.whole_batch
        dealt = mixed[np.lexsort((mixed >= self.num_labelled, batch))]  # of each batch the annotated faces first
        return dealt[self.rank :: self.num_replicas].tolist()

    def _others(self) -> NDArray[np.int64]:
        """The part of this epoch of an endless row of shuffles of all others."""
        first, last = self.epoch * self.drawn, (self.epoch + 1) * self.drawn
        rounds = range(first // self.num_others, -(-last // self.num_others))
        row = np.concatenate([self._order("others", self.num_others, number) for number in rounds])
        start = first - rounds[0] * self.num_others
        return row[start : start + self.drawn]

    def _order(self, kind: str, count: int, number: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, kind == "others", number)).permutation(count)
