import numpy as np
import pytest

from datamodules.crop import (
    BOX_CONVENTIONS,
    box_convention,
    compose,
    crop_affine,
    invert,
    landmark_box,
    transform,
    warp,
)


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
    to_crop = invert(crop_affine(np.array([-0.5, -0.5, 63.5, 63.5]), 256, margin=1.0))
    p = np.array([[0.0, 0.0], [31.5, 31.5], [63.0, 10.25]])
    np.testing.assert_allclose(transform(to_crop, p), (p + 0.5) * 4 - 0.5, atol=1e-9)


def test_crop_by_hand():
    """Box 40 wide and 20 high about (50, 30), margin 1.5: a square of 60 image pixels in 120 crop pixels."""
    affine = crop_affine(np.array([30.0, 20.0, 70.0, 40.0]), 120, margin=1.5)
    np.testing.assert_allclose(transform(affine, np.array([59.5, 59.5])), [50, 30])  # the crop's middle
    np.testing.assert_allclose(transform(affine, np.array([-0.5, -0.5])), [20, 0])  # its top-left corner
    np.testing.assert_allclose(transform(affine, np.array([119.5, 119.5])), [80, 60])


def test_landmark_box_leaves_out_missing_landmarks():
    points = np.array([[[3.0, 9.0], [np.nan, np.nan], [7.0, -2.0]]])
    assert landmark_box(points).tolist() == [[3, -2, 7, 9]]


def test_unknown_box_convention_lists_the_known():
    with pytest.raises(ValueError, match=r"data\.init_args\.box is 'tight', expected one of: provided-1\.2, "):
        box_convention("tight")
    assert box_convention("landmarks-1.25") is BOX_CONVENTIONS["landmarks-1.25"]


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
    crop = warp(board, crop_affine(np.array([-0.5, -0.5, 119.5, 119.5]), 40, margin=1.0), 40)
    assert set(np.unique(crop)) <= {113, 142}  # four or five white pixels of nine


def test_outside_the_image_is_black():
    crop = warp(np.full((10, 10, 3), 200, np.uint8), crop_affine(np.array([-0.5, -0.5, 9.5, 9.5]), 40, margin=2.0), 40)
    assert (crop[:9] == 0).all()
    assert (crop[12:28, 12:28] == 200).all()
