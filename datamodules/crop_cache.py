"""Decoded faces in one memory-mapped file, so that a crop costs no decoding.

Of each image the file holds the pixels that the crop can show, however it is turned, moved or zoomed by the
augmentation, and no others. Where the crop shrinks the image at least twofold, it holds the means over blocks that
`crop.warp` samples from; where different zooms average over different blocks, those of each. A crop is therefore the
same, to the last bit, as one from the image file. Workers share the pages of the file and have no memory of their own.

The file's name holds a digest of the settings and boxes, and one of the images' sizes and times (of pixels of three
images, where they do not come from files). Where the second changes, a new file is made and the old one removed.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from datamodules.cache_files import locked, tell_once, written_whole
from datamodules.crop import Floats, Pixels, Region, StoredImage, blocks, in_blocks, reached, shrinkage
from datamodules.face_dataset import FaceDataset
from datamodules.file_index import DAMAGED
from datamodules.transforms import Augmentation

LAYOUT = 1  # of the file: pixels, then the arrays of `Contents` as npz, then the length of these in 8 bytes
NO_AUGMENTATION = Augmentation(rotation=0, scale=0, translation=0)
SLACK = 0.01  # crop pixels, for rounding
CHECK_EVERY = 256  # faces: whether the rest will fit on the disk


class Contents(NamedTuple):
    """What a file holds: M faces, L parts of images. A face has a part for each size of blocks, or one of pixels."""

    shape: NDArray[np.int64]  # (M, 2) height and width of the whole image
    first: NDArray[np.int64]  # (M + 1,) the parts of face i are first[i] to first[i + 1]
    shrink: NDArray[np.int64]  # (L,) side of the blocks in pixels
    region: NDArray[np.int64]  # (L, 4) in blocks: left, top, right, bottom
    offset: NDArray[np.int64]  # (L + 1,) place in the file in bytes


class StoredFaces:
    """Gives the `StoredImage` of a row of a dataset.

    Args:
        path: the file.
        contents: of it.
        places: (M,) which of the file's faces each row is.
    """

    def __init__(self, path: Path, contents: Contents, places: NDArray[np.int64]) -> None:
        self.path, self.contents, self.places = path, contents, places
        self._pixels: Pixels | None = np.memmap(path, np.uint8, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels, which a worker that is sent this finds in the file."""
        return {**vars(self), "_pixels": None}

    def __call__(self, row: int) -> StoredImage:
        """What is kept of the image of a row."""
        return StoredFace(self, int(self.places[row]))

    def part(self, number: int) -> Pixels:
        """Part ``number`` (H, W, 3)."""
        if self._pixels is None:
            self._pixels = np.memmap(self.path, np.uint8, mode="r")
        left, top, right, bottom = self.contents.region[number]
        start, end = self.contents.offset[number : number + 2]
        return np.asarray(self._pixels[start:end]).reshape(bottom - top, right - left, 3)


class StoredFace(StoredImage):
    """The parts of one face's image."""

    def __init__(self, faces: StoredFaces, place: int) -> None:
        height, width = faces.contents.shape[place]
        self.shape = int(height), int(width), 3
        self.faces, self.place = faces, place

    def blocks(self, shrink: int, region: Region) -> Pixels:
        """As `crop.blocks`, from the part of this size of blocks or from the pixels.

        Raises:
            ValueError: they are not kept, because the augmentation is not the one the file was made for.
        """
        contents = self.faces.contents
        parts = range(contents.first[self.place], contents.first[self.place + 1])
        number = next((n for n in parts if contents.shrink[n] in (1, shrink)), None)
        if number is not None:
            times = shrink // int(contents.shrink[number])
            left, top, right, bottom = (side * times for side in region)
            x0, y0, x1, y1 = (int(side) for side in contents.region[number])
            if x0 <= left and y0 <= top and right <= x1 and bottom <= y1:
                pixels = self.faces.part(number)[top - y0 : bottom - y0, left - x0 : right - x0]
                return blocks(pixels, times, (0, 0, region[2] - region[0], region[3] - region[1]))
        raise ValueError(
            f"{self.faces.path} does not hold all pixels of a crop, because the augmentation was changed after it was "
            "opened; open the data again"
        )


def cache_crops(datasets: Sequence[FaceDataset], folder: Path, name: str, augmented: bool) -> None:
    """Make these datasets read their images from one file in ``folder``, which is made where it is not there.

    One file for all, in an order of its own, so that it serves every division into training and validation faces.

    Args:
        datasets: of one size, box convention and augmentation.
        folder: of the files.
        name: beginning of the file's name.
        augmented: whether the crops will be.

    Raises:
        OSError: the folder cannot be written, or the disk is too small.
    """
    augmentation = datasets[0].augmentation if augmented else NO_AUGMENTATION
    images = np.concatenate([dataset.faces.image for dataset in datasets])
    boxes = np.concatenate([dataset.boxes for dataset in datasets])
    order = np.lexsort((*boxes.T, images))
    rows = list(chain.from_iterable(((dataset, row) for row in range(len(dataset))) for dataset in datasets))
    faces, names = [rows[i] for i in order], images[order].tolist()
    settings = _settings(datasets[0], augmentation, names, boxes[order])
    path = folder / f"{name}-{settings}-{_sources(faces, names)}.faces"
    contents = _read(path) or _make(path, settings, faces, augmentation)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    start = 0
    for dataset in datasets:
        dataset.read, dataset.from_files = StoredFaces(path, contents, places[start : start + len(dataset)]), False
        start += len(dataset)


