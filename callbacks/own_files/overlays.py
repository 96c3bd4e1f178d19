"""Landmarks drawn over the user's own images and videos."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_modules.drawing import FRACTION, Edges
from lightning_modules.video.following import Face

COLOURS = [(255, 120, 30), (60, 220, 255), (150, 230, 80), (250, 90, 200), (250, 220, 60), (150, 140, 255)]
TICKS = 90_000  # a second: times of frames are rounded to these
Pixels = NDArray[np.uint8]


def draw_faces(image: Pixels, faces: Sequence[Face], edges: Edges) -> Pixels:
    """A copy of an image (H, W, 3) with the landmarks of its faces, each in the colour of its number."""
    image, edges = np.array(image), list(edges)
    for face in faces:
        colour = COLOURS[face.identity % len(COLOURS)]
        side = float((face.box[2:] - face.box[:2]).max())
        dot = max(1.0, side / 140)  # pixels: visible on a large face, not a blot on a small one
        low, high = -4 * max(image.shape), 4 * max(image.shape)
        points = np.round(np.clip(face.landmarks, low, high) * 2**FRACTION).astype(int)
        for start, end in edges:
            line = points[start].tolist(), points[end].tolist()
            cv2.line(image, *line, colour, max(1, round(dot / 2)), cv2.LINE_AA, FRACTION)
        for point in points.tolist():
            cv2.circle(image, point, round(dot * 2**FRACTION), colour, -1, cv2.LINE_AA, FRACTION)
        place = np.clip(face.box[:2] - [0, 3], 0, None).astype(int).tolist()
        size = max(0.4, side / 400)
        cv2.putText(image, str(face.identity), place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, max(1, round(2 * size)))
    return image


def save_image(path: Path, image: Pixels) -> None:
    """Write a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=92)


class OverlayVideo:
    """An H.264 video whose frames come at the times of the original's.

    Args:
        path: the file, .mp4; while it grows, ``.partial.mp4`` is in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, path.with_name(f"{path.stem}.partial.mp4")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def write(self, image: Pixels, seconds: float) -> None:
        """Add a frame (H, W, 3); one of another size than the first is fitted to it."""
        if self._container is None:
            self._open(image.shape[1], image.shape[0])
        size = (self._stream.width, self._stream.height)
        if abs(image.shape[1] - size[0]) < 2 and abs(image.shape[0] - size[1]) < 2:
            image = image[: size[1], : size[0]]  # odd sides lose a line: the codec halves colours
        else:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        self._last = max(self._last + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> None:
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        # In fragments, so that what is written before an interruption can be played
        self._container = av.open(str(self.partial), "w", options={"movflags": "frag_keyframe+empty_moov"})
        self._stream = self._container.add_stream(
            "libx264", rate=25, options={"crf": "20", "preset": "veryfast", "bf": "0"}
        )  # B-frames would begin late
        self._stream.width, self._stream.height = max(2, width - width % 2), max(2, height - height % 2)
        self._stream.pix_fmt, self._stream.time_base = "yuv420p", Fraction(1, TICKS)
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def close(self, finished: bool) -> None:
        """End the file, under its own name where nothing is missing."""
        if self._container is None:
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._container = None
        if finished:
            self.partial.replace(self.path)
