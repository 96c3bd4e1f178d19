"""Annotated frames of videos as columns, and the videos open to read them."""

import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.faces import Faces
from datamodules.transforms import Image
from datamodules.video_frames import VideoFrames
from datamodules.video_order import Rows


@dataclass(frozen=True)
class VideoFaces(Faces):
    """The annotated frames of videos. The rows of a video follow each other, and its frames are in order.

    As in `Faces`, but ``image`` is the path of the video, "#" and the frame counted from 1, ``line`` is 0, and
    ``photograph`` is the video's name: validation takes whole videos.

    Args:
        frame: (M,) counted from 0.
        length: (M,) frames of the whole video, each of which has a label.
        scored: (M,) whether the frame counts in an evaluation; a tracker sees the others too.
    """

    frame: NDArray[np.int64]
    length: NDArray[np.int64]
    scored: NDArray[np.bool_]

    def path(self, row: int) -> str:
        """The file of a row's video."""
        return str(self.image[row]).rpartition("#")[0]

    def videos(self) -> list[Rows]:
        """The rows of each video."""
        begins = np.flatnonzero(self.photograph[1:] != self.photograph[:-1]) + 1
        return np.split(np.arange(len(self)), begins)

    def check_images(self) -> None:
        """Refuse missing videos now rather than in the middle of an epoch.

        Raises:
            FileNotFoundError: one sentence naming the first and how many there are without a file.
        """
        paths = [self.path(rows[0]) for rows in self.videos()]
        if missing := [path for path in paths if not Path(path).is_file()]:
            raise FileNotFoundError(
                f"video {missing[0]} is not there ({len(missing)} of {len(paths)} videos are missing); get it again or "
                "take its labels away too"
            )

    def seconds(self, rows: Rows) -> Floats:
        """When these frames (M,) of one video are shown, in seconds since its first one."""
        return _seconds(self.path(rows[0]), int(self.length[rows[0]]))[self.frame[rows]]

    def motion(self, landmark: int) -> Floats:
        """How far a landmark moves from the frame before each row's to the frame after, (M, 2) in pixels of the video.

        At a video's ends, from or to the frame itself; all zero in a video of one frame.
        """
        moved = np.zeros((len(self), 2))
        for rows in self.videos():
            points = self.landmarks[rows, landmark]
            moved[rows] = points[np.minimum(np.arange(len(rows)) + 1, len(rows) - 1)]
            moved[rows] -= points[np.maximum(np.arange(len(rows)) - 1, 0)]
        return moved


@lru_cache(maxsize=32)
def _seconds(path: str, count: int) -> Floats:
    video = VideoFrames(path, count)
    try:
        return video.seconds
    finally:
        video.close()


class OpenVideos:
    """Reads the frame of a row. The videos read last stay open where they were left, each process having its own.

    When a video is opened for the first time, its frames are counted: one longer than its labels would be learned from
    with labels that belong to other frames.

    Args:
        faces: the rows.
        most: videos open at once.
    """

    def __init__(self, faces: VideoFaces, most: int) -> None:
        self.faces, self.most = faces, most
        self._open: OrderedDict[str, VideoFrames] = OrderedDict()
        self._counted: set[str] = set()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": OrderedDict()}

    def __call__(self, row: int) -> Image:
        """The image (H, W, 3); see `VideoFrames` for what is refused."""
        if self._process != os.getpid():  # forked: the files' positions are shared with the parent's
            self._open, self._process = OrderedDict(), os.getpid()
        path = self.faces.path(row)
        if path not in self._open:
            video = VideoFrames(path, int(self.faces.length[row]))
            if path not in self._counted:
                video.check_count()
                self._counted.add(path)
            self._open[path] = video
        self._open.move_to_end(path)
        while len(self._open) > self.most:
            self._open.popitem(last=False)[1].close()
        return self._open[path][int(self.faces.frame[row])]
