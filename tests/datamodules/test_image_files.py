import errno
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.image_files import image_size, read_image

COLOUR = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
GREY = COLOUR[..., 0]


def test_colour_is_red_green_blue(tmp_path):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, COLOUR[..., ::-1])  # OpenCV writes blue, green, red
    np.testing.assert_array_equal(read_image(path), COLOUR)
    assert image_size(path) == (30, 20)


@pytest.mark.parametrize(
    ("mode", "pixels", "expected"),
    [
        ("L", GREY, GREY[..., None].repeat(3, 2)),
        ("1", GREY > 127, np.where(GREY > 127, 255, 0)[..., None].repeat(3, 2)),
        ("RGBA", np.dstack([COLOUR, GREY]), COLOUR),
        ("LA", np.dstack([GREY, COLOUR[..., 1]]), GREY[..., None].repeat(3, 2)),
        ("I;16", GREY.astype(np.uint16) * 257, GREY[..., None].repeat(3, 2)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_modes_become_rgb(tmp_path, mode, pixels, expected):
    path = tmp_path / "a.png"
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(path)
    found = np.asarray(read_image(str(path)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_palette_becomes_rgb(tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray((GREY % 4).astype(np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.save(path, transparency=2)
    palette = np.arange(10, 130, 10).reshape(4, 3)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    np.testing.assert_array_equal(read_image(str(path)), palette[GREY % 4])


def test_sixteen_bits_a_colour(tmp_path):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, COLOUR[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(path), COLOUR)


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK").save(path, quality=98)
    assert np.abs(np.asarray(read_image(str(path))).astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize(("kind", "words"), [(np.int32, "32-bit values"), (np.float32, "floating-point values")])
def test_values_without_a_range_are_refused(tmp_path, kind, words):
    path = tmp_path / "a.tif"
    Image.fromarray(GREY.astype(kind)).save(path)
    with pytest.raises(ValueError, match=rf"a\.tif: image has {words}, whose range is not known"):
        read_image(str(path))


def test_exif_rotation_is_not_applied(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    Image.fromarray(COLOUR).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(str(path)), COLOUR)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # of the TIFF
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.5, 0.9])
def test_truncated_file_is_a_sentence(tmp_path, kind, share):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(COLOUR).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=rf"a\.{kind}: (not an image|image is damaged or truncated)") as error:
        read_image(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # garbled sizes
def test_garbled_file_is_an_image_or_a_sentence(tmp_path):
    """Whatever a broken header makes Pillow raise, the user reads one sentence that names the file."""
    rng = np.random.default_rng(0)
    sentences = []
    for kind in ("png", "ppm", "bmp"):
        path = tmp_path / f"a.{kind}"
        Image.fromarray(COLOUR).save(path)
        data = bytearray(path.read_bytes())
        for _ in range(60):
            garbled = data.copy()
            garbled[rng.integers(2, 40)] = rng.integers(256)
            path.write_bytes(garbled)
            try:
                read_image(str(path))
            except ValueError as error:
                sentences.append(str(error))
        assert all(sentence.startswith(f"{tmp_path / 'a.'}") for sentence in sentences)
    assert len(sentences) > 60


def test_folder_and_missing_file(tmp_path):
    with pytest.raises(IsADirectoryError, match=rf"^{tmp_path}: image cannot be opened \(Is a directory\)$"):
        read_image(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"gone\.png: image not found"):
        read_image(str(tmp_path / "gone.png"))


def test_forbidden_file(tmp_path, monkeypatch):
    """Simulated, because whoever tests as root may read everything."""

    def forbid(path, *args):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("builtins.open", forbid)
    with pytest.raises(PermissionError, match=r"a\.png: image cannot be opened \(Permission denied\)$"):
        image_size(str(tmp_path / "a.png"))


def test_image_bomb_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"a\.png: image is damaged or truncated \(Image size \(600 pixels\)"):
        read_image(str(path))
