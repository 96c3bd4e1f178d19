import io

import numpy as np
import pytest

from datamodules.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from tests.one_sentence import one_sentence

IMAGES = np.array(["a/1.png", "a/2.png", "ünïcode b.jpg"])
LANDMARKS = np.random.default_rng(0).normal(0, 1000, (3, 5, 2))
CONFIDENCE = np.random.default_rng(1).uniform(0, 1, (3, 5))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run/pseudo_labels/round_1.npz"
    write_pseudo_labels(path, IMAGES, LANDMARKS, CONFIDENCE)
    return path


def test_what_is_written_is_read(path):
    np.testing.assert_array_equal(read_pseudo_labels(path, IMAGES, 5), LANDMARKS.astype(np.float32))
    assert [file.name for file in path.parent.iterdir()] == ["round_1.npz"]


def test_the_file_is_a_plain_numpy_archive(path):
    found = np.load(path, allow_pickle=False)
    assert {key: (found[key].dtype.kind, found[key].shape) for key in found} == {
        "images": ("U", (3,)),
        "landmarks": ("f", (3, 5, 2)),
        "confidence": ("f", (3, 5)),
    }
    assert found["images"].tolist() == IMAGES.tolist()
    np.testing.assert_allclose(found["confidence"], CONFIDENCE, atol=1e-7)


def test_a_second_write_replaces_the_first(path):
    write_pseudo_labels(path, IMAGES, LANDMARKS + 1, CONFIDENCE)
    np.testing.assert_array_equal(read_pseudo_labels(path, IMAGES, 5), (LANDMARKS + 1).astype(np.float32))


def test_a_write_that_fails_leaves_the_first(path):
    with pytest.raises(AttributeError):
        write_pseudo_labels(path, IMAGES, "no landmarks", CONFIDENCE)
    np.testing.assert_array_equal(read_pseudo_labels(path, IMAGES, 5), LANDMARKS.astype(np.float32))


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def with_labels(**changed):
    return archive(**{"images": IMAGES, "landmarks": LANDMARKS, "confidence": CONFIDENCE, **changed})


UNREADABLE = "not a readable file of pseudo-labels, or cut off"
BROKEN = {
    "empty": (lambda good: b"", UNREADABLE),
    "text": (lambda good: b"file,x0,y0\n", UNREADABLE),
    "cut": (lambda good: good[:-100], UNREADABLE),
    "cut early": (lambda good: good[:50], UNREADABLE),
    "damaged": (lambda good: good[:200] + b"x" * 60 + good[260:], UNREADABLE),
    "no landmarks": (lambda good: archive(images=IMAGES), UNREADABLE),
    "no images": (lambda good: archive(landmarks=LANDMARKS), UNREADABLE),
    "objects": (lambda good: with_labels(images=IMAGES.astype(object)), UNREADABLE),
    "one array": (lambda good: plain_array(), UNREADABLE),
    "another count": (lambda good: with_labels(images=IMAGES[:2]), "has the pseudo-labels of 2 faces, but there are 3"),
    "another image": (
        lambda good: with_labels(images=np.array(["a/1.png", "a/0.png", "x"])),
        "face 1 is of image a/0.png, but the data has a/2.png there",
    ),
    "another order": (lambda good: with_labels(images=IMAGES[::-1]), "face 0 is of image ünïcode b.jpg, but the data"),
    "another markup": (
        lambda good: with_labels(landmarks=LANDMARKS[:, :4]),
        "landmarks have shape (3, 4, 2), expected (3, 5, 2)",
    ),
}


def plain_array():
    stream = io.BytesIO()
    np.save(stream, LANDMARKS)
    return stream.getvalue()


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_one_sentence(path, change, words):
    path.write_bytes(change(path.read_bytes()))
    with one_sentence(path, words, "get back the file and the images that the run had, or start a new run"):
        read_pseudo_labels(path, IMAGES, 5)


def test_a_missing_file_is_one_sentence(path):
    path.unlink()
    with one_sentence(path, "the pseudo-labels of this round are not there"):
        read_pseudo_labels(path, IMAGES, 5)
