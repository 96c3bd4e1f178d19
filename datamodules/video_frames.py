"""Frames of video files as RGB, in sequence, and a sentence for each way a file can be wrong.

PyAV rather than OpenCV. Both decode with FFmpeg, give the same pixels and seek rightly in whole files. But of 60 small
videos (MPEG-4, H.264 and MJPEG, .avi and .mp4) with 60 bytes overwritten, 51 changed: OpenCV returned 26 of these with
all their frames, patched up, and ended the other 25 early as if that were their end. A decoder that may not patch
anything up, which only PyAV gives access to, refused or cut short all 51. Both end a truncated .avi early without an
error, and its header still claims every frame: so no header is asked, and what is there is counted.

Colours are converted by the range that the file declares (MJPEG's is full, others' limited), as OpenCV does. A rotation
that the file asks players for is applied, as players and OpenCV do.
"""

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from datamodules.crop import Floats
from datamodules.transforms import Image

AGAIN = "get the file again"
FAR = 100  # frames; to go farther ahead than this, a key frame is looked for
USUAL_RATE = 25  # frames a second, where a file does not say


class VideoFrames:
    """The frames of a video, numbered from 0. Fast in sequence; any frame has the same pixels as in sequence.

    One frame is held at a time, beside those that the decoder itself needs. Sentences count frames from 1.

    Args:
        path: the file.
        count: how many frames it has by its labels; `check_count` and reading the last of them make sure of it.

    Raises:
        FileNotFoundError, ValueError: the file is missing or is not a video, here and when a frame is read.
    """

    def __init__(self, path: str, count: int) -> None:
        self.path, self.count = path, count
        self._start()

    def __getitem__(self, index: int) -> Image:
        """Frame (H, W, 3).

        Raises:
            ValueError: the video is damaged before this frame or has not ``count`` frames; one sentence.
        """
        if index < self._next - 1 or index > self._next + FAR:
            self._jump(index)
        while self._next <= index:
            self._step()
        image = rgb_frame(self._frame)
        if index == self.count - 1:
            self._check_end()
        return image

    def check_count(self) -> None:
        """Make sure that there are as many frames as labels, without decoding any where packets are frames.

        Where their number is another (a packet may be half a frame, or none), the frames are decoded and counted.

        Raises:
            ValueError: there are not, or the video is damaged; one sentence.
        """
        with av.open(self.path) as container, suppress(av.FFmpegError):
            packets = container.demux(container.streams.video[0])
            if sum(1 for packet in packets if packet.size and not packet.is_discard) == self.count:
                return
        while self._next < self.count:
            self._step()
        self._check_end()
        self._restart()

    @cached_property
    def seconds(self) -> Floats:
        """When each frame (count,) is shown, since the first one; evenly where the file does not tell each one's."""
        shown, _ = self._times
        if shown:
            return (np.array(shown) - shown[0]) * float(self._stream.time_base or 0)
        return np.arange(self.count) / float(self._stream.average_rate or USUAL_RATE)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _restart(self) -> None:
        self.close()
        self._start()

    def _start(self) -> None:
        """Open the file, to decode its first frame next."""
        container = open_video(self.path)
        self._container = container
        self._stream = container.streams.video[0]
        self._decoded = container.decode(self._stream)
        self._next = 0  # the frame that the decoder gives next

    def _step(self) -> None:
        """Decode the next frame."""
        try:
            frame = next(self._decoded, None)
            damage = "a part of it is lost" if frame and frame.is_corrupt else None
        except av.FFmpegError as error:
            frame, damage = None, error.strerror
        if damage:
            number = self._next + 1
            self._restart()
            raise ValueError(f"{self.path}: frame {number} is damaged ({damage}); {AGAIN}")
        if frame is None:
            self._refuse_count(self._next)
        self._frame, self._next = frame, self._next + 1

    def _check_end(self) -> None:
        """Make sure that no frame follows."""
        more = 0
        with suppress(av.FFmpegError):
            for _ in self._decoded:
                more += 1
        if more:
            self._refuse_count(self._next + more)

    def _refuse_count(self, found: int) -> NoReturn:
        self._restart()
        raise ValueError(
            f"{self.path}: has {found or 'no'} frames, but labels for {self.count}; get the file or its labels again"
        )

    def _jump(self, index: int) -> None:
        """Go to frame ``index`` by the last key frame before it, or as near as is certain."""
        if index <= FAR:
            self._restart()
            return
        shown, keys = self._times
        time = shown[index] if shown else 0
        shown_key, place = max((key for key in keys if key[0] <= time), default=(0, 0))
        if self._next <= index and not (keys and shown_key > shown[self._next]):
            return  # the way there leads through every frame
        self._restart()
        if not keys:
            return
        with suppress(av.FFmpegError):  # frames before the key frame may want others that were passed over
            self._container.seek(place, stream=self._stream)
            for frame in self._decoded:
                if frame.pts is None or frame.pts > time or (frame.is_corrupt and frame.pts == time):
                    break
                if frame.pts == time:
                    self._frame, self._next = frame, index + 1
                    return
        self._restart()

    @cached_property
    def _times(self) -> tuple[list[int], list[tuple[int, int]]]:
        """When each frame is shown; and when each key frame is, with its place in the file.

        Both empty where not every packet says so: .avi has such times only for frames stored in the order of showing.
        """
        shown, keys = [], []
        with av.open(self.path) as container, suppress(av.FFmpegError):
            stream = container.streams.video[0]
            if container.format.name == "avi" and stream.codec_context.has_b_frames:
                return [], []
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard:
                    shown.append(packet.pts)
                    keys += [(packet.pts, packet.pts if packet.dts is None else packet.dts)] * packet.is_keyframe
        return (sorted(shown), keys) if keys and len(set(shown)) == self.count else ([], [])


def open_video(path: str) -> InputContainer:
    """The container of a video, whose damaged frames raise.

    Raises:
        FileNotFoundError, ValueError: the file is missing or is not a video; one sentence.
    """
    try:
        container = av.open(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: video not found; {AGAIN}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{path}: video cannot be opened ({error.strerror})") from error
    except av.FFmpegError as error:
        if not Path(path).stat().st_size:
            raise ValueError(f"{path}: is empty (0 bytes); {AGAIN}") from error
        raise ValueError(f"{path}: not a video, or it breaks off ({error.strerror}); {AGAIN}") from error
    if not container.streams.video:
        raise ValueError(f"{path}: has no pictures (no video stream); {AGAIN}")
    codec = container.streams.video[0].codec_context
    codec.thread_count = 1  # a loading process is one core
    codec.options = {"err_detect": "explode"}  # raise, rather than patch up a damaged frame
    return container


def rgb_frame(frame: VideoFrame) -> Image:
    """A decoded frame (H, W, 3), turned as the file asks for."""
    # By itself PyAV converts with a thread a core, and a forked loading process that frees such a frame waits for
    # threads that it has not.
    image = frame.to_ndarray(format="rgb24", threads=1)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
