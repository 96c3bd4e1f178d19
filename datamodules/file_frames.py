"""Frames of the user's own files, as they are shown: images, videos of any length, a camera.

Unlike annotated videos (`video_frames.py`), whose every frame must be the one that a label belongs to, a video here may
be cut short or damaged: its other frames are read, and what is missing is told. Times are the file's, so that frames
that do not come at an even rate keep theirs. A rotation that the file asks for is applied, of photographs (EXIF) too:
landmarks are in pixels of what a player or viewer shows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from datamodules.image_files import read_image
from datamodules.transforms import Image
from datamodules.video_frames import open_video, rgb_frame

AGAIN = "get the file again, or take it away"


class Frame(NamedTuple):
    """A frame as it is shown."""

    number: int  # counted from 0, of those that can be read
    seconds: float  # since the first one
    image: Image  # (H, W, 3) RGB


@dataclass
class Missing:
    """What could not be read of a file, for a sentence at its end."""

    frames: int = 0
    first: str = ""  # where and why

    def note(self, where: str, reason: str) -> None:
        """Count a frame."""
        self.frames += 1
        self.first = self.first or f"{where} ({reason})"


def image_frame(path: str) -> Frame:
    """A photograph, upright.

    Raises:
        OSError, ValueError: as `read_image`.
    """
    return Frame(0, 0.0, np.asarray(read_image(path, upright=True)))


class VideoFile:
    """The frames of a video, one after the other; one is held at a time.

    Args:
        path: the file.

    Raises:
        FileNotFoundError, ValueError: it is missing, is no video, or no frame of it can be read; one sentence.
    """

    def __init__(self, path: str) -> None:
        self.path, self.missing = path, Missing()
        with open_video(path) as container:
            stream = container.streams.video[0]
            rate, length = stream.average_rate, container.duration
            self.claimed = int(stream.frames)  # how many frames its header claims, 0 where it does not say
            self.rate = float(rate) if rate else 25.0
            self.expected = self.claimed or (round(length / av.time_base * rate) if rate and length else 0)

    def __iter__(self) -> Iterator[Frame]:
        number, first, last = 0, None, 0.0
        with open_video(self.path) as container:
            stream = container.streams.video[0]
            for frame in self._decoded(container, stream):
                time = frame.time
                if time is None or (first is not None and time - first <= last and number):
                    time = (
                        (first or 0.0) + last + (number > 0) / self.rate
                    )  # none given, or not later than the one before
                first = time if first is None else first
                last = time - first
                yield Frame(number, last, rgb_frame(frame))
                number += 1
        if not number:
            raise ValueError(
                f"{self.path}: no frame of it can be read ({self.missing.first or 'it has none'}); {AGAIN}"
            )

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """The frames that can be decoded; damaged packets are counted."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.missing.note("the file breaks off", str(error.strerror))
                return
            if packet is None:
                return
            where = "its end" if packet.pts is None else f"{float(packet.pts * stream.time_base):.2f} s"
            try:
                for frame in packet.decode():
                    if frame.is_corrupt:
                        self.missing.note(where, "a part of it is lost")
                    else:
                        yield frame
            except av.FFmpegError as error:
                self.missing.note(where, str(error.strerror))


class Camera:
    """The frames of a camera of this computer, until it is stopped or unplugged.

    Args:
        number: which camera, from 0 on.
        clock: seconds that pass.

    Raises:
        ValueError: there is no such camera.
    """

    def __init__(self, number: int, clock: Callable[[], float]) -> None:
        self.number, self.clock, self.missing = number, clock, Missing()
        self.path, self.claimed, self.expected, self.rate = f"camera {number}", 0, 0, 25.0

    def __iter__(self) -> Iterator[Frame]:
        capture = cv2.VideoCapture(self.number)
        try:
            begun, count = self.clock(), 0
            while True:
                read, image = capture.read()
                if not read:
                    break
                yield Frame(count, self.clock() - begun, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
                count += 1
        finally:
            capture.release()
        if not count:
            raise ValueError(f"camera {self.number} gives no picture; set data.init_args.path to another, or to a file")
