"""`.pts` files: the landmarks of one face as 300-W, 300VW and Menpo write them.

    version: 1
    n_points:  68
    {
    115.167660 220.807529
    ...
    }

The files count pixels from 1, as MATLAB does (the code of 300-W's and Menpo's organisers subtracts 1): `read_pts`
gives our pixels, whose first has its centre at (0, 0).
"""

import re
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.crop import Floats
from datamodules.file_index import list_files

HEADER = re.compile(r"\s*version:\s*1\s*\n\s*n_points:\s*(\d+)\s*")
AGAIN = "get the file again"
IMAGES = (".jpg", ".jpeg", ".png")


class AnnotatedImage(NamedTuple):
    """An image and the `.pts` file beside it."""

    image: str
    pts: Path


def annotated_images(folder: Path, remedy: str) -> list[AnnotatedImage]:
    """The images of a folder in the order of their names, each with the `.pts` file that has the same name.

    Raises:
        FileNotFoundError: no such folder or no image in it, with ``remedy``; an image or a `.pts` file stands alone.
        ValueError: two images share a `.pts` file.
    """
    images: dict[str, str] = {}
    pts: dict[str, str] = {}
    for path in list_files(folder, (*IMAGES, ".pts"), remedy).path.tolist():
        name, _, suffix = path.rpartition(".")
        kind = pts if suffix.lower() == "pts" else images
        if name in kind:
            raise ValueError(f"{kind[name]} and {path} are one face by their names; remove one of them")
        kind[name] = path
    alone = [images[name] for name in images.keys() - pts.keys()] + [pts[name] for name in pts.keys() - images.keys()]
    if alone:
        first = min(alone)
        lacks = "image" if first.lower().endswith(".pts") else ".pts file"
        raise FileNotFoundError(
            f"{first} has no {lacks} of the same name beside it ({len(alone)} of {len(images | pts)} faces are "
            f"incomplete); {remedy}"
        )
    return [AnnotatedImage(images[name], Path(pts[name])) for name in images]


def read_pts(path: Path, num_landmarks: int) -> Floats:
    """The landmarks (N, 2) of a file; more than 20,000 files a second once the system has them in memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one sentence that names the file, and the line where there is one, for anything but a whole file
            of ``num_landmarks`` pairs of finite numbers.
    """
    text = _read_text(path)
    header, opening, rest = text.partition("{")
    body, closing, after = rest.partition("}")
    rows = [cells for line in body.split("\n") if (cells := line.split())]
    known = HEADER.fullmatch(header)
    if not (known and opening and closing and len(rows) == int(known[1]) == num_landmarks):
        raise ValueError(_wrong_frame(path, text, num_landmarks))
    if after.strip():
        raise ValueError(f"{path}: '{after.split()[0][:20]}' follows the '}}', expected the end of the file; {AGAIN}")
    try:
        points = np.array([(float(x), float(y)) for x, y in rows])
    except ValueError:
        raise ValueError(_wrong_line(path, header, body)) from None
    if not np.isfinite(points).all():
        raise ValueError(_wrong_line(path, header, body))
    return points - 1


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("ascii")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} not found, expected the landmarks of a face; {AGAIN}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, expected a file of landmarks; {AGAIN}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text (byte {error.start} is not ASCII); {AGAIN}") from None


def _wrong_frame(path: Path, text: str, num_landmarks: int) -> str:
    """What is wrong with a file whose header, braces or number of lines are."""
    header, opening, rest = text.partition("{")
    lines = [line.strip()[:40] for line in header.split("\n") if line.strip()] + ["nothing", "nothing"]
    if not text.strip():
        return f"{path}: is empty, expected {num_landmarks} landmarks; {AGAIN}"
    if not re.fullmatch(r"version:\s*1", lines[0]):
        return f"{path}: begins with '{lines[0]}', expected 'version: 1'; {AGAIN}"
    if not (points := re.fullmatch(r"n_points:\s*(\d+)", lines[1])):
        return f"{path}: has '{lines[1]}' after the version, expected 'n_points: {num_landmarks}'; {AGAIN}"
    if not opening or lines[2] != "nothing":
        return f"{path}: has no '{{' after n_points, expected it before the first landmark; {AGAIN}"
    body, closing, _ = rest.partition("}")
    rows = sum(1 for line in body.split("\n") if line.strip())
    if not closing:
        return f"{path}: breaks off after {rows} of {points[1]} landmarks, expected '}}' at the end; {AGAIN}"
    if rows != int(points[1]):
        return f"{path}: n_points is {points[1]}, but {rows} lines follow, expected as many; {AGAIN}"
    return (
        f"{path}: has {rows} landmarks, expected {num_landmarks}; the file belongs to another dataset, so correct "
        "data.class_path or data.init_args.root"
    )


def _wrong_line(path: Path, header: str, body: str) -> str:
    """Which line of a file is not two finite numbers; there is one."""
    lines = enumerate(map(str.split, body.split("\n")), start=header.count("\n") + 1)
    number, cells = next((n, c) for n, c in lines if c and not (len(c) == 2 and all(map(_is_finite, c))))
    if len(cells) != 2:
        return f"{path}: line {number} has {len(cells)} numbers, expected 2 (x and y); {AGAIN}"
    wrong = next(cell for cell in cells if not _is_finite(cell))
    return f"{path}: line {number} has '{wrong[:40]}', expected a finite number; {AGAIN}"


def _is_finite(cell: str) -> bool:
    try:
        return isfinite(float(cell))
    except ValueError:
        return False
