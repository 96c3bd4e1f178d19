"""MATLAB's .mat files of both kinds: up to version 7, which scipy reads, and 7.3, which is HDF5 and h5py reads.

Arrays have the shape that MATLAB shows; HDF5 holds them with their axes in reverse order.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from datamodules.crop import Floats
from datamodules.transforms import Image


@dataclass(frozen=True)
class MatlabTable:
    """Variables of a .mat file whose rows belong together: row i of each is of face i.

    Args:
        path: the file, for error sentences.
        variables: each (rows, columns): numbers, or an array of strings where it is a cell array of text.
    """

    path: Path
    variables: Mapping[str, NDArray[Any]]

    def numbers(self, name: str, columns: int, rows: int | None = None) -> Floats:
        """The variable of this name (rows, columns); a vector may lie or stand.

        Raises:
            ValueError: it does not hold numbers, or has another shape.
        """
        values = self.variables[name]
        expected = f"expected numbers in {rows or 'one or more'} rows and {columns} columns"
        if values.dtype.kind not in "buif":
            raise ValueError(f"{self.path}: {name} does not hold real numbers, {expected}")
        if values.ndim == 2 and columns == 1 == len(values):
            values = values.T
        if values.shape != (rows or max(1, len(values)), columns):
            raise ValueError(f"{self.path}: {name} has {' x '.join(map(str, values.shape))} numbers, {expected}")
        return values.astype(float)

    def flags(self, name: str, columns: int, rows: int) -> NDArray[np.bool_]:
        """The same for a variable of zeros and ones.

        Raises:
            ValueError: also where a number is neither 0 nor 1.
        """
        return self.as_flags(name, self.numbers(name, columns, rows))

    def as_flags(self, name: str, values: Floats) -> NDArray[np.bool_]:
        """Which of these numbers of a variable are 1; a ValueError where one is neither 0 nor 1."""
        for row, column in np.argwhere((values != 0) & (values != 1)):
            found = f"{values[row, column]:g}"
            raise ValueError(f"{self.path}: {name} has a flag of {found} in row {row + 1}, expected 0 or 1")
        return values == 1

    def text(self, name: str, rows: int) -> list[str]:
        """A cell array of that many texts.

        Raises:
            ValueError: it is not that, or a text is empty.
        """
        values = self.variables[name].ravel()
        if values.dtype.kind != "U" or len(values) != rows:
            found = f"{len(values)} texts" if values.dtype.kind == "U" else "something else"
            raise ValueError(f"{self.path}: {name} has {found}, expected a cell array of {rows} texts")
        for row in np.flatnonzero(values == ""):
            raise ValueError(f"{self.path}: {name} is empty in row {row + 1}, expected text")
        return values.tolist()


def read_matlab(path: Path, names: Sequence[str], remedy: str) -> MatlabTable:
    """The variables of these names; others are not read.

    Raises:
        FileNotFoundError: with ``remedy``, which says what to do.
        ValueError: not a .mat file, damaged, or without one of the variables; lists those it has.
    """
    _check_path(path, remedy)
    with _damage_told(path):
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                found = _names(file)
                values = {name: _from_hdf5(file, file[name]) for name in names if name in found}
        else:
            content = loadmat(path, variable_names=list(names))
            values = {name: _from_scipy(content[name]) for name in names if name in content}
            found = [name for name, *_ in whosmat(path)]
    _check_variables(path, names, found)
    return MatlabTable(path, values)


def _names(file: h5py.File) -> list[str]:
    """The variables, without the groups "#refs#" and "#subsystem#" of MATLAB's own."""
    return [str(name) for name in file if not str(name).startswith("#")]


