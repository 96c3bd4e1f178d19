from pathlib import Path

import numpy as np
import pytest

from datamodules.crop import (
    BOX_CONVENTIONS,
    BoxConvention,
    box_convention,
    compose,
    crop_affine,
    invert,
    landmark_box,
    transform,
    warp,
)
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces
from datamodules.markup import CELEBA_5


def plane(width, height, matrix):
    """An image whose three channels are linear in x and y, so that its colour at any sub-pixel place is known."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.round(a * x + b * y + c) for a, b, c in matrix], axis=-1).astype(np.uint8)


def bilinear(image, affine, size):
    """The crop by the textbook, one pixel after the other; black outside."""
    crop = np.zeros((size, size, 3))
    for v in range(size):
        for u in range(size):
            x, y = affine @ (u, v, 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            for i, j, weight in (
                (left, top, (left + 1 - x) * (top + 1 - y)),
                (left + 1, top, (x - left) * (top + 1 - y)),
                (left, top + 1, (left + 1 - x) * (y - top)),
                (left + 1, top + 1, (x - left) * (y - top)),
            ):
                if 0 <= i < image.shape[1] and 0 <= j < image.shape[0]:
                    crop[v, u] += weight * image[j, i]
    return crop


def centroid(image):
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def dot(width, height, centre, sigma):
    y, x = np.mgrid[:height, :width]
    grey = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return np.repeat(grey[..., None], 3, axis=-1).round().astype(np.uint8)


def test_inverse_and_composition():
    a = np.array([[0.9, -0.4, 30.0], [0.4, 0.9, -7.0]])
    b = np.array([[2.0, 0.3, 1.0], [0.1, 1.5, 4.0]])
    points = np.random.default_rng(0).normal(size=(5, 2)) * 100
    np.testing.assert_allclose(transform(invert(a), transform(a, points)), points, atol=1e-9)
    np.testing.assert_allclose(transform(compose(a, b), points), transform(a, transform(b, points)), atol=1e-9)
    np.testing.assert_allclose(transform(a, np.array([1.0, 2.0])), [0.9 - 0.8 + 30, 0.4 + 1.8 - 7])


def test_crop_of_a_whole_image_is_a_resize_by_pixel_centres():
    """An image of 64 pixels covers -0.5 to 63.5; resizing by s maps p to (p + 0.5) s - 0.5."""
    to_crop = invert(crop_affine(np.array([-0.5, -0.5, 63.5, 63.5]), 256))
    p = np.array([[0.0, 0.0], [31.5, 31.5], [63.0, 10.25]])
    np.testing.assert_allclose(transform(to_crop, p), (p + 0.5) * 4 - 0.5, atol=1e-9)


def test_crop_by_hand():
    """Box 60 wide and 20 high about (50, 30): a square of 60 image pixels in 120 crop pixels."""
    affine = crop_affine(np.array([20.0, 20.0, 80.0, 40.0]), 120)
    np.testing.assert_allclose(transform(affine, np.array([59.5, 59.5])), [50, 30])  # the crop's middle
    np.testing.assert_allclose(transform(affine, np.array([-0.5, -0.5])), [20, 0])  # its top-left corner
    np.testing.assert_allclose(transform(affine, np.array([119.5, 119.5])), [80, 60])


def test_landmark_box_leaves_out_missing_landmarks():
    points = np.array([[[3.0, 9.0], [np.nan, np.nan], [7.0, -2.0]]])
    assert landmark_box(points).tolist() == [[3, -2, 7, 9]]


def test_unknown_box_convention_lists_the_known():
    with pytest.raises(ValueError, match=r"data\.init_args\.box is 'tight', expected one of: provided-1\.0, "):
        box_convention("tight")
    assert box_convention("landmarks-1.25") is BOX_CONVENTIONS["landmarks-1.25"]


WIDE, TALL = (10.0, 20.0, 110.0, 60.0), (10.0, 20.0, 50.0, 120.0)  # 100 x 40 about (60, 40), 40 x 100 about (30, 70)
SQUARES = {  # x0, y0, x1, y1 of the crop, by hand, for a face in WIDE and one in TALL
    "provided-1.0": [(10, -10, 110, 90), (-20, 20, 80, 120)],
    "provided-1.2": [(0, -20, 120, 100), (-30, 10, 90, 130)],
    "provided-1.3": [(-5, -25, 125, 105), (-35, 5, 95, 135)],
    "provided-1.2-lowered-0.1": [(0, -16, 120, 104), (-20, 30, 80, 130)],  # of (0, 24, 120, 64), (6, 30, 54, 130)
    "provided-1.2-lowered-0.15": [(0, -15, 120, 105), (-17.5, 35, 77.5, 130)],  # of (0, 26, 120, 64), (6, 35, 54, 130)
    "landmarks-1.1": [(5, -15, 115, 95), (-25, 15, 85, 125)],
    "landmarks-1.2": [(0, -20, 120, 100), (-30, 10, 90, 130)],
    "landmarks-1.25": [(-2.5, -22.5, 122.5, 102.5), (-32.5, 7.5, 92.5, 132.5)],
    "landmarks-1.3": [(-5, -25, 125, 105), (-35, 5, 95, 135)],
    "image": [(-0.5, -30.5, 99.5, 69.5)] * 2,  # of an image of 100 x 40 pixels
}


def crop_corners(box, provided, tight):
    """The corners (4,) in image pixels of a crop of 50 pixels of a face with this rectangle and these landmarks."""
    x0, y0, x1, y1 = tight
    faces = Faces(
        source=Path("drawn"),
        line=np.ones(1, int),
        image=np.array(["a.png"]),
        landmarks=np.array([[(x0, y0), (x1, y1), (x0, y1), (x1, y0), (x0 + 1, y0 + 1)]]),
        visible=np.ones((1, 5), bool),
        box=np.array([provided], float),
        subsets=np.zeros((1, 0), bool),
        photograph=np.array(["a"]),
    )
    dataset = FaceDataset(faces, CELEBA_5, "box-size", 50, box, read=lambda row: np.zeros((40, 100, 3), np.uint8))
    return transform(dataset.affine(0), np.array([(-0.5, -0.5), (49.5, 49.5)])).ravel()


@pytest.mark.parametrize("box", SQUARES)
def test_squares_of_the_conventions_by_hand(box):
    """The other source's rectangle is elsewhere, so that it is seen which of the two is used."""
    for tight, square in zip((WIDE, TALL), SQUARES[box], strict=True):
        elsewhere = (3, 4, 60, 90)
        found = crop_corners(box, *((elsewhere, tight) if "landmarks" in box else (tight, elsewhere)))
        np.testing.assert_allclose(found, square, atol=1e-9)


