"""The drawings of faces, cut out of their sheet so that the page can lay them out."""

import base64
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from callbacks.report.run import Measurement

QUALITY = 88  # of JPEG: lines stay sharp, a face takes about 25 kB


@dataclass(frozen=True)
class Face:
    """A face with annotation and prediction."""

    source: str  # a data URI
    group: str  # best, median or worst; empty for a whole sheet
    index: int | None
    nme: float | None


def drawn_faces(test: Measurement) -> list[Face]:
    """The faces on a test's sheet, or the sheet as it is where nothing says which faces are on it.

    Raises:
        ValueError: the sheet is not readable.
    """
    if not test.sheet:
        return []
    try:
        with Image.open(test.sheet) as image:
            sheet = image.convert("RGB")
    except (OSError, UnidentifiedImageError):
        raise ValueError(f"{test.sheet.name} is not readable as an image") from None
    if not test.about:
        return [Face(_uri(sheet), "", None, None)]
    side = int(test.about["side"])
    faces = []
    for face in test.about["drawn"]:
        left, top = int(face["left"]), int(face["top"])
        tile = sheet.crop((left, top, left + side, top + side))
        faces.append(Face(_uri(tile), str(face["group"]), int(face["index"]), float(face["nme"])))
    return faces


def _uri(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY, subsampling=0)  # full colour resolution: lines are a pixel wide
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
