"""Crops of annotated faces, clean or augmented, and the order in which training sees them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from datamodules.batch import LandmarkBatch
from datamodules.crop import (
    Floats,
    StoredImage,
    box_convention,
    compose,
    crop_affine,
    invert,
    landmark_box,
    reached,
    transform,
    warp,
)
from datamodules.faces import Faces
from datamodules.image_files import image_size, read_image
from datamodules.markup import Markup
from datamodules.markup_maps import MarkupMap
from datamodules.perturbations import Perturbation
from datamodules.transforms import Augmentation, Image

Key = int | tuple[int, int]
Read = Callable[[int], Image | StoredImage]


class FaceDataset(Dataset[dict[str, Any]]):
    """Crops of `Faces`. A plain index gives the clean face; ``(epoch, index)`` gives its augmentation in that epoch.

    An augmentation is a function of seed, epoch and index alone: not of the worker, the process or what came before,
    so that a resumed run sees the faces an uninterrupted one would have seen.
    """

    def __init__(
        self,
        faces: Faces,
        markup: Markup,
        normalizer: str,
        size: int,
        box: str,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        read: Read | None = None,
        markup_map: MarkupMap | None = None,
    ) -> None:
        """``read`` gives the image of a row where it does not come from a file; ``markup_map`` leads to ``markup``.

        Raises:
            ValueError: a face has no box or no normaliser of this kind; names file, line and config key.
        """
        self.faces, self.markup, self.size, self.seed = faces, markup, size, seed
        self.augmentation = augmentation or Augmentation()
        self.read: Read = read or self._read_file
        self.from_files = read is None
        self.convention = convention = box_convention(box)
        self.boxes = convention.moved(landmark_box(faces.landmarks) if convention.source == "landmarks" else faces.box)
        if convention.source == "provided" and np.isnan(faces.box).any():
            first = np.flatnonzero(np.isnan(faces.box).any(axis=1))[0]
            raise ValueError(f"{faces.where(first)} has no box; set data.init_args.box to landmarks-1.2 or image")
        if convention.source == "landmarks" and markup.num_landmarks == 1:
            raise ValueError(
                f"data.init_args.box is '{box}', but {markup.name} has one landmark, which has no size; set it to "
                "provided-1.2 or image"
            )
        self.landmarks, self.visible = faces.landmarks, faces.visible
        self.landmarks_are_true = True  # else they are pseudo-labels, which may lie anywhere
        if markup_map:
            self.landmarks, self.visible = self._mapped(markup_map), markup_map.visible(faces.visible)
        self.perturbation: Perturbation | None = None
        self.motion: Floats | None = None  # (M, 2) of the nose about each frame of a video, in image pixels
        self.whole: Faces | None = None  # of videos, these and the frames that do not count
        self.norms = markup.norm(self.landmarks, normalizer, 1.0, faces.box)
        self.norm_is_crop = normalizer == "crop-size"
        for row in np.flatnonzero(~(self.norms > 0)):
            raise ValueError(
                f"{faces.where(row)}: the {normalizer} distance is {self.norms[row]:g} pixels, so NME is not defined; "
                "correct the landmarks or choose another data.init_args.normalizer"
            )

    def _mapped(self, markup_map: MarkupMap) -> Floats:
        """The landmarks (M, T, 2) in image pixels; the map works in pixels of each clean crop."""
        affines = [self.affine(row) for row in range(len(self.faces))]
        points = zip(affines, self.faces.landmarks, strict=True)
        return np.stack([transform(a, markup_map.points(transform(invert(a), p))) for a, p in points])

    def __len__(self) -> int:
        return len(self.faces)

    def affine(self, row: int, image: Image | StoredImage | None = None) -> Floats:
        """The clean crop's affine (2, 3), crop to image pixels; looks at the file where ``image`` is not given."""
        if self.convention.source != "image":
            return crop_affine(self.boxes[row], self.size)
        if image is None and self.from_files:
            width, height = image_size(str(self.faces.image[row]))  # does not decode the pixels
        else:
            height, width = (self.read(row) if image is None else image).shape[:2]
        return crop_affine(self.convention.moved(np.array([0, 0, width, height]) - 0.5), self.size)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key if isinstance(key, tuple) else (None, key)
        image = self.read(row)
        affine = self.affine(row, image)
        landmarks, visible = self.landmarks[row], self.visible[row]
        self._check_overlap(row, transform(invert(affine), landmarks), image)
        rng = np.random.default_rng((self.seed, epoch or 0, row))
        if epoch is not None:
            geometry, flipped = self.augmentation.geometry(rng, self.size)
            affine = compose(affine, geometry)
            if flipped:
                landmarks, visible = landmarks[list(self.markup.flip)], visible[list(self.markup.flip)]
        points = transform(invert(affine), landmarks)
        visible = visible & _inside(points, self.size, self.size)
        crop = warp(image, affine, self.size)
        if epoch is not None:
            crop, visible = self.augmentation.appearance(rng, crop, points, visible)
        elif self.perturbation:
            face = landmark_box(transform(invert(affine), self.faces.landmarks[row]))
            motion = None if self.motion is None else invert(affine)[:, :2] @ self.motion[row]
            generator = self.perturbation.generator(self.faces.identity(row))
            crop, hidden = self.perturbation(generator, crop, face, points, motion)
            visible = visible & ~hidden
        scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))  # image pixels per crop pixel
        sample: LandmarkBatch = {
            "image": torch.from_numpy(np.stack(cv2.split(crop))),  # half the time of a transposed copy
            "landmarks": torch.from_numpy(points.astype(np.float32)),
            "visible": torch.from_numpy(visible),
            "norm": torch.tensor(self.size if self.norm_is_crop else self.norms[row] / scale, dtype=torch.float32),
            "index": torch.tensor(row),
            "crop": torch.from_numpy(affine.astype(np.float32)),
            "subsets": torch.from_numpy(self.faces.subsets[row]),
        }
        return dict(sample)

    def _check_overlap(self, row: int, points: Floats, image: Image | StoredImage) -> None:
        """Refuse a face none of whose landmarks lies in both its image and its clean crop, (N, 2) ``points`` there.

        Of a face without true landmarks, the crop has to show some of the image.
        """
        height, width = image.shape[:2]
        if not self.landmarks_are_true or np.isnan(points).all():
            left, top, right, bottom = reached(self.affine(row, image), 0, self.size - 1, 1, image.shape)
            if left == right or top == bottom:
                raise ValueError(
                    f"{self.faces.where(row)}: the box lies outside of {self.faces.image[row]} ({width} x {height} "
                    "pixels); correct it"
                )
            return
        in_image = _inside(self.landmarks[row], width, height)
        if not (in_image & _inside(points, self.size, self.size)).any():
            raise ValueError(
                f"{self.faces.where(row)}: no landmark lies within {'the crop' if in_image.any() else 'the image'} of "
                f"{self.faces.image[row]} ({width} x {height} pixels); the landmarks or the box belong to another image"
            )

    def _read_file(self, row: int) -> StoredImage:
        return read_image(str(self.faces.image[row]))


def _inside(points: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """Which points (..., 2) lie on one of width x height pixels."""
    return np.all((points >= -0.5) & (points < (width - 0.5, height - 0.5)), axis=-1)


class Rows(Dataset[dict[str, Any]]):
    """Some of some faces, in clean crops, each with its number among those as ``row``.

    Args:
        faces: the dataset.
        chosen: indices of those.
        part: which of them.
    """

    def __init__(self, faces: FaceDataset, chosen: NDArray[np.int64], part: range) -> None:
        self.faces, self.chosen, self.part = faces, chosen, part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.part[index]
        return {**self.faces[int(self.chosen[row])], "row": torch.tensor(row)}


class EpochSampler(DistributedSampler[Any]):
    """Shuffles by (seed, epoch), shares out over the ranks, and yields (epoch, index).

    A DistributedSampler even on one process, so that Lightning neither replaces it nor forgets ``set_epoch``.
    """

    done = 0  # samples of the first epoch that this rank had before the run was interrupted

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first, self.done = self.done, 0
        return iter([(self.epoch, int(index)) for index in self.order()][first:])

    def order(self) -> Iterable[int]:
        """The indices of this rank in this epoch."""
        return super().__iter__()
