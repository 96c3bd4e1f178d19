"""Image files: reading them as RGB, and a sentence for each way they can be wrong.

Pillow rather than OpenCV: OpenCV returns a truncated JPEG as a half-grey image. EXIF rotation is not applied, because
annotation tools and the public datasets count pixels as they are stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from datamodules.transforms import Image


def read_image(path: str) -> Image:
    """An RGB image (H, W, 3). Grey and palette images get three channels, transparency is dropped, 16 bits become 8.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: if it cannot be opened.
        ValueError: if the file is not an image, breaks off, or its values have no known range.
    """
    with _opened(path) as image:
        mode = image.mode
        if mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of scaling
            pixels = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
        else:
            pixels = np.asarray(image.convert("RGB"))
    if mode in ("I", "F"):
        raise ValueError(
            f"{path}: image has {'32-bit' if mode == 'I' else 'floating-point'} values, whose range is not known, "
            "expected 8 or 16 bits a channel; convert the image"
        )
    return pixels


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
        raise ValueError(f"{path}: not an image; get the file again or correct the list that names it") from error
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:  # all that Pillow raises
        raise ValueError(f"{path}: image is damaged or truncated ({error}); get the file again") from error
