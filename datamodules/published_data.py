"""What the datamodules of published datasets share: their markup and box are known, only their files differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from datamodules.landmark_data import LandmarkDataModule, data_root
from datamodules.perturbations import Perturbation
from datamodules.transforms import Augmentation


class PublishedData(LandmarkDataModule):
    """A published dataset in a folder; its own file says what is below and reads it (`wflw.py` is one to copy).

    Args:
        root: folder of the dataset; each class says what is in it.
        box: None is ``usual_box`` of the class.
        normalizer: None is ``usual_normalizer`` of the class, or else the markup's default.
        size, batch_size, num_workers, validation_fraction, augmentation, seed, convert_to, perturbation,
            cache: see `LandmarkDataModule`.
    """

    usual_box: ClassVar[str] = "landmarks-1.2"
    usual_normalizer: ClassVar[str | None] = None
    # The splits there are to load, and how many faces each has where nothing is missing, None where that is not known.
    published: ClassVar[Mapping[str, int | None]] = {"train": None, "test": None}

    def __init__(
        self,
        root: Path,
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
        super().__init__(
            self.annotated,
            size,
            box or self.usual_box,
            normalizer,
            batch_size,
            num_workers,
            validation_fraction,
            augmentation,
            seed,
            convert_to,
            perturbation,
            cache,
        )
        self.root = data_root(root)

    @property
    def default_normalizer(self) -> str:
        """The normaliser of the field's tables for this data."""
        return self.usual_normalizer or super().default_normalizer
