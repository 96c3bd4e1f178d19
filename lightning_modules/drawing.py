"""Drawing on faces: tiles of one size on a sheet, with captions."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Edges = Iterable[tuple[int, int]]

SIDE, COLUMNS, CAPTION = 256, 4, 22  # pixels of a face and its caption, faces a line
INK: Colour = (235, 235, 235)
FRACTION = 4  # bits of a coordinate behind the point, for OpenCV


def enlarge(image: Pixels) -> Pixels:
    """A face (H, W, 3) at ``SIDE`` pixels."""
    method = cv2.INTER_LINEAR if image.shape[0] < SIDE else cv2.INTER_AREA
    return np.ascontiguousarray(cv2.resize(image, (SIDE, SIDE), interpolation=method))


def draw_landmarks(image: Pixels, points: NDArray[np.floating], edges: Edges, colour: Colour) -> None:
    """Draw landmarks (N, 2) and the edges that join them, in place and between pixels."""
    fixed = np.round(np.clip(points, -4 * SIDE, 4 * SIDE) * 2**FRACTION).astype(int)
    for start, end in edges:
        cv2.line(image, fixed[start].tolist(), fixed[end].tolist(), colour, 1, cv2.LINE_AA, FRACTION)
    for point in fixed:
        cv2.circle(image, point.tolist(), 2 << FRACTION - 1, colour, -1, cv2.LINE_AA, FRACTION)


def caption(texts: Iterable[tuple[str, Colour]], width: int) -> Pixels:
    """A line of text in several colours."""
    line = np.full((CAPTION, width, 3), 24, np.uint8)
    left = 6
    for text, colour in texts:
        cv2.putText(line, text, (left, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        left += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] + 18
    return line


def sheet(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles of one size, ``COLUMNS`` a line; the last line is filled up with black."""
    missing = -len(tiles) % COLUMNS
    grid = np.stack([*tiles, *[np.zeros_like(tiles[0])] * missing])
    lines, (height, width) = len(grid) // COLUMNS, grid.shape[1:3]
    return grid.reshape(lines, COLUMNS, height, width, 3).swapaxes(1, 2).reshape(lines * height, COLUMNS * width, 3)
