"""Contact sheets: many faces in their photographs, and some close by with numbers and as a network sees them."""

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
SMALL = 340  # at least, of a picture of a face that is shown once
CLOSE_BY = 4  # faces that are shown close by too
LETTER = 7  # pixels, the width of one in a caption
WIDER = 1.3  # sides of the crop in a photograph
CLOSER = 1.15  # sides of the landmarks' box in a close-up
AUGMENTED = 2  # augmentations of a training face
DIMMED = 0.6  # brightness of the close-up, so that numbers stand out
COLOURS: tuple[Colour, ...] = ((90, 220, 255), (255, 190, 60), (130, 255, 120), (255, 130, 200), (255, 255, 110))
OTHER, CROP, BOX = (235, 235, 235), (255, 255, 255), (255, 90, 70)
AWAY = 9  # pixels from a landmark to its number
NEIGHBOURS = 4  # a number stands on the side of its landmark where they are not


def contact_sheet(dataset: Any, markup: Markup, rows: Sequence[int], augmented: bool, title: str) -> Image.Image:
    """A sheet of faces: each in its photograph with boxes, and some spread over them close by.

    Those have a line of pictures each: photograph, close-up with numbers (where there are landmarks), the crop that a
    network sees, and two augmentations of it. A few faces have nothing but these lines.

    Args:
        dataset: a `FaceDataset`.
        markup: of its landmarks.
        rows: the faces.
        augmented: whether to show augmentations.
        title: the sheet's heading.
    """
    spread = np.linspace(0, len(rows) - 1, min(CLOSE_BY, len(rows))).astype(int)
    several = rows if len(rows) > CLOSE_BY else []
    lines = [_line(dataset, markup, rows[i], augmented) for i in spread]
    width = len(lines[0]) * (SIDE + GAP) - GAP
    columns = (width + GAP) // (SMALL + GAP)
    side = (width + GAP) // columns - GAP
    small_lines = -(-len(several) // columns)
    begin = CAPTION + GAP + small_lines * (CAPTION + side + GAP)
    sheet = Image.new("RGB", (width, begin + len(lines) * (CAPTION + SIDE + GAP)), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    points = " | landmarks with numbers" if markup.num_landmarks else ""
    seen = " | what a network sees" + (f" | {AUGMENTED} augmentations of it" if augmented else "")
    hollow = "; points that are not visible are hollow" if markup.num_landmarks else ""
    pen.text((GAP, GAP), f"{title}: crop white, provided box red{points}{seen}{hollow}", OTHER, _font(14))
    for place, row in enumerate(several):
        left, top = place % columns * (side + GAP), CAPTION + GAP + place // columns * (CAPTION + side + GAP)
        picture = _photograph(dataset, markup, row, np.ascontiguousarray(dataset.read(row)), side)
        _paste(sheet, picture, left, top, _caption(dataset, row, side))
    for line, i in enumerate(spread):
        top = begin + line * (CAPTION + SIDE + GAP)
        for column, picture in enumerate(lines[line]):
            caption = _caption(dataset, rows[i], width) if not column else ""
            _paste(sheet, picture, column * (SIDE + GAP), top, caption)
    return sheet


def _line(dataset: Any, markup: Markup, row: int, augmented: bool) -> list[Image.Image]:
    """The pictures of a face that is shown close by."""
    pixels = np.ascontiguousarray(dataset.read(row))
    close_up = [_close_up(dataset, markup, row, pixels)] if markup.num_landmarks else []
    epochs = range(AUGMENTED) if augmented else ()
    crops = [_crop(dataset[key], markup) for key in (row, *((epoch, row) for epoch in epochs))]
    return [_photograph(dataset, markup, row, pixels, SIDE), *close_up, *crops]


def _paste(sheet: Image.Image, picture: Image.Image, left: int, top: int, caption: str) -> None:
    ImageDraw.Draw(sheet).text((left + GAP, top + 2), caption, OTHER, _font(13))
    sheet.paste(picture, (left, top + CAPTION))


def _caption(dataset: Any, row: int, width: int) -> str:
    """A face's row, and the end of where its annotation is, in as many letters as there is room for."""
    where, most = f"{row}: {dataset.faces.where(row)}", (width - 2 * GAP) // LETTER
    return where if len(where) <= most else f"{row}: ...{where[len(str(row)) + 5 - most :]}"


def _photograph(dataset: Any, markup: Markup, row: int, pixels: Pixels, side: int) -> Image.Image:
    """The surroundings of a face's crop, with the crop's outline and the provided box."""
    scale = WIDER * dataset.size / side  # crop pixels a pixel of the view
    offset = 0.5 * scale - 0.5 - (WIDER - 1) / 2 * dataset.size
    crop = dataset.affine(row, pixels)
    view = np.concatenate([crop[:, :2] * scale, crop[:, :2] @ np.full((2, 1), offset) + crop[:, 2:]], axis=1)
    picture = _view(pixels, view, side)
    pen = ImageDraw.Draw(picture)
    margin = side * (WIDER - 1) / 2 / WIDER
    pen.rectangle((margin, margin, side - margin, side - margin), outline=CROP)
    corners = _moved(view, dataset.faces.box[row].reshape(2, 2))
    if not np.isnan(corners).any():
        pen.rectangle(corners.ravel().tolist(), outline=BOX)
    _draw(pen, markup, _moved(view, dataset.landmarks[row]), dataset.visible[row], radius=2 if side == SIDE else 1)
    return picture


def _close_up(dataset: Any, markup: Markup, row: int, pixels: Pixels) -> Image.Image:
    """The landmarks' box, darkened, with numbers."""
    first, last = dataset.landmarks[row].min(axis=0), dataset.landmarks[row].max(axis=0)
    pixel = max(float((last - first).max()), 1.0) * CLOSER / SIDE  # image pixels a pixel of the view
    view = np.concatenate([pixel * np.eye(2), ((first + last) / 2 - pixel * (SIDE - 1) / 2)[:, None]], axis=1)
    picture = ImageEnhance.Brightness(_view(pixels, view, SIDE)).enhance(DIMMED)
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


def _view(pixels: Pixels, view: Floats, side: int) -> Image.Image:
    """What an affine (2, 3), view to image pixels, shows; blocks of pixels are averaged first, as in `crop.warp`."""
    by = max(1, int(np.sqrt(abs(np.linalg.det(view[:, :2])))))
    reduced = np.asarray(Image.fromarray(pixels).reduce(by))
    view = np.concatenate([view[:, :2] / by, (view[:, 2:] + 0.5) / by - 0.5], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return Image.fromarray(np.asarray(cv2.warpAffine(reduced, view, (side, side), flags=flags), np.uint8))


def _moved(view: Floats, points: Floats) -> Floats:
    """Points (N, 2) of the image in pixels of the view."""
    moved: Floats = np.linalg.solve(view[:, :2], (points - view[:, 2]).T).T
    return moved


def _draw(
    pen: ImageDraw.ImageDraw, markup: Markup, points: Floats, visible: NDArray[np.bool_], radius: int = 2
) -> None:
    colours = _colours(markup)
    for first, last in markup.edges:
        pen.line([*points[first].tolist(), *points[last].tolist()], fill=tuple(c // 2 for c in colours[first]))
    for (x, y), colour, seen in zip(points.tolist(), colours, visible, strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour if seen else None, outline=colour)


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
