"""Drawings of predictions over annotations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightning_modules.base import LandmarkModule
from lightning_modules.drawing import CAPTION, COLUMNS, INK, SIDE, Edges, caption, draw_landmarks, enlarge, sheet

TRUTH, PREDICTION = (60, 220, 255), (255, 120, 30)  # cyan and orange differ for every eye


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
