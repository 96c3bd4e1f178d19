"""Pictures of what was discovered: landmarks and heatmaps coloured by index, and where a feature is found again.

Letters: B images, K landmarks, H x W pixels.
"""

import colorsys
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lightning_modules.drawing import FRACTION, INK, SIDE, Colour, Pixels, caption, enlarge, sheet
from lightning_modules.further import Picture
from lightning_modules.two_step.matching import best_matches, features_at, similarities

FACES, HEATMAPS, OTHERS, CLICKED = 16, 8, 3, 4  # how many are drawn: a line has four tiles
DIM = 0.5  # of the brightness of a face below a map


@torch.no_grad()
def pictures(module: Any, dataset: Any) -> dict[str, Picture]:
    """Pictures of faces evenly out of a dataset."""
    rows = np.linspace(0, len(dataset) - 1, min(FACES, len(dataset))).round().astype(int)
    samples = [dataset[int(row)] for row in rows]
    image = torch.stack([sample["image"] for sample in samples]).to(module.device)
    found = module.discover(image)
    faces = [enlarge(sample["image"].permute(1, 2, 0).numpy()) for sample in samples]
    colours = palette(module.discovered)
    scale = SIDE / image.shape[-1]
    points = _in_tile(found.landmarks, scale).float().cpu().numpy()
    landmarks = [_numbered(face, at, colours) for face, at in zip(faces, points, strict=True)]
    mass = [_mass(face, one, colours) for face, one in zip(faces, found.mass[:HEATMAPS].float().cpu(), strict=False)]
    similar, clicked = _similarity(module, samples, image, faces)
    return {
        "discovered": Picture(
            "Discovered landmarks",
            f"{len(rows)} faces evenly out of the test. A landmark has the same colour and number on all: what is "
            "discovered is worth something where it stays on the same part of the face.",
            Image.fromarray(sheet(landmarks)),
        ),
        "heatmaps": Picture(
            "Their heatmaps",
            "The distribution of each landmark in its colour, each as bright as its own peak.",
            Image.fromarray(sheet(mass)),
        ),
        "similarity": Picture(
            "Where a feature is found again",
            f"Annotated landmarks {clicked} of the face at the left, and how similar the features of other faces are "
            "to the feature there (cosine, yellow is the most similar); the cross is the best match, the ring the "
            "annotation.",
            Image.fromarray(sheet(similar)),
        ),
    }


def _in_tile(points: Tensor, scale: float) -> Tensor:
    """Points of an image where it is enlarged to a tile."""
    return (points + 0.5) * scale - 0.5


def palette(count: int) -> list[Colour]:
    """Colours of which those that follow each other differ most: hues by the golden angle, in two tones."""
    hues = [(i * 0.61803398875) % 1 for i in range(count)]
    tones = [(1.0, 1.0) if i % 2 else (0.55, 1.0) for i in range(count)]
    rgb = [colorsys.hsv_to_rgb(hue, *tone) for hue, tone in zip(hues, tones, strict=True)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in rgb]


def _numbered(face: Pixels, points: NDArray[np.floating], colours: list[Colour]) -> Pixels:
    """A face with landmarks (K, 2) in pixels of the tile."""
    drawn = face.copy()
    for number, (point, colour) in enumerate(zip(points, colours, strict=True)):
        at = np.round(point * 2**FRACTION).astype(int).tolist()
        cv2.circle(drawn, at, 5 << FRACTION, (0, 0, 0), -1, cv2.LINE_AA, FRACTION)
        cv2.circle(drawn, at, 4 << FRACTION, colour, -1, cv2.LINE_AA, FRACTION)
        place = (round(point[0]) + 6, round(point[1]) + 4)
        for thickness, tone in ((3, (0, 0, 0)), (1, colour)):
            cv2.putText(drawn, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.32, tone, thickness, cv2.LINE_AA)
    return drawn


def _mass(face: Pixels, mass: Tensor, colours: list[Colour]) -> Pixels:
    """A dim grey face and distributions (K, H, W) over it."""
    shares = (mass / mass.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).numpy()
    # The brightest, not the sum: flat maps of an untrained detector would be white altogether.
    light = (shares[..., None] * np.array(colours, np.float32)[:, None, None]).max(axis=0)
    light = cv2.resize(light.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return _over(face, light)


def _over(face: Pixels, light: NDArray[np.floating]) -> Pixels:
    """Light (H, W, 3) over a dim grey face."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.clip(DIM * grey + light, 0, 255).astype(np.uint8)


def _similarity(module: Any, samples: list[Any], image: Tensor, faces: list[Pixels]) -> tuple[list[Pixels], str]:
    """Lines of a clicked point and its similarity in other faces, and which landmarks were clicked."""
    truth = torch.stack([sample["landmarks"] for sample in samples[: 1 + OTHERS]]).to(module.device)
    known = truth[0].isfinite().all(dim=1).nonzero().flatten()
    clicked = known[torch.linspace(0, len(known) - 1, min(CLICKED, len(known))).round().long()]
    features = module.feature_network(image[: 1 + OTHERS]).float()
    wanted = features_at(features[:1], truth[:1, clicked])
    scale = SIDE / image.shape[-1]
    tiles = []
    for number, landmark in enumerate(clicked.tolist()):
        one = wanted[:, number : number + 1].expand(len(features), -1, -1)
        found = similarities(features, one)
        maps, best = found[:, 0].cpu().numpy(), best_matches(found)[:, 0]
        first = faces[0].copy()
        _mark(first, _in_tile(truth[0, landmark], scale), cv2.MARKER_TILTED_CROSS)
        tiles.append(_captioned(first, f"landmark {landmark}"))
        for other in range(1, len(features)):
            strength = cv2.resize(np.clip(maps[other], 0, 1), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            light = (strength**4)[..., None] * np.array([255, 215, 40], np.float32)
            tile = _over(faces[other], light)
            _mark(tile, _in_tile(best[other], scale), cv2.MARKER_CROSS)
            _mark(tile, _in_tile(truth[other, landmark], scale), None)
            tiles.append(_captioned(tile, f"cosine {maps[other].max():.2f}"))
    return tiles, ", ".join(str(landmark) for landmark in clicked.tolist())


def _mark(tile: Pixels, point: Tensor, marker: int | None) -> None:
    """A marker, or a ring, in place; nothing where the point is not annotated."""
    if not point.isfinite().all():
        return
    x, y = (round(value) for value in point.tolist())
    if marker is None:
        cv2.circle(tile, (x, y), 9, (90, 230, 255), 2, cv2.LINE_AA)
    else:
        cv2.drawMarker(tile, (x, y), (255, 80, 200), marker, 14, 2, cv2.LINE_AA)


def _captioned(tile: Pixels, text: str) -> Pixels:
    return np.concatenate([tile, caption([(text, INK)], SIDE)])
