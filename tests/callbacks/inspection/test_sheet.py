"""Sheets of faces: where what is drawn, for few faces and for many."""

from itertools import pairwise

import numpy as np
import pytest

from callbacks.inspection.sheet import contact_sheet
from datamodules.wflw import WFLW


@pytest.fixture
def data(root):
    return WFLW(root=root, size=64, num_workers=0)


def test_many_faces_are_drawn_small_and_some_spread_over_them_close_by(data):
    """24 faces in 3 lines of 8, then 4 lines close by; the first pictures of both show the same photographs."""
    dataset = data.dataset(data.load("train"))
    sheet = np.asarray(contact_sheet(dataset, data.markup, range(24), True, "WFLW")).astype(int)
    side = (5 * 566) // 8 - 6
    assert sheet.shape == (26 + 3 * (20 + side + 6) + 4 * 586, 5 * 560 + 4 * 6, 3)
    lefts = [place % 8 * (side + 6) for place in range(24)]
    tops = [26 + place // 8 * (20 + side + 6) + 20 for place in range(24)]
    small = [sheet[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
    assert all(picture.std() > 10 for picture in small)
    close_by = [sheet[top : top + 560, :560] for top in range(26 + 3 * (20 + side + 6) + 20, len(sheet), 586)]
    coarse = [[image.mean(axis=(0, 1)) for image in _pieces(picture)] for picture in (*small, *close_by)]
    distance = np.abs(np.array(coarse[24:])[:, None] - np.array(coarse[:24])).mean(axis=(2, 3))
    assert distance.argmin(axis=1).tolist() == [0, 7, 15, 23]


def test_few_faces_are_drawn_close_by_alone(data):
    dataset = data.dataset(data.load("test"))
    sheet = contact_sheet(dataset, data.markup, [2, 5, 7], False, "WFLW")
    assert sheet.size == (3 * 560 + 2 * 6, 26 + 3 * 586)


def test_the_clean_crop_stands_before_its_augmentations(data):
    """Neither dot nor line is drawn in these, so that the crops are the batches' images, enlarged."""
    dataset = data.dataset(data.load("train"))
    bare = data.markup.__class__("bare", 0, ())
    sheet = np.asarray(contact_sheet(_Bare(dataset), bare, [3], True, "WFLW"))
    shown = [sheet[46:606, left : left + 560] for left in (566, 2 * 566, 3 * 566)]
    for picture, key in zip(shown, (3, (0, 3), (1, 3)), strict=True):
        image = dataset[key]["image"].permute(1, 2, 0).numpy()
        assert np.abs(picture[4::35, 4::35].astype(int) - image[0::4, 0::4]).mean() < 12
    assert np.abs(shown[1].astype(int) - shown[2]).mean() > 5


def _pieces(picture, parts=16):
    """A picture in parts x parts pieces."""
    edges = np.linspace(0, len(picture), parts + 1).astype(int)
    return [picture[a:b, c:d] for a, b in pairwise(edges) for c, d in pairwise(edges)]


class _Bare:
    """A dataset whose faces have no landmarks."""

    def __init__(self, dataset):
        self.dataset, self.faces, self.size = dataset, dataset.faces, dataset.size
        self.read, self.affine = dataset.read, dataset.affine
        self.landmarks, self.visible = dataset.landmarks[:, :0], dataset.visible[:, :0]

    def __getitem__(self, key):
        sample = self.dataset[key]
        return {**sample, "landmarks": sample["landmarks"][:0], "visible": sample["visible"][:0]}
