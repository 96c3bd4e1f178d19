"""Drawings of predictions over annotations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lightning_modules.base import LandmarkModule

Pixels = NDArray[np.uint8]
Edges = Iterable[tuple[int, int]]

SIDE, COLUMNS, CAPTION = 256, 4, 22  # pixels of a face and its caption, faces a line
TRUTH, PREDICTION, INK = (60, 220, 255), (255, 120, 30), (235, 235, 235)  # cyan and orange differ for every eye
FRACTION = 4  # bits of a coordinate behind the point, for OpenCV


@dataclass(frozen=True)
class Drawn:
    """A face chosen for the sheet."""

    index: int  # of the sample in its split
    nme: float  # in percent
    group: str  # best, median or worst


def best_median_worst(nme: Mapping[int, float], count: int) -> list[Drawn]:
    """``count`` of the faces (index to NME): a quarter the best, a quarter those about the median, half the worst.

    Where there are fewer, each is chosen once and called by where it stands. The worst face comes first of its group.
    """
    order = sorted(nme, key=lambda index: nme[index])
    count = min(count, len(order))
    quarter = count // 4
    worst = count - 2 * quarter
    middle = min(max(quarter, (len(order) - quarter) // 2), len(order) - worst - quarter)
    groups = {
        "best": order[:quarter],
        "median": order[middle : middle + quarter],
        "worst": order[len(order) - worst :][::-1],
    }
    return [Drawn(index, nme[index], group) for group, indices in groups.items() for index in indices]


def draw_overlays(module: LandmarkModule, dataset: Any, drawn: Iterable[Drawn], edges: Edges) -> Image.Image:
    """A sheet of these faces with truth and prediction, each with its NME in percent."""
    drawn = list(drawn)
    samples = [dataset[face.index] for face in drawn]
    images = torch.stack([sample["image"] for sample in samples])
    found = module.in_data_markup(module(images.to(module.device)).landmarks).float().cpu().numpy()
    tiles = []
    for face, sample, points in zip(drawn, samples, found, strict=True):
        image = enlarge(sample["image"].permute(1, 2, 0).numpy())
        scale = SIDE / sample["image"].shape[-1]
        for landmarks, colour in ((sample["landmarks"].numpy(), TRUTH), (points, PREDICTION)):
            draw_landmarks(image, (landmarks + 0.5) * scale - 0.5, edges, colour)
        text = f"{face.group}, face {face.index}: {face.nme:.2f} %"
        tiles.append(np.concatenate([image, caption([(text, INK)], SIDE)]))
    legend = [("annotation", TRUTH), ("prediction", PREDICTION), ("the best, those about the median, the worst", INK)]
    return Image.fromarray(np.concatenate([caption(legend, COLUMNS * SIDE), sheet(tiles)]))


def place(position: int) -> tuple[int, int]:
    """Left and top, in pixels of the sheet, of the face drawn at this position; it is ``SIDE`` wide and high."""
    line, column = divmod(position, COLUMNS)
    return column * SIDE, CAPTION + line * (SIDE + CAPTION)


def enlarge(image: Pixels) -> Pixels:
    """A face (H, W, 3) at ``SIDE`` pixels."""
    method = cv2.INTER_LINEAR if image.shape[0] < SIDE else cv2.INTER_AREA
    return np.ascontiguousarray(cv2.resize(image, (SIDE, SIDE), interpolation=method))


def draw_landmarks(image: Pixels, points: NDArray[np.floating], edges: Edges, colour: tuple[int, int, int]) -> None:
    """Draw landmarks (N, 2) and the edges that join them, in place and between pixels."""
    fixed = np.round(np.clip(points, -4 * SIDE, 4 * SIDE) * 2**FRACTION).astype(int)
    for start, end in edges:
        cv2.line(image, fixed[start].tolist(), fixed[end].tolist(), colour, 1, cv2.LINE_AA, FRACTION)
    for point in fixed:
        cv2.circle(image, point.tolist(), 2 << FRACTION - 1, colour, -1, cv2.LINE_AA, FRACTION)


def caption(texts: Iterable[tuple[str, tuple[int, int, int]]], width: int) -> Pixels:
    """A line of text in several colours."""
    line = np.full((CAPTION, width, 3), 24, np.uint8)
    left = 6
    for text, colour in texts:
        cv2.putText(line, text, (left, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        left += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] + 18
    return line


def sheet(tiles: list[Pixels]) -> Pixels:
    """Tiles of one size, ``COLUMNS`` a line; the last line is filled up with black."""
    missing = -len(tiles) % COLUMNS
    grid = np.stack([*tiles, *[np.zeros_like(tiles[0])] * missing])
    lines, (height, width) = len(grid) // COLUMNS, grid.shape[1:3]
    return grid.reshape(lines, COLUMNS, height, width, 3).swapaxes(1, 2).reshape(lines * height, COLUMNS * width, 3)
