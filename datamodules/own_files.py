"""The user's own images and videos, without annotation, to find landmarks in."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from datamodules.annotation_table import BOX_COLUMNS, read_csv
from datamodules.crop import Floats, box_convention
from datamodules.face_detector import FaceDetector
from datamodules.file_frames import Camera, Frame, VideoFile, image_frame
from datamodules.file_index import list_files
from datamodules.landmark_data import LandmarkDataModule, begin_loading
from datamodules.unlabeled import IMAGES, NO_MARKUP

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
REMEDY = "set --data.path to an image, a video, a folder of them, or camera:0"


class Source(NamedTuple):
    """A file, or a camera."""

    name: str  # below the folder that was given
    path: str
    still: bool  # a photograph


class Boxes(NamedTuple):
    """Boxes of a frame that are given."""

    box: Floats  # (M, 4)
    face: list[int]  # (M,) which face each is of


class FileFrame:
    """A frame on its way to the network; no tuple or dataclass, for Lightning would move its image to the device.

    Args:
        source: what it is of.
        frame: the frame; None at the end of the file.
        detected: (M, 4) boxes, where a detector has looked at it.
        given: boxes that are given, where there are such.
        expected: how many frames the file claims, 0 where it does not say.
        rate: frames a second.
        trouble: a sentence on what could not be read, at the end of the file.
    """

    def __init__(
        self,
        source: Source,
        frame: Frame | None,
        detected: Floats | None = None,
        given: Boxes | None = None,
        expected: int = 0,
        rate: float = 25.0,
        trouble: str = "",
    ) -> None:
        self.source, self.detected, self.given, self.expected, self.rate = source, detected, given, expected, rate
        self.trouble = trouble
        self.last = frame is None
        self.number, self.seconds = (frame.number, frame.seconds) if frame else (-1, 0.0)
        self.pixels = torch.from_numpy(np.array(frame.image)) if frame else None  # workers share tensors


class OwnFiles(LandmarkDataModule):
    """Images, videos or a camera to find landmarks in: ``python cli.py predict --name RUN --data.path FILE``.

    Faces are where a CSV says, or where a detector finds them; where the network was trained on whole images (``box:
    image``), each frame is one face. In videos the detector looks at the first frame and then at every n-th one, and
    between these a face is cut out by its landmarks in the frame before.

    Args:
        path: a file, a folder of files, or ``camera:0``.
        boxes: a CSV with the columns ``file`` (below the folder), ``left``, ``top``, ``right``, ``bottom`` in pixels, a
            line for each face; and for videos ``frame``, counted from 0. ``face``, a number, says which face it is.
        every: n.
        threshold: score from which on a detection is a face.
        long_side: pixels that the longer side of an image is shrunk to for the detector, whose time goes with its
            square; 1280 also finds the small faces of a crowd, 320 is enough for a face that fills the picture.
        overlays: whether to draw the landmarks over images and videos.
        table: whether the landmarks are written as CSV or as lines of JSON, which have a confidence for each.
        out: the folder to write to; None is one below the run's ``predictions``.
        size: side of the crops; the run's, where it has one.
        box: how crops are cut out of boxes; the run's, where it has one.
        num_workers: 1 decodes and detects beside the network, 0 in turn with it.
    """

    def __init__(
        self,
        path: str,
        boxes: Path | None = None,
        every: int = 10,
        threshold: float = 0.5,
        long_side: int = 640,
        overlays: bool = True,
        table: Literal["csv", "jsonl"] = "csv",
        out: Path | None = None,
        size: int = 256,
        box: str = "landmarks-1.2",
        num_workers: int = 1,
    ) -> None:
        super().__init__(NO_MARKUP, size=size, box=box, normalizer="crop-size", num_workers=min(num_workers, 1))
        if every < 1:
            raise ValueError(f"data.init_args.every is {every}, expected at least 1")
        self.path, self.boxes, self.every, self.threshold, self.long_side = path, boxes, every, threshold, long_side
        self.overlays, self.table, self.out = overlays, table, out
        self.convention = box_convention(box)
        self.done: dict[str, int] = {}  # frames of a source that need no box, because they were predicted before
        self.sources: list[Source] = []
        self.left_out: list[str] = []  # files that are neither images nor videos

    @property
    def title(self) -> str:
        """The file or folder."""
        number = _camera(self.path)
        return Path(self.path).resolve().name if number is None else f"camera{number}"

    @property
    def live(self) -> bool:
        """Whether it is a camera, which ends when it is stopped."""
        return _camera(self.path) is not None

    def setup(self, stage: str) -> None:
        """List the files.

        Raises:
            FileNotFoundError, ValueError: there is none; or they are to be trained or tested on.
        """
        if stage != "predict":
            raise ValueError(
                f"{self.path} has no landmarks to learn from or to compare with; use: python cli.py predict"
            )
        self.sources, self.left_out = list_sources(self.path)

    def given_boxes(self) -> dict[tuple[str, int], Boxes] | None:
        """The boxes of each frame that has such; None where a detector is to find them."""
        return None if self.boxes is None else read_frame_boxes(self.boxes, {source.name for source in self.sources})

    def predict_dataloader(self) -> DataLoader[Any]:
        """A `FileFrame` a batch, file after file; the ranks share out the files."""
        ranks, rank = self._ranks()
        whole = self.convention.source == "image"
        given = self.given_boxes()
        detector = None if whole or given is not None else FaceDetector(self.threshold, self.long_side)
        frames = FileFrames(self.sources[rank::ranks], given, detector, self.every, self.done)
        return DataLoader(
            frames,
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_as_it_is,
            worker_init_fn=begin_loading,
            prefetch_factor=4 if self.num_workers else None,
        )


class FileFrames(IterableDataset[FileFrame]):
    """The frames of files with their boxes, file after file, and after each file a `FileFrame` that says so.

    Args:
        sources: the files.
        given: boxes by file and frame, or None.
        detector: finds faces where none are given; None where each frame is one face.
        every: of the frames of a video, how many it looks at: every n-th.
        done: how many frames of a file need no box.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        given: dict[tuple[str, int], Boxes] | None,
        detector: FaceDetector | None,
        every: int,
        done: dict[str, int],
    ) -> None:
        self.sources, self.given, self.detector, self.every, self.done = sources, given, detector, every, done

    def __iter__(self) -> Iterator[FileFrame]:
        for source in self.sources:
            yield from self._of(source)

    def _of(self, source: Source) -> Iterator[FileFrame]:
        file: VideoFile | Camera | None = None
        count = 0
        try:
            if source.still:
                yield self._with_boxes(source, image_frame(source.path), 1, 25.0)
            else:
                number = _camera(source.path)
                file = VideoFile(source.path) if number is None else Camera(number, time.monotonic)
                for frame in file:
                    count += 1
                    yield self._with_boxes(source, frame, file.expected, file.rate)
        except (OSError, ValueError) as error:
            yield FileFrame(source, None, trouble=" ".join(str(error).split()))
            return
        yield FileFrame(source, None, trouble=_missing(file, count) if file else "")

    def _with_boxes(self, source: Source, frame: Frame, expected: int, rate: float) -> FileFrame:
        """A frame with what is known of its faces."""
        first, detected, given = self.done.get(source.name, 0), None, None
        if frame.number < first:
            pass
        elif self.given is not None:
            given = self.given.get((source.name, frame.number), Boxes(np.empty((0, 4)), []))
        elif self.detector is None:
            height, width = frame.image.shape[:2]
            given = Boxes(np.array([[-0.5, -0.5, width - 0.5, height - 0.5]]), [0])
        elif frame.number == first or frame.number % self.every == 0:
            detected = self.detector(frame.image).boxes
        return FileFrame(source, frame, detected, given, expected, rate)