def _from_hdf5(file: h5py.File, node: Any) -> NDArray[Any]:
    """A variable in MATLAB's shape; text of cells as strings, and what is neither numbers nor text as objects."""
    if not isinstance(node, h5py.Dataset):
        return np.empty((1, 1), object)  # a struct
    values = np.asarray(node[()]).T
    if "MATLAB_empty" in node.attrs:
        return np.zeros([int(side) for side in values.ravel()])  # its sides are written in its place
    if values.dtype != object:
        return values
    texts = []
    for reference in values.ravel():
        cell = file[reference]
        if not isinstance(cell, h5py.Dataset) or cell.attrs.get("MATLAB_class") != b"char":
            return values
        codes = np.asarray(cell[()], np.uint16)
        texts.append("" if codes.dtype != cell.dtype else codes.T.tobytes().decode("utf-16-le"))  # sides where empty
    return np.array(texts).reshape(values.shape)


def _from_scipy(values: Any) -> NDArray[Any]:
    """The same of what scipy returns: a cell of text is an array of one string, or of none where it is empty."""
    values = np.asarray(values)  # a sparse matrix becomes an object
    cells = [np.asarray(cell) for cell in values.ravel()] if values.dtype == object else []
    if not cells or not all(cell.dtype.kind == "U" and cell.size <= 1 for cell in cells):
        return values
    return np.array([str(cell.item()) if cell.size else "" for cell in cells]).reshape(values.shape)


class MatlabImages:
    """The images in a cell array of a MATLAB 7.3 file, each read when it is asked for; some may be grey.

    The file is opened for each image, which takes 0.3 ms: so processes share no handle.

    Raises:
        FileNotFoundError: with ``remedy``, which says what to do.
        ValueError: an older or damaged file, no such cell array, or a cell that is not an image.
    """

    def __init__(self, path: Path, name: str, remedy: str) -> None:
        self.path, self.name = path, name
        _check_path(path, remedy)
        if not h5py.is_hdf5(path):
            raise ValueError(f"{path} is not a MATLAB file of version 7.3; get it again, or save it with '-v7.3'")
        with _damage_told(path), h5py.File(path) as file:
            found = _names(file)
            cells = [_array(file, reference) for reference in np.ravel(file[name][()])] if name in found else []
            kinds = [(cell.shape[::-1], str(cell.dtype)) if cell else ((), "") for cell in cells]
        _check_variables(path, [name], found)
        for index, (shape, kind) in enumerate(kinds):
            if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or kind != "uint8":
                what = f"{' x '.join(map(str, shape))} numbers of type {kind}" if shape else "no array"
                raise ValueError(
                    f"{path}: {name}{{{index + 1}}} is {what}, expected an image: height x width or height x width x 3 "
                    "numbers of type uint8"
                )
        self.places = [f"{path}: {name}{{{i + 1}}}" for i in range(len(kinds))]  # for error sentences

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Image:
        """The RGB image (H, W, 3) in a cell, counted from 0; a ValueError where it cannot be read."""
        with _damage_told(self.path), h5py.File(self.path) as file:
            cells = file[self.name]
            pixels = np.asarray(file[cells[np.unravel_index(index, cells.shape)]][()])  # (3, W, H) or (W, H)
        planes = [cv2.transpose(plane) for plane in (pixels if pixels.ndim == 3 else [pixels])]
        return np.asarray(cv2.merge(planes if len(planes) == 3 else 3 * planes), np.uint8)


def _array(file: h5py.File, reference: Any) -> Any:
    """The array in a cell; None where it holds something else or nothing."""
    node = file[reference] if isinstance(reference, h5py.Reference) and reference else None
    return node if isinstance(node, h5py.Dataset) and "MATLAB_empty" not in node.attrs else None


def _check_path(path: Path, remedy: str) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a MATLAB file; {remedy}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; {remedy}")


def _check_variables(path: Path, names: Sequence[str], found: Sequence[str]) -> None:
    for name in names:
        if name not in found:
            raise ValueError(f"{path} has no variable {name}, only {', '.join(found) or 'none at all'}; get it again")


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # scipy and h5py raise nearly every kind for wrong bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: not a MATLAB file or damaged ({reason}); get the file again") from error