def _settings(dataset: FaceDataset, augmentation: Augmentation, images: list[str], boxes: Floats) -> str:
    """A digest of all that decides which pixels are kept."""
    reach, zooms = augmentation.reach(dataset.size), augmentation.zooms
    parts = (LAYOUT, dataset.size, dataset.convention, reach, zooms, dataset.from_files and Path(images[0]).absolute())
    return _digest([repr(parts).encode(), "\n".join(images).encode(errors="surrogateescape"), boxes.tobytes()])


def _sources(faces: Sequence[tuple[FaceDataset, int]], images: list[str]) -> str:
    """A digest of the images' sizes and times; of three images and the annotation file, where there are no files."""
    if faces[0][0].from_files:
        return _digest(_status(path) for path in dict.fromkeys(images))
    some = [faces[0], faces[len(faces) // 2], faces[-1]]
    files = {dataset.faces.source for dataset, _ in some}
    pixels = [np.ascontiguousarray(dataset.read(row)).tobytes() for dataset, row in some]
    return _digest([*(_status(str(path)) for path in sorted(files) if path.is_file()), *pixels])


def _status(path: str) -> bytes:
    status = os.stat(path)  # noqa: PTH116 - a Path for each of 200,000 images takes three times as long
    return f"{status.st_size} {status.st_mtime_ns} ".encode()


def _digest(parts: Iterable[bytes]) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _read(path: Path) -> Contents | None:
    """What a file holds, None where it is not there or damaged."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(size - 8)
            length = int.from_bytes(file.read(8), "little")
            file.seek(size - 8 - length)
            with np.load(BytesIO(file.read(length)), allow_pickle=False) as arrays:
                contents = Contents(*(arrays[key] for key in Contents._fields))
    except FileNotFoundError:
        return None
    except (*DAMAGED, OverflowError) as error:
        tell_once(f"the cache {path} cannot be read and is made again ({error})")
        return None
    if contents.offset[-1] + length + 8 != size:
        tell_once(f"the cache {path} is damaged and is made again")
        return None
    return contents


def _make(path: Path, settings: str, faces: Sequence[tuple[FaceDataset, int]], augmentation: Augmentation) -> Contents:
    """Write the file, unless another process just has, and remove those of earlier images."""
    try:
        with locked(path.with_name(settings)):
            if contents := _read(path):
                return contents
            for earlier in path.parent.glob(f"*-{settings}-*"):
                earlier.unlink()  # whoever has it mapped keeps its pixels
            with written_whole(path) as partial, partial.open("wb") as file:
                return _write(file, faces, augmentation)
    except OSError as error:
        if error.errno is None:  # a sentence already
            raise
        raise OSError(
            f"the cache of faces cannot be kept in {path.parent} ({error.strerror}); set data.init_args.cache to "
            "another folder, or leave it out"
        ) from error


def _write(file: BinaryIO, faces: Sequence[tuple[FaceDataset, int]], augmentation: Augmentation) -> Contents:
    shape, first, shrinks, regions, offset = [], [0], [], [], [0]
    decoded: tuple[str, Pixels | StoredImage] | None = None
    bar = track(faces, "decoding faces, once", console=Console(stderr=True), disable=len(faces) < CHECK_EVERY)
    for done, (dataset, row) in enumerate(bar, start=1):
        name = str(dataset.faces.image[row])
        if decoded is None or decoded[0] != name or not dataset.from_files:  # several faces of an image are neighbours
            decoded = name, dataset.read(row)
        image = decoded[1]
        shape.append(image.shape[:2])
        for shrink, region in _parts(image.shape, dataset.affine(row, image), dataset.size, augmentation):
            offset.append(offset[-1] + file.write(np.ascontiguousarray(blocks(image, shrink, region)).data))
            shrinks.append(shrink)
            regions.append(region)
        first.append(len(shrinks))
        if done % CHECK_EVERY == 0:
            _check_room(Path(file.name).parent, offset[-1] / done, len(faces) - done)
    arrays = (np.array(column, np.int64) for column in (shape, first, shrinks, regions, offset))
    contents, packed = Contents(*arrays), BytesIO()
    np.savez(packed, **contents._asdict())
    file.write(packed.getbuffer())
    file.write(packed.tell().to_bytes(8, "little"))
    return contents


def _parts(shape: tuple[int, ...], affine: Floats, size: int, augmentation: Augmentation) -> list[tuple[int, Region]]:
    """Sizes of blocks, and which blocks of these are kept, of an image (H, W, 3) whose clean crop has this affine."""
    first, last = augmentation.reach(size)
    smallest, largest = augmentation.zooms
    low, high = shrinkage(affine / largest * (1 - 1e-9), shape), shrinkage(affine / smallest * (1 + 1e-9), shape)
    regions = {k: reached(in_blocks(affine, k), first - SLACK, last + SLACK, k, shape) for k in range(low, high + 1)}
    parts = [(k, region) for k, region in regions.items() if region[0] < region[2] and region[1] < region[3]]
    if low > 1 or not parts:
        return parts
    left, top, right, bottom = zip(*([k * side for side in region] for k, region in parts), strict=True)
    return [(1, (min(left), min(top), max(right), max(bottom)))]  # larger blocks are made of these pixels when needed


def _check_room(folder: Path, bytes_a_face: float, faces: int) -> None:
    free = shutil.disk_usage(folder).free
    if bytes_a_face * faces > free:
        raise OSError(
            f"{folder} has {free / 2**30:.1f} GiB free, but the cache of faces will take about "
            f"{bytes_a_face * faces / 2**30:.1f} GiB more; set data.init_args.cache to another folder, or leave it out"
        )
