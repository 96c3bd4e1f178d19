"""Frames of the user's own files, as they are shown: images, videos of any length, a camera.

Unlike annotated videos (`video_frames.py`), whose every frame must be the one that a label belongs to, a video here may
be cut short or damaged: its other frames are read, and what is missing is told. Times are the file's, so that frames
that do not come at an even rate keep theirs. What is read is what a player or viewer shows, and landmarks are in pixels
of that: a rotation that the file asks for is applied, of photographs (EXIF) too, and frames whose pixels are no squares
are stretched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from datamodules.image_files import read_image
from datamodules.transforms import Image
from datamodules.video_frames import open_video, rgb_frame

AGAIN = "get the file again, or take it away"
SQUARE = Fraction(1)
WIDEST = 10  # times its height that a pixel may be wide, or the other way round: beyond, it is a mistake in the file
SHORT = 0.5, 0.05  # seconds, and share of its length, by both of which a file that breaks off is too short


class Frame(NamedTuple):
    """A frame as it is shown."""

    number: int  # counted from 0, of those that can be read
    seconds: float  # since the first one
    image: Image  # (H, W, 3) RGB


@dataclass
class Missing:
    """What could not be read of a file, for a sentence at its end."""

    frames: int = 0
    last: int = 0  # of these: after which nothing else could be read
    first: str = ""  # where and why

    def note(self, where: str, reason: str) -> None:
        """Count a frame."""
        self.frames, self.last = self.frames + 1, self.last + 1
        self.first = self.first or f"{where} ({reason})"

    def sentence(self, frames: int) -> str:
        """So many are damaged."""
        if frames == 1:
            return f"1 frame is damaged and left out, at {self.first}"
        return f"{frames} frames are damaged and left out, the first at {self.first}" if frames else ""


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
        self.path, self.missing, self._count = path, Missing(), 0
        with open_video(path) as container:
            stream = container.streams.video[0]
            rate, length = stream.average_rate, container.duration
            self.claimed = int(stream.frames)  # how many frames its header claims, 0 where it does not say
            self.rate = float(rate) if rate else 25.0
            self.expected = self.claimed or (round(length / av.time_base * rate) if rate and length else 0)
            self.aspect = _believed(stream.sample_aspect_ratio)
            self._ending = _Ending(container, stream, self.rate)

    @property
    def stretched(self) -> bool:
        """Whether its pixels are no squares, so that frames are shown in others."""
        return self.aspect != SQUARE

    def __iter__(self) -> Iterator[Frame]:
        first, last = None, 0.0
        self.missing, self._count = Missing(), 0
        with open_video(self.path) as container:
            stream = container.streams.video[0]
            self._ending = _Ending(container, stream, self.rate)
            for frame in self._decoded(container, stream):
                time, number = frame.time, self._count
                if time is None or (first is not None and time - first <= last and number):
                    time = (
                        (first or 0.0) + last + (number > 0) / self.rate
                    )  # none given, or not later than the one before
                first = time if first is None else first
                last = time - first
                self._count += 1
                yield Frame(number, last, shown(frame, self.aspect))
        if not self._count:
            raise ValueError(
                f"{self.path}: no frame of it can be read ({self.missing.first or 'it has none'}); {AGAIN}"
            )

    def trouble(self) -> str:
        """A sentence on what could not be read, once the frames have been; '' where nothing is missing."""
        end, missing = self._ending, self.missing
        if not end.early:
            return f"{self.path}: {missing.sentence(missing.frames)}" if missing.frames else ""
        total = f" of {self.claimed}" if self._count < self.claimed else ""
        until = f", at {end.reached:.2f} of {end.length:.2f} s" if end.reached < end.length else ""
        damage = missing.sentence(missing.frames - missing.last)  # the last ones are of the break itself
        before = f"; before that {damage}" if damage else ""
        return f"{self.path}: breaks off after {self._count}{total} frames{until}{before}"

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """The frames that can be decoded; damaged packets are counted."""
        packets, begins = container.demux(), (stream.start_time or 0) * stream.time_base
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.missing.note("the file breaks off", str(error.strerror))
                self._ending.torn = True
                return
            if packet is None:
                return
            self._ending.see(packet)
            if packet.stream.index != stream.index:
                continue
            where = "its end" if packet.pts is None else f"{float(packet.pts * stream.time_base - begins):.2f} s"
            try:
                for frame in packet.decode():
                    if frame.is_corrupt:
                        self.missing.note(where, "a part of it is lost")
                        continue
                    if packet.size:  # not those that were only waiting
                        self.missing.last = 0
                    yield frame
            except av.FFmpegError as error:
                self.missing.note(where, str(error.strerror))


class _Ending:
    """Whether a file breaks off, by its header and its packets.

    Only of containers whose header says how long they are (.mp4, .mov, .mkv, .webm, .avi): what is cut off an MPEG
    stream leaves no trace.
    """

    def __init__(self, container: Any, stream: Any, rate: float) -> None:
        self.rate, self.reached, self.torn = rate, 0.0, False
        self.length = 0.0  # seconds by the header, 0 where it does not say
        name = container.format.name
        self._known = name in ("mov,mp4,m4a,3gp,3g2,mj2", "avi", "matroska,webm")
        self._streams = {stream.index}  # whose length it is
        if name == "avi":  # its duration is made of the file's size; frames that stand still have a place there too
            self.length = stream.frames / rate
        elif name == "matroska,webm":  # sound may go on after the last frame
            self.length, self._streams = (container.duration or 0) / av.time_base, set(range(len(container.streams)))
        elif self._known and stream.frames and stream.duration:  # in fragments it grows as they are read
            self.length = float(stream.duration * stream.time_base)

    def see(self, packet: Any) -> None:
        """The next packet of any stream."""
        if not packet.size:
            return
        self.torn = self._known and packet.is_corrupt
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and not self.torn and packet.stream.index in self._streams:
            self.reached = max(self.reached, float((time + (packet.duration or 0)) * packet.time_base))

    @property
    def early(self) -> bool:
        """Whether the last packet was cut, or clearly more are missing than a length that was rounded."""
        missing = self.length - self.reached
        return self.torn or missing > max(SHORT[0], SHORT[1] * self.length, 2 / self.rate)


def _believed(aspect: Fraction | None) -> Fraction:
    """The width of a pixel in heights, where that may be."""
    return aspect if aspect and 1 / WIDEST <= aspect <= WIDEST else SQUARE


def shown(frame: VideoFrame, aspect: Fraction) -> Image:
    """A decoded frame (H, W, 3) as players show it.

    Args:
        frame: the frame.
        aspect: width of its pixels, in heights; one side is stretched and none shrunk, so that nothing is lost.
    """
    image = rgb_frame(frame)
    if aspect == SQUARE:
        return image
    width, height = round(frame.width * max(aspect, SQUARE)), round(frame.height / min(aspect, SQUARE))
    size = (height, width) if round(frame.rotation / 90) % 2 else (width, height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


class Camera:
    """The frames of a camera of this computer, until it is stopped or unplugged.

    Args:
        number: which camera, from 0 on.
        clock: seconds that pass.

    Raises:
        ValueError: there is no such camera.
    """

    def __init__(self, number: int, clock: Callable[[], float]) -> None:
        self.number, self.clock = number, clock
        self.expected, self.rate = 0, 25.0  # until two frames tell

    def __iter__(self) -> Iterator[Frame]:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # a sentence tells that there is no camera
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
            raise ValueError(f"camera {self.number} gives no picture; set --data.path to another, or to a file")

    def trouble(self) -> str:
        """As of a `VideoFile`: a camera has no end to miss."""
        return ""
