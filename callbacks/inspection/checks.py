"""The checks of an inspection: what is counted, what is expected, and who differs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callbacks.inspection.findings import FAILED, LOOK, Check, Finding, of_findings
from callbacks.inspection.geometry import image_box, left_is_right, meet, overlap, share_outside, swapped, tight_box
from callbacks.inspection.pictures import Pictures
from datamodules.markup import MARKUPS, Markup

SAME_FACE = 0.5  # intersection over union of the landmarks' boxes, from which on two faces of one picture are the same


@dataclass
class Split:
    """The faces of a split whose images are there.

    Args:
        name: train, val or test.
        faces: their annotations.
        dataset: crops of them; None where there is not one image.
        pictures: what decoding has shown; None before.
    """

    name: str
    faces: Any
    dataset: Any
    pictures: Pictures | None = None

    @property
    def has_landmarks(self) -> bool:
        """Whether the faces are annotated."""
        return bool(self.faces.landmarks.shape[1])

    def forget_landmarks(self) -> None:
        """As in a mixture's unlabelled part: neither checked nor drawn."""
        none = np.zeros((len(self.faces), 0), bool)
        self.faces = replace(self.faces, landmarks=np.zeros((len(self.faces), 0, 2)), visible=none)
        if self.dataset is not None:
            self.dataset.markup, self.dataset.landmarks_are_true = Markup("none", 0, ()), False
            self.dataset.landmarks, self.dataset.visible = self.faces.landmarks, none

    def finding(self, row: int | np.integer[Any], text: str) -> Finding:
        """A finding about the face at this row of ``faces``."""
        return Finding(self.name, int(row), self.faces.where(row), str(self.faces.image[row]), text)


def open_split(data: Any, name: str, faces: Any) -> tuple[Split, Check]:
    """A split, and the check that its images are there."""
    try:
        dataset = data.dataset(faces)
        return Split(name, dataset.faces, dataset), of_findings("missing images", name, [])
    except FileNotFoundError:
        files = [_file(image) for image in faces.image.tolist()]
    there = {file for file in set(files) if Path(file).is_file()}
    present = np.array([file in there for file in files])
    first: dict[str, int] = {}
    for row in np.flatnonzero(~present).tolist():
        first.setdefault(files[row], row)
    everything = Split(name, faces, None)
    missing = of_findings(
        "missing images", name, [everything.finding(row, f"{file} is not there") for file, row in first.items()]
    )
    if not present.any():
        return everything, missing
    dataset = data.dataset(faces.select(present))
    return Split(name, dataset.faces, dataset), missing


def _file(image: str) -> str:
    """The file of an image: ``vid.avi#12`` is a frame of a video."""
    path, _, frame = image.rpartition("#")
    return path if frame.isdigit() and path else image


def count_checks(
    published: Mapping[str, Mapping[int, str]], sizes: Mapping[str, int], counted: str = "faces", may_differ: str = ""
) -> Iterator[Check]:
    """The faces of each split against the counts published; validation faces taken out of training faces are both's.

    Args:
        published: the counts that are right, by split.
        sizes: those found.
        counted: what they count.
        may_differ: why good data may have other counts; empty where it may not.
    """
    for name, size in sizes.items():
        counts = published.get(name, {})
        whole = name == "train" and counts and "val" not in published
        found = size + (sizes["val"] if whole else 0)
        expected = found if found in counts else next(iter(counts), None)
        reasons = [Finding(name, 0, f"{found:,} {counted}", "", may_differ)] if may_differ else []
        differs = expected not in (None, found)
        yield Check(counted, name, found, expected, LOOK if may_differ else FAILED, reasons if differs else [])


def picture_checks(split: Split) -> Iterator[Check]:
    """Images that cannot be read; landmarks, or boxes of faces without landmarks, outside of them."""
    pictures = split.pictures
    if pictures is None:
        return
    unreadable = [split.finding(index, text) for index, text in sorted(pictures.problem.items())]
    yield of_findings("unreadable images", split.name, unreadable)
    boxes = image_box(pictures.width, pictures.height)
    if not split.has_landmarks:
        apart = ~np.isnan(split.faces.box).any(axis=1) & pictures.readable & ~meet(split.faces.box, boxes)
        text = "the box lies outside the image"
        found = [split.finding(i, text) for i in np.flatnonzero(apart)]
        yield of_findings("boxes outside their image", split.name, found)
        return
    outside = np.where(pictures.readable, share_outside(split.faces.landmarks, boxes), 0)
    yield from _outside(split, outside, "their image")


