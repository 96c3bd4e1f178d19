"""What the datamodules of published datasets share: their markup and box are known, only their files differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from datamodules.faces import Faces
from datamodules.landmark_data import ROOT, LandmarkDataModule, data_root


class PublishedData(LandmarkDataModule):
    """A published dataset in a folder; its own file says what is below and reads it (`wflw.py` is one to copy).

    Args:
        root: folder of the dataset; each class says what is in it.
        box: a name of `crop.BOX_CONVENTIONS`; None is ``usual_box`` of the class, or else ``landmarks-1.2``.
        options: see `LandmarkDataModule`.
    """

    # The splits there are to load, and how many faces each has where nothing is missing, None where that is not known.
    published: ClassVar[Mapping[str, int | None]] = {"train": None, "test": None}
    counted: ClassVar[str] = "faces"  # what ``published`` counts
    # Why a faultless copy may differ from ``published``, or have one photograph in its training and its test faces;
    # empty where it may not. `inspect` then asks for a look, and tells the reason.
    may_differ: ClassVar[str] = ""
    may_share_photographs: ClassVar[str] = ""
    holds: ClassVar[str]  # what is in ``root``, for sentences
    prepared_as: ClassVar[str] = ""  # its name for ``python cli.py prepare``; none where that does not know it

    # ``box`` is not left to the options, so that --data.help shows what each class says of it.
    def __init__(self, root: Path, box: str | None = None, **options: Any) -> None:
        super().__init__(self.annotated, box=box, **options)
        self.root = data_root(root)

    @property
    def remedy(self) -> str:
        """What to do where a file or a folder of the dataset is not found, for the end of a sentence."""
        prepare = f"; python cli.py prepare {self.prepared_as} says where to get it" if self.prepared_as else ""
        return f"set data.init_args.root to the folder that holds {self.holds} {ROOT}{prepare}"

    def count(self, faces: Faces) -> int:
        """How many there are of what ``published`` counts."""
        return len(faces)

    def published_counts(self, split: str) -> Mapping[int, str]:
        """How many of ``counted`` a split has where nothing is missing, and who says so; empty where not known."""
        count = self.published[split]
        return {} if count is None else {count: "as published"}