def test_edges_of_pipnets_boxes_are_those_of_its_code():
    """The four lines of its preprocessing (scale 1.2), before it cuts the rectangle off at the image's edge."""
    x0, y0, x1, y1 = 7.0, 11.0, 87.0, 131.0
    width, height, scale = x1 - x0, y1 - y0, 1.2
    wflw = [x0 - width * (scale - 1) / 2, y0 + height * (scale - 1) / 2]
    celeba = [x0 - width * (scale - 1) / 2, y0 + height * (scale + 0.1 - 1) / 2]
    last = [x1 + width * (scale - 1) / 2, y1 + height * (scale - 1) / 2]
    box = np.array([x0, y0, x1, y1])
    np.testing.assert_allclose(BOX_CONVENTIONS["provided-1.2-lowered-0.1"].moved(box), [*wflw, *last])
    np.testing.assert_allclose(BOX_CONVENTIONS["provided-1.2-lowered-0.15"].moved(box), [*celeba, *last])


def test_edges_move_by_shares_of_their_own_direction_in_many_boxes_at_once():
    """Left by 10 % and right by 30 % of the width, top in by 20 % and bottom out by 40 % of the height."""
    convention = BoxConvention("provided", (0.1, -0.2, 0.3, 0.4), "nobody")
    moved = convention.moved(np.array([[0, 0, 10, 100], [50, -20, 150, 30]], float))
    np.testing.assert_allclose(moved, [[-1, 20, 13, 140], [40, -10, 180, 50]])


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.1])
def test_warp_is_bilinear_sampling(angle):
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    c, s = 1.3 * np.cos(angle), 1.3 * np.sin(angle)
    affine = np.array([[c, -s, 12.3], [s, c, 7.9]])  # reaches beyond the image
    difference = np.abs(warp(image, affine, 24) - bilinear(image, affine, 24))
    # OpenCV may round places to 1/32 pixel: noise has slopes of up to 255 a pixel, so 255/64 a direction.
    assert difference.max() <= 2 * 255 / 64 + 1
    assert difference.mean() < 1.5


def test_warp_takes_the_colour_of_the_right_place_to_a_twentieth_pixel():
    image = plane(100, 90, [(2, 0, 10), (0, 2, 20), (1, 1, 5)])
    affine = np.array([[0.7, -0.2, 31.4], [0.2, 0.7, 22.6]])
    crop = warp(image, affine, 60).astype(float)
    u, v = np.meshgrid(np.arange(60), np.arange(60))
    x, y = np.moveaxis(transform(affine, np.stack([u, v], axis=-1).astype(float)), -1, 0)
    # Means over pixels, so that rounding of colours to whole numbers averages out.
    assert abs(((crop[..., 0] - 10) / 2 - x).mean()) < 0.05
    assert abs(((crop[..., 1] - 20) / 2 - y).mean()) < 0.05
    assert np.abs((crop[..., 2] - 5) - (x + y)).max() < 1.6


@pytest.mark.parametrize("pixel", [0.5, 1.0, 1.9, 2.0, 2.7, 3.0, 4.6, 7.0])
def test_shrinking_keeps_places(pixel):
    """Whether a pixel is sampled or averaged over a block, a dot stays where the affine puts it."""
    place = np.array([131.3, 149.8])
    image = dot(293, 301, place, sigma=4 * pixel)
    affine = np.array([[pixel, 0, 131 - 20.2 * pixel], [0, pixel, 150 - 19.6 * pixel]])
    crop = warp(image, affine, 40)
    np.testing.assert_allclose(centroid(crop), transform(invert(affine), place), atol=0.05)


def test_shrinking_averages_instead_of_skipping():
    """A chessboard of single pixels turns grey; bilinear sampling alone would show stripes or one colour."""
    y, x = np.mgrid[:120, :120]
    board = np.repeat((255 * ((x + y) % 2))[..., None], 3, axis=-1).astype(np.uint8)
    crop = warp(board, crop_affine(np.array([-0.5, -0.5, 119.5, 119.5]), 40), 40)
    assert set(np.unique(crop)) <= {113, 142}  # four or five white pixels of nine


def test_outside_the_image_is_black():
    crop = warp(np.full((10, 10, 3), 200, np.uint8), crop_affine(np.array([-5.5, -5.5, 14.5, 14.5]), 40), 40)
    assert (crop[:9] == 0).all()
    assert (crop[12:28, 12:28] == 200).all()
