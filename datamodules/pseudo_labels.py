"""The file in which a method keeps the landmarks that it found in faces without annotation.

A NumPy archive of ``images`` (U,), their paths as seen from the dataset, ``landmarks`` (U, N, 2) in pixels of the
original images and ``confidence`` (U, N), both float32.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats

REMEDY = "get back the file and the images that the run had, or start a new run"


def write_pseudo_labels(path: Path, images: NDArray[np.str_], landmarks: Floats, confidence: Floats) -> None:
    """Write beside the file and rename, so that a killed process leaves a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file, images=images, landmarks=landmarks.astype(np.float32), confidence=confidence.astype(np.float32)
        )
    partial.replace(path)


def read_pseudo_labels(path: Path, images: NDArray[np.str_], num_landmarks: int) -> Floats:
    """The landmarks (U, N, 2) of these images.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of other images or landmarks.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found, landmarks = archive["images"], archive["landmarks"]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: the pseudo-labels of this round are not there; {REMEDY}") from error
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a readable file of pseudo-labels, or cut off; {REMEDY}") from error
    if len(found) != len(images):
        raise ValueError(f"{path} has the pseudo-labels of {len(found)} faces, but there are {len(images)}; {REMEDY}")
    for row in np.flatnonzero(found != images):
        raise ValueError(f"{path}: face {row} is of image {found[row]}, but the data has {images[row]} there; {REMEDY}")
    expected = (len(images), num_landmarks, 2)
    if landmarks.shape != expected:
        raise ValueError(f"{path}: landmarks have shape {landmarks.shape}, expected {expected}; {REMEDY}")
    return np.asarray(landmarks)
