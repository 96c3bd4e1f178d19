"""The drawings of faces, cut out of their sheet so that the page can lay them out."""

from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from callbacks.report.data_uri import data_uri
from callbacks.report.run import Measurement


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
        return [Face(data_uri(sheet), "", None, None)]
    side = int(test.about["side"])
    faces = []
    for face in test.about["drawn"]:
        left, top = int(face["left"]), int(face["top"])
        tile = sheet.crop((left, top, left + side, top + side))
        faces.append(Face(data_uri(tile), str(face["group"]), int(face["index"]), float(face["nme"])))
    return faces
