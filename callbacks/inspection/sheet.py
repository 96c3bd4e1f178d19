"""Contact sheets: faces in their photographs with boxes, close by with numbers, and as a network sees them."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from datamodules.markup import Markup

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

SIDE, CAPTION, GAP = 560, 20, 6  # pixels of a picture, its caption and what is between
WIDER, CLOSER = (
    1.3,
    1.15,
)  # the photograph is shown of 1.3 sides of the crop, the close-up of 1.15 of the landmarks' box
DIMMED = 0.6  # brightness of the close-up, so that numbers stand out
COLOURS: tuple[Colour, ...] = ((90, 220, 255), (255, 190, 60), (130, 255, 120), (255, 130, 200), (255, 255, 110))
OTHER, CROP, BOX = (235, 235, 235), (255, 255, 255), (255, 90, 70)
AWAY = 9  # pixels from a landmark to its number
NEIGHBOURS = 4  # a number stands on the side of its landmark where they are not


def contact_sheet(dataset: Any, markup: Markup, rows: Sequence[int], augmented: bool, title: str) -> Image.Image:
    """A sheet of faces, three pictures each: photograph with boxes, close-up with numbers, what a network sees.

    Faces without landmarks have no close-up.

    Args:
        dataset: a `FaceDataset`.
        markup: of its landmarks.
        rows: the faces.
        augmented: whether the third picture is as training sees it.
        title: the sheet's heading.
    """
    height, columns = CAPTION + SIDE + GAP, 3 if markup.num_landmarks else 2
    sheet = Image.new("RGB", (columns * (SIDE + GAP) - GAP, CAPTION + GAP + len(rows) * height), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    seen = "what training sees, augmented" if augmented else "what a network sees"
    points = " | landmarks with numbers" if markup.num_landmarks else ""
    hollow = "; points that are not visible are hollow" if markup.num_landmarks else ""
    legend = f"crop white, provided box red{points} | {seen}{hollow}"
    pen.text((GAP, GAP), f"{title}: {legend}", OTHER, _font(14))
    for line, row in enumerate(rows):
        top = CAPTION + GAP + line * height
        pen.text((GAP, top + 2), f"{row}: {_shortened(dataset.faces.where(row))}", OTHER, _font(13))
        pixels = np.ascontiguousarray(dataset.read(row))
        pictures = [
            _photograph(dataset, markup, row, pixels),
            *([_close_up(dataset, markup, row, pixels)] if markup.num_landmarks else []),
            _crop(dataset[(0, row) if augmented else row], markup),
        ]
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * (SIDE + GAP), top + CAPTION))
    return sheet


def _photograph(dataset: Any, markup: Markup, row: int, pixels: Pixels) -> Image.Image:
    """The surroundings of a face's crop, with the crop's outline and the provided box."""
    scale = WIDER * dataset.size / SIDE  # crop pixels a pixel of the view
    offset = 0.5 * scale - 0.5 - (WIDER - 1) / 2 * dataset.size
    crop = dataset.affine(row, pixels)
    view = np.concatenate([crop[:, :2] * scale, crop[:, :2] @ np.full((2, 1), offset) + crop[:, 2:]], axis=1)
    picture = _view(pixels, view)
    pen = ImageDraw.Draw(picture)
    margin = SIDE * (WIDER - 1) / 2 / WIDER
    pen.rectangle((margin, margin, SIDE - margin, SIDE - margin), outline=CROP)
    corners = _moved(view, dataset.faces.box[row].reshape(2, 2))
    if not np.isnan(corners).any():
        pen.rectangle(corners.ravel().tolist(), outline=BOX)
    _draw(pen, markup, _moved(view, dataset.landmarks[row]), dataset.visible[row])
    return picture


def _close_up(dataset: Any, markup: Markup, row: int, pixels: Pixels) -> Image.Image:
    """The landmarks' box, darkened, with numbers."""
    first, last = dataset.landmarks[row].min(axis=0), dataset.landmarks[row].max(axis=0)
    pixel = max(float((last - first).max()), 1.0) * CLOSER / SIDE  # image pixels a pixel of the view
    view = np.concatenate([pixel * np.eye(2), ((first + last) / 2 - pixel * (SIDE - 1) / 2)[:, None]], axis=1)
    picture = ImageEnhance.Brightness(_view(pixels, view)).enhance(DIMMED)
    pen = ImageDraw.Draw(picture)
    points = _moved(view, dataset.landmarks[row])
    _draw(pen, markup, points, dataset.visible[row])
    _number(pen, markup, points)
    return picture


def _crop(sample: Any, markup: Markup) -> Image.Image:
    """A network's input with its landmarks, those that are not visible hollow."""
    image = sample["image"].permute(1, 2, 0).numpy()
    picture = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    points = (sample["landmarks"].numpy() + 0.5) * SIDE / image.shape[0] - 0.5
    _draw(ImageDraw.Draw(picture), markup, points, sample["visible"].numpy())
    return picture


def _view(pixels: Pixels, view: Floats) -> Image.Image:
    """What an affine (2, 3), view to image pixels, shows; blocks of pixels are averaged first, as in `crop.warp`."""
    by = max(1, int(np.sqrt(abs(np.linalg.det(view[:, :2])))))
    reduced = np.asarray(Image.fromarray(pixels).reduce(by))
    view = np.concatenate([view[:, :2] / by, (view[:, 2:] + 0.5) / by - 0.5], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return Image.fromarray(np.asarray(cv2.warpAffine(reduced, view, (SIDE, SIDE), flags=flags), np.uint8))


def _moved(view: Floats, points: Floats) -> Floats:
    """Points (N, 2) of the image in pixels of the view."""
    moved: Floats = np.linalg.solve(view[:, :2], (points - view[:, 2]).T).T
    return moved


def _draw(pen: ImageDraw.ImageDraw, markup: Markup, points: Floats, visible: NDArray[np.bool_]) -> None:
    colours = _colours(markup)
    for first, last in markup.edges:
        pen.line([*points[first].tolist(), *points[last].tolist()], fill=tuple(c // 2 for c in colours[first]))
    for (x, y), colour, seen in zip(points.tolist(), colours, visible, strict=True):
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour if seen else None, outline=colour)


def _number(pen: ImageDraw.ImageDraw, markup: Markup, points: Floats) -> None:
    """Write each landmark's index beside it, on the side away from its nearest neighbours."""
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = np.argsort(distance, axis=1)[:, 1 : 1 + NEIGHBOURS]
    for i, colour in enumerate(_colours(markup)):
        away = points[i] - points[nearest[i]].mean(axis=0) if len(points) > 1 else np.array([0.0, -1.0])
        x, y = points[i] + AWAY * away / max(float(np.linalg.norm(away)), 1e-6)
        pen.text((x, y), str(i), colour, _font(11), anchor="mm", stroke_width=1, stroke_fill=(0, 0, 0))


def _colours(markup: Markup) -> list[Colour]:
    """A colour for each landmark, one for each part."""
    colours = [OTHER] * markup.num_landmarks
    for number, part in enumerate(markup.parts.values()):
        for landmark in part:
            colours[landmark] = COLOURS[number % len(COLOURS)]
    return colours


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _shortened(where: str, most: int = 110) -> str:
    return where if len(where) <= most else f"...{where[-most:]}"