def annotation_checks(split: Split, markup: Markup) -> Iterator[Check]:
    """Landmarks outside the provided boxes; left and right. Nothing of faces without landmarks."""
    if not split.has_landmarks:
        return
    has_box = ~np.isnan(split.faces.box).any(axis=1)
    if has_box.any():
        share = np.where(has_box, share_outside(split.faces.landmarks, split.faces.box), 0)
        yield from _outside(split, share, "their box")
    rows = np.flatnonzero(swapped(split.faces.landmarks, markup))
    text = "left and right are exchanged: the landmarks fit the mean face better once renumbered by the markup's flip"
    yield of_findings("faces with left and right exchanged", split.name, [split.finding(i, text) for i in rows])
    if left_is_right(split.faces.landmarks, markup):
        text = f"in most faces the left eye lies right of the right one; left is the image's left in {markup.name}"
        severity = {} if markup.name in MARKUPS else {"otherwise": LOOK}
        yield Check("most faces exchanged", split.name, 1, 0, findings=[split.finding(0, text)], **severity)


def _outside(split: Split, share: NDArray[np.floating], what: str) -> Iterator[Check]:
    mostly = np.flatnonzero(share > 0.5)
    text = "{:.0%} of the landmarks lie outside " + what.replace("their", "the")
    found = [split.finding(i, text.format(share[i])) for i in mostly]
    yield of_findings(f"faces mostly outside {what}", split.name, found)
    some = np.flatnonzero((share > 0) & (share <= 0.5))
    found = [split.finding(i, text.format(share[i])) for i in some]
    yield of_findings(f"faces partly outside {what}", split.name, found, LOOK)


def duplicate_checks(split: Split) -> Iterator[Check]:
    """Faces that are in a split twice: the same pixels, and landmarks (without them boxes) in the same place.

    Frames of one video may be equal, and so may pictures of one photograph or person, which validation keeps together:
    these are told apart.
    """
    twice: list[Finding] = []
    together: list[Finding] = []
    boxes, images, photographs = _extents(split), split.faces.image, split.faces.photograph
    for rows in _same_content(split):
        kept: list[int] = []
        for row in rows:
            first = next((k for k in kept if overlap(boxes[k], boxes[row]) > SAME_FACE), None)
            if first is None:
                kept.append(row)
                continue
            harmless = photographs[first] == photographs[row] and images[first] != images[row]
            finding = split.finding(row, f"the same face as {split.faces.where(first)}")
            (together if harmless else twice).append(finding)
    yield of_findings("faces listed twice", split.name, twice)
    yield of_findings("faces repeated in a photograph or video", split.name, together, LOOK)


def _extents(split: Split) -> NDArray[np.floating]:
    """The boxes (M, 4) of the landmarks; of faces without landmarks the provided ones, or else the whole images."""
    if split.has_landmarks or split.pictures is None:
        return tight_box(split.faces.landmarks)
    whole = image_box(split.pictures.width, split.pictures.height)
    return np.where(np.isnan(split.faces.box), whole, split.faces.box)


def overlap_check(split: Split, others: Split, may_share: str = "") -> Check | None:
    """Images of a split that are also in another, by content; None where one of them could not be looked at.

    ``may_share`` says why good data may have a photograph in both; it is empty where it may not.
    """
    if split.pictures is None or others.pictures is None:
        return None
    known = {int(others.pictures.content[i]): i for i in np.flatnonzero(others.pictures.readable)[::-1]}
    found, told = [], set()
    for i in np.flatnonzero(split.pictures.readable):
        content, image = int(split.pictures.content[i]), str(split.faces.image[i])
        if content in known and image not in told:
            told.add(image)
            other = known[content]
            places = dict.fromkeys([str(others.faces.image[other]), others.faces.where(other)])
            text = f"the same picture as {' of '.join(places)}, of {others.name}"
            found.append(split.finding(i, f"{text}: {may_share}" if may_share else text))
    otherwise = LOOK if may_share else FAILED
    return of_findings(f"images that are also in {others.name}", split.name, found, otherwise)


def _same_content(split: Split) -> list[list[int]]:
    """Indices of the faces of each picture that has more than one."""
    if split.pictures is None:
        return []
    groups: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(split.pictures.readable):
        groups[int(split.pictures.content[i])].append(int(i))
    return [indices for indices in groups.values() if len(indices) > 1]