def list_sources(path: str) -> tuple[list[Source], list[str]]:
    """The images and videos of a path, and the names of what is neither.

    Raises:
        FileNotFoundError, ValueError: there is nothing to predict; one sentence.
    """
    if (number := _camera(path)) is not None:  # each recording has a name of its own
        return [Source(f"camera{number}-{time.strftime('%Y%m%d-%H%M%S')}", path, False)], []
    given = Path(path)
    if given.is_file():
        if given.suffix.lower() not in (*IMAGES, *VIDEOS):
            known = ", ".join((*IMAGES, *VIDEOS))
            raise ValueError(f"{path} is neither an image nor a video by its name, expected one of {known}; {REMEDY}")
        return [Source(given.name, str(given), given.suffix.lower() in IMAGES)], []
    names = list_files(given, ("",), REMEDY).name.tolist()
    usable = [name for name in names if name.lower().endswith((*IMAGES, *VIDEOS))]
    if not usable:
        raise FileNotFoundError(f"{path} holds no image and no video ({len(names)} other files); {REMEDY}")
    sources = [Source(name, str(given / name), name.lower().endswith(IMAGES)) for name in usable]
    return sources, sorted(set(names) - set(usable))


def read_frame_boxes(path: Path, files: set[str]) -> dict[tuple[str, int], Boxes]:
    """The boxes of a CSV by file and frame.

    Raises:
        FileNotFoundError, ValueError: a column is missing, a line names a file that is not there, a box has no area, or
            as in `annotation_table`.
    """
    table = read_csv(path, "set --data.boxes to a CSV of boxes, or leave it out to have faces detected")
    for name in ("file", *BOX_COLUMNS):
        if name not in table.columns:
            raise ValueError(f"{path}: line 1 has no column '{name}', expected file, {', '.join(BOX_COLUMNS)}")
    names, boxes = table.text("file"), table.numbers(BOX_COLUMNS)
    whole = {column: _counted(table, column) for column in ("frame", "face")}
    found: dict[tuple[str, int], Boxes] = {}
    for row, (name, box) in enumerate(zip(names, boxes, strict=True)):
        where = f"{path}: line {table.line[row]}"
        if name not in files:
            raise ValueError(f"{where} names {name}, which is not among the files of --data.path; correct it")
        if not (box[2:] > box[:2]).all():
            raise ValueError(f"{where}: the box {box.tolist()} has no area, expected left < right and top < bottom")
        frame = whole["frame"][row] if whole["frame"] else 0
        before = found.get((name, frame), Boxes(np.empty((0, 4)), []))
        face = whole["face"][row] if whole["face"] else len(before.face)
        if face in before.face:
            raise ValueError(f"{where}: face {face} of {name}, frame {frame}, is there twice, expected once")
        found[name, frame] = Boxes(np.concatenate([before.box, box[None]]), [*before.face, face])
    return found


def _counted(table: Any, column: str) -> list[int] | None:
    """A column of whole numbers from 0 on, where there is one."""
    if column not in table.columns:
        return None
    values = table.numbers([column])[:, 0]
    for row in np.flatnonzero((values < 0) | (values % 1 != 0)):
        where = f"{table.path}: line {table.line[row]}, column {column}"
        raise ValueError(f"{where} is {values[row]:g}, expected a whole number from 0 on")
    return [int(value) for value in values]


def _missing(file: VideoFile | Camera, count: int) -> str:
    """A sentence on the frames of a video that could not be read, given how many could."""
    if file.missing.frames:
        lost = file.missing
        return f"{file.path}: {lost.frames} frames are damaged and left out, the first at {lost.first}"
    if count < file.claimed:
        return f"{file.path}: breaks off after {count} of {file.claimed} frames"
    return ""


def _camera(path: str) -> int | None:
    """Of ``camera:1`` the number."""
    found = re.fullmatch(r"camera(?::(\d+))?", path)
    return int(found[1] or 0) if found else None


def _as_it_is(item: Any) -> Any:
    return item
