"""The user's own images and videos, without annotation, to find landmarks in."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from datamodules.annotation_table import BOX_COLUMNS, read_csv
from datamodules.crop import Floats, box_convention
from datamodules.face_detector import FaceDetector
from datamodules.file_frames import Camera, Frame, VideoFile, image_frame
from datamodules.file_sources import Source, camera_number, list_sources
from datamodules.landmark_data import LandmarkDataModule, begin_loading
from datamodules.unlabeled import NO_MARKUP


class Boxes(NamedTuple):
    """Boxes of a frame that are given."""

    box: Floats  # (M, 4)
    face: list[int] | None  # (M,) which face each is of, where that is said


class FileFrame:
    """A frame on its way to the network; no tuple or dataclass, for Lightning would move its image to the device.

    Args:
        source: what it is of.
        frame: the frame; None at the end of the file.
        detected: (M, 4) boxes, where a detector has looked at it.
        given: boxes that are given, where there are such.
        expected: how many frames the file claims, 0 where it does not say.
        trouble: a sentence on what could not be read, at the end of the file.
    """

    def __init__(
        self,
        source: Source,
        frame: Frame | None,
        detected: Floats | None = None,
        given: Boxes | None = None,
        expected: int = 0,
        trouble: str = "",
    ) -> None:
        self.source, self.detected, self.given, self.expected = source, detected, given, expected
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
        boxes: a CSV with the columns ``file`` (below the folder), ``left``, ``top``, ``right``, ``bottom`` in pixels of
            what is shown, of the kind that the training had, a line for each face; and for videos ``frame``, counted
            from 0. ``face``, a number, says which face it is.
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
        self.files: list[Source] = []  # all of them
        self.sources: list[Source] = []  # those to be read: whoever has results of some already takes these away
        self.left_out: list[str] = []  # files that are neither images nor videos
        self.given: dict[tuple[str, int], Boxes] | None = None  # by file and frame

    @property
    def title(self) -> str:
        """The file or folder."""
        number = camera_number(self.path)
        return Path(self.path).resolve().name if number is None else f"camera{number}"

    @property
    def live(self) -> bool:
        """Whether it is a camera, which ends when it is stopped."""
        return camera_number(self.path) is not None

    def setup(self, stage: str) -> None:
        """List the files, and read the boxes.

        Raises:
            FileNotFoundError, ValueError: there is none; a mistake in the boxes (`read_frame_boxes`); or they are to be
                trained or tested on.
        """
        if stage != "predict":
            raise ValueError(
                f"{self.path} has no landmarks to learn from or to compare with; use: python cli.py predict"
            )
        self.files, self.left_out = list_sources(self.path)
        self.sources = list(self.files)
        if self.boxes is not None:
            self.given = read_frame_boxes(self.boxes, {source.name: source.still for source in self.files})

    def share(self) -> list[Source]:
        """The files that this process is to read; shared out before any are taken away, so that processes agree."""
        (ranks, rank), left = self._ranks(), {source.name for source in self.sources}
        return [source for source in self.files[rank::ranks] if source.name in left]

    def stretched(self, source: Source) -> bool:
        """Whether the frames of a video are shown in other pixels than the file has, because its own are no squares."""
        try:
            return not source.still and not self.live and VideoFile(source.path).stretched
        except (OSError, ValueError):  # is told where it is read
            return False

    def detector(self) -> FaceDetector | None:
        """What finds faces, where none are given and a frame is not one face."""
        whole = self.convention.source == "image"
        return None if whole or self.given is not None else FaceDetector(self.threshold, self.long_side)

    def predict_dataloader(self) -> DataLoader[Any]:
        """A `FileFrame` a batch, file after file, of this process's `share`."""
        frames = FileFrames(self.share(), self.given, self.detector(), self.every, self.done)
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
        named = given is not None and all(boxes.face is not None for boxes in given.values())
        self.none = Boxes(np.empty((0, 4)), [] if named else None)
        self.frames_given: dict[str, list[int]] = {}
        for name, frame in given or ():
            self.frames_given.setdefault(name, []).append(frame)

    def __iter__(self) -> Iterator[FileFrame]:
        for source in self.sources:
            yield from self._of(source)

    def _of(self, source: Source) -> Iterator[FileFrame]:
        trouble = ""
        try:
            if source.still:
                yield self._with_boxes(source, image_frame(source.path), 1)
            else:
                number = camera_number(source.path)
                file = VideoFile(source.path) if number is None else Camera(number, time.monotonic)
                last = -1
                for frame in file:
                    last = frame.number
                    yield self._with_boxes(source, frame, file.expected)
                trouble = "; ".join(filter(None, (file.trouble(), self._beyond(source, last))))
        except (OSError, ValueError) as error:
            trouble = " ".join(str(error).split())
        yield FileFrame(source, None, trouble=trouble)

    def _beyond(self, source: Source, last: int) -> str:
        """What is wrong with boxes after the last frame of a video, as where frames are counted from 1."""
        frames = [frame for frame in self.frames_given.get(source.name, ()) if frame > last]
        if not frames:
            return ""
        return (
            f"{source.path}: boxes are given for {len(frames)} frames that it has not, the first is {min(frames)}, and "
            f"its last frame is {last} (both counted from 0)"
        )

    def _with_boxes(self, source: Source, frame: Frame, expected: int) -> FileFrame:
        """A frame with what is known of its faces."""
        first, detected, given = self.done.get(source.name, 0), None, None
        if frame.number < first:
            pass
        elif self.given is not None:
            given = self.given.get((source.name, frame.number), self.none)
        elif self.detector is None:
            height, width = frame.image.shape[:2]
            given = Boxes(np.array([[-0.5, -0.5, width - 0.5, height - 0.5]]), [0])
        elif frame.number == first or frame.number % self.every == 0:
            detected = self.detector(frame.image).boxes
        return FileFrame(source, frame, detected, given, expected)


def read_frame_boxes(path: Path, files: Mapping[str, bool]) -> dict[tuple[str, int], Boxes]:
    """The boxes of a CSV by file and frame.

    Args:
        path: the CSV.
        files: for each file whether it is a photograph, which has frame 0 alone.

    Raises:
        FileNotFoundError, ValueError: a column is missing, a line names a file or a frame that is not there, a box has
            no area, or as in `annotation_table`.
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
        if whole["frame"] is None and not files[name]:
            raise ValueError(f"{where} is of the video {name}, and there is no column 'frame' (counted from 0); add it")
        frame = whole["frame"][row] if whole["frame"] else 0
        if frame and files[name]:
            raise ValueError(f"{where}, column frame is {frame}, but {name} is a photograph; expected 0")
        before = found.get((name, frame), Boxes(np.empty((0, 4)), None))
        faces = before.face or []
        if whole["face"] is not None:
            if (face := whole["face"][row]) in faces:
                raise ValueError(f"{where}: face {face} of {name}, frame {frame}, is there twice, expected once")
            faces = [*faces, face]
        found[name, frame] = Boxes(np.concatenate([before.box, box[None]]), faces or None)
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


def _as_it_is(item: Any) -> Any:
    return item
