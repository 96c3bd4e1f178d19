"""Image files: reading them as RGB, and a sentence for each way they can be wrong.

Pillow rather than OpenCV: OpenCV returns a truncated JPEG as a half-grey image. EXIF rotation is applied where asked
for alone: annotation tools and the public datasets count pixels as they are stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from datamodules.crop import Pixels, Region, StoredImage, blocks


class DecodedImage(StoredImage):
    """An RGB image as Pillow decoded it. Pixels become an array where they are asked for.

    An array of a whole photograph takes as long to make as its decoding, and a crop shows a small part of it.
    """

    def __init__(self, image: PillowImage.Image) -> None:
        self.image = image
        self.shape = image.height, image.width, 3

    def blocks(self, shrink: int, region: Region) -> Pixels:
        """As `crop.blocks`."""
        left, top, right, bottom = (side * shrink for side in region)
        pixels = np.asarray(self.image.crop((left, top, right, bottom)))
        return blocks(pixels, shrink, (0, 0, region[2] - region[0], region[3] - region[1]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.image, dtype)


def read_image(path: str, upright: bool = False) -> DecodedImage:
    """An RGB image. Grey and palette images get three channels, transparency is dropped, 16 bits become 8.

    Args:
        path: the file.
        upright: whether to turn it as its EXIF data asks viewers to.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: if it cannot be opened.
        ValueError: if the file is not an image, breaks off, or its values have no known range.
    """
    with _opened(path) as image:
        mode = image.mode
        image = ImageOps.exif_transpose(image) if upright else image
        if mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of scaling
            rgb = PillowImage.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        else:
            image.load()
            rgb = image if image.mode == "RGB" else image.convert("RGB")
    if mode in ("I", "F"):
        raise ValueError(
            f"{path}: image has {'32-bit' if mode == 'I' else 'floating-point'} values, whose range is not known, "
            "expected 8 or 16 bits a channel; convert the image"
        )
    return DecodedImage(rgb)


def image_size(path: str) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: if it cannot be opened.
        ValueError: if the file is not an image.
    """
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: str) -> Iterator[PillowImage.Image]:
    try:
        with PillowImage.open(path) as image:
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: image not found") from None
    except (PermissionError, IsADirectoryError) as error:
        raise type(error)(f"{path}: image cannot be opened ({error.strerror})") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image; get the file again, or leave it out") from error
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:  # all that Pillow raises
        raise ValueError(f"{path}: image is damaged or truncated ({error}); get the file again") from error
