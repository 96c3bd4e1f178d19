import io
import multiprocessing
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch

from datamodules import cache_files, face_dataset
from datamodules.crop import compose, reached, shrinkage, transform, warp
from datamodules.crop_cache import _parts, cache_crops
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.synthetic import SyntheticFaces
from datamodules.transforms import Augmentation
from tests.drawn_faces import random_face, save

READ = []  # images decoded, in this process
ZOOMING = Augmentation(scale=0.3, rotation=60, rotation_p=1.0, translation=0.2, translation_p=1.0)


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    READ.clear()
    cache_files.tell_once.cache_clear()
    read_image = face_dataset.read_image

    def read(path):
        READ.append(path)
        return read_image(path)

    monkeypatch.setattr(face_dataset, "read_image", read)


@pytest.fixture
def root(tmp_path):
    """14 photographs of noise of several sizes, two faces each: near, far, at the edge, much larger than the crop."""
    rng = np.random.default_rng(0)
    folder, lines = tmp_path / "faces", {"train": [], "test": []}
    for i in range(14):
        split = "test" if i % 3 == 0 else "train"
        width, height = rng.integers(150, 500, 2)
        save(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), folder / f"{split}/{i}.png")
        for scale in (rng.uniform(8, 30), rng.uniform(30, 170)):
            face = random_face(rng, rng.uniform(0.2, 0.8, 2) * (width, height), scale)
            lines[split].append(",".join([f"{i}.png", *(f"{v:.3f}" for v in face.ravel())]))
    header = ",".join(["file", *(f"{axis}{i}" for i in range(98) for axis in "xy")])
    for split, rows in lines.items():
        (folder / f"{split}.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def opened(root, cache, stage="fit", **options):
    options = {"size": 48, "num_workers": 0, "validation_fraction": 0.3, "augmentation": ZOOMING, **options}
    data = CSVLandmarks(root, "wflw-98", cache=cache, **options)
    data.setup(stage)
    READ.clear()
    return data


def datasets(data):
    return [data._datasets[name] for name in ("train", "val") if name in data._datasets] or [data._datasets["test"]]


def equal(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(value, two[key]) for key, value in one.items())


AUGMENTATIONS = {
    "usual": Augmentation(),
    "zooming": ZOOMING,
    "far": Augmentation(scale=0.7, rotation=180, rotation_p=1.0, translation=0.6, translation_p=1.0),
    "none": Augmentation(rotation=0, translation=0, flip_p=0),
}


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("box", ["landmarks-1.2", "image"])
def test_crops_are_those_of_the_files_to_the_last_bit(root, tmp_path, augmentation, box):
    plain = opened(root, None, augmentation=augmentation, box=box)
    stored = opened(root, tmp_path / "cache", augmentation=augmentation, box=box)
    for one, two in zip(datasets(plain), datasets(stored), strict=True):
        READ.clear()
        kept = [two[key] for key in keys(two)]
        assert READ == []
        assert all(equal(one[key], sample) for key, sample in zip(keys(one), kept, strict=True))
        assert len(READ) == len(kept)
    assert torch.equal(plain.mean_shape(), stored.mean_shape())


def keys(dataset):
    """Each face as it is, and as eight epochs show it."""
    return [key for row in range(len(dataset)) for key in (row, *((epoch, row) for epoch in range(8)))]


def test_the_drawn_faces_need_every_way_of_keeping_them(root):
    """Pixels, pixels for several sizes of blocks, blocks of one size, and blocks of several."""
    dataset = opened(root, None)._datasets["train"]
    rows = range(len(dataset))
    kept = [
        [shrink for shrink, _ in _parts(dataset.read(row).shape, dataset.affine(row), dataset.size, augmentation)]
        for augmentation in (Augmentation(), ZOOMING)
        for row in rows
    ]
    assert [1] in kept
    assert [2] in kept
    assert any(len(parts) > 2 and parts[0] > 1 for parts in kept)


@pytest.mark.parametrize("scale", [0.0, 0.25, 0.6])
def test_no_augmentation_reaches_beyond_what_is_said(scale):
    augmentation = Augmentation(scale=scale, rotation=40, rotation_p=1.0, translation=0.3, translation_p=1.0)
    rng, (first, last) = np.random.default_rng(0), augmentation.reach(32)
    corners = np.array([(0, 0), (31, 0), (0, 31), (31, 31)])
    found = np.array([transform(augmentation.geometry(rng, 32)[0], corners) for _ in range(20_000)])
    assert first <= found.min() < first + 0.12 * (last - first)  # and not far beyond what they do reach
    assert last - 0.12 * (last - first) < found.max() <= last


@pytest.mark.parametrize("pixel", [0.4, 1.0, 1.99, 2.0, 3.0, 5.5])
def test_a_crop_does_not_depend_on_the_rest_of_the_image(pixel):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (301, 287, 3), dtype=np.uint8)
    for _ in range(20):
        turned, _ = Augmentation(rotation=180, rotation_p=1.0).geometry(rng, 24)
        affine = compose(np.array([[pixel, 0, rng.uniform(0, 100)], [0, pixel, rng.uniform(0, 100)]]), turned)
        crop, shrink = warp(image, affine, 24), shrinkage(affine, image.shape)
        left, top, right, bottom = reached(affine, 0, 23, 1, image.shape)
        noise = rng.integers(0, 256, image.shape, dtype=np.uint8)
        first, last = np.array([left, top]) // shrink * shrink - shrink, np.array([right, bottom]) + 2 * shrink
        inside = (slice(max(first[1], 0), last[1]), slice(max(first[0], 0), last[0]))
        noise[inside] = image[inside]
        assert (warp(noise, affine, 24) == crop).all()


def test_a_crop_outside_the_image_is_black():
    image = np.full((40, 40, 3), 200, np.uint8)
    assert (warp(image, np.array([[1.0, 0, 500], [0, 1.0, -90]]), 16) == 0).all()


def files(cache):
    return sorted(cache.glob("*.faces"))


def test_the_file_is_made_once(root, tmp_path):
    cache = tmp_path / "cache"
    opened(root, cache)
    (path,) = files(cache)
    before = path.stat()
    opened(root, cache)
    assert files(cache) == [path]
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_each_image_is_decoded_once_for_all_its_faces(root, tmp_path):
    data = CSVLandmarks(root, "wflw-98", cache=tmp_path / "cache", size=48, num_workers=0, validation_fraction=0.3)
    data.setup("fit")
    assert len(READ) == len(set(READ)) == len(list((root / "train").iterdir()))
    READ.clear()
    CSVLandmarks(root, "wflw-98", cache=tmp_path / "cache", size=48, validation_fraction=0.3).setup("fit")
    assert READ == []


def test_another_division_into_training_and_validation_uses_the_same_file(root, tmp_path):
    cache = tmp_path / "cache"
    opened(root, cache)
    for options in ({"seed": 5}, {"validation_fraction": 0.6}):
        stored, plain = opened(root, cache, **options), opened(root, None, **options)
        assert len(files(cache)) == 1
        for one, two in zip(datasets(plain), datasets(stored), strict=True):
            assert all(equal(one[row], two[row]) for row in range(len(one)))


def test_other_settings_have_another_file(root, tmp_path):
    cache = tmp_path / "cache"
    opened(root, cache)
    for options in ({"size": 32}, {"box": "landmarks-1.25"}, {"augmentation": None}):
        opened(root, cache, **options)
    opened(root, cache, stage="test")
    assert len(files(cache)) == 5


def test_test_faces_are_kept_without_room_for_augmentation(root, tmp_path):
    opened(root, tmp_path / "train")
    stored = opened(root, tmp_path / "test", stage="test")
    plain = opened(root, None, stage="test")
    assert all(equal(a, b) for a, b in zip(plain._datasets["test"], stored._datasets["test"], strict=True))
    sizes = [files(tmp_path / name)[0].stat().st_size for name in ("train", "test")]
    assert sizes[1] / len(stored._datasets["test"]) < sizes[0] / 18 / 2


def repaint(path):
    save(np.random.default_rng(9).integers(0, 256, (300, 300, 3), dtype=np.uint8), path)


def test_a_changed_image_makes_it_anew_and_removes_the_old(root, tmp_path):
    cache = tmp_path / "cache"
    opened(root, cache)
    before = files(cache)
    repaint(root / "train/1.png")
    stored, plain = opened(root, cache), opened(root, None)
    assert len(files(cache)) == 1
    assert files(cache) != before
    assert all(equal(a, b) for a, b in zip(datasets(plain)[0], datasets(stored)[0], strict=True))


def test_a_change_of_an_image_of_equal_size_is_seen_by_its_time(root, tmp_path):
    opened(root, tmp_path / "cache")
    before = files(tmp_path / "cache")
    os.utime(root / "train/4.png", ns=(1, 1))
    opened(root, tmp_path / "cache")
    assert files(tmp_path / "cache") != before


def test_whoever_reads_an_old_file_keeps_its_pixels(root, tmp_path):
    stored = opened(root, tmp_path / "cache")
    before = [datasets(stored)[0][row] for row in range(4)]
    repaint(root / "train/1.png")
    opened(root, tmp_path / "cache")
    assert all(equal(a, datasets(stored)[0][row]) for row, a in enumerate(before))


def shortened(path):
    path.write_bytes(path.read_bytes()[:-5000])


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "short": shortened,
    "zeros at the end": lambda path: path.write_bytes(path.read_bytes()[:-8] + bytes(8)),
    "absurd length": lambda path: path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8),
    "bytes in front": lambda path: path.write_bytes(b"x" + path.read_bytes()),
    "no arrays": lambda path: path.write_bytes(path.read_bytes()[:-3000] + bytes(2992) + path.read_bytes()[-8:]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_made_again(root, tmp_path, damage, capsys):
    cache = tmp_path / "cache"
    opened(root, cache)
    good = files(cache)[0].read_bytes()
    damage(files(cache)[0])
    opened(root, cache)
    assert files(cache)[0].read_bytes() == good
    assert "is made again" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"the cache of faces cannot be kept in .*file/cache \(Not a directory\); set data"
    ):
        opened(root, tmp_path / "file/cache")


def test_a_full_disk(root, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datamodules.crop_cache._write", full)
    monkeypatch.setattr("datamodules.crop_cache._write", lambda file, *rest: full(file, b""))
    with pytest.raises(OSError, match=r"\(No space left on device\); set data\.init_args\.cache to another folder, or"):
        opened(root, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_disk_that_will_be_too_small_is_told_early(root, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("datamodules.crop_cache.CHECK_EVERY", 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 2**20 // 10))
    with pytest.raises(OSError, match=r"cache has 0\.0 GiB free, but the cache of faces will take about 0\.0 GiB more"):
        opened(root, tmp_path / "cache")
    assert files(tmp_path / "cache") == []
    assert len(READ) < 4


def test_a_broken_image_is_named_and_leaves_nothing(root, tmp_path):
    path = root / "train/4.png"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match=r"train/4\.png: image is damaged or truncated"):
        opened(root, tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_changed_augmentation_is_refused_rather_than_black(root, tmp_path):
    data = opened(root, tmp_path / "cache", augmentation=Augmentation(rotation=0, translation=0))
    dataset = datasets(data)[0]
    dataset.augmentation = ZOOMING
    with pytest.raises(ValueError, match=r"\.faces does not hold all pixels of a crop, because the augmentation was"):
        [dataset[(epoch, row)] for row in range(len(dataset)) for epoch in range(5)]


def test_generated_faces_are_kept_too(tmp_path):
    def generated(cache, **options):
        data = SyntheticFaces(20, 4, size=32, num_workers=0, cache=cache, **options)
        data.setup("fit")
        return data._datasets["train"]

    stored, plain = generated(tmp_path / "cache"), generated(None)
    assert not hasattr(plain.read, "path")
    assert stored.read.path.parent == tmp_path / "cache"
    for row in range(len(plain)):
        assert equal(stored[row], plain[row])
        assert equal(stored[(3, row)], plain[(3, row)])
    others = {generated(tmp_path / "cache", **o).read.path for o in ({}, {"faces_seed": 1}, {"domain": "infrared"})}
    assert len(others) == 3


def test_loader_workers_read_it(root, tmp_path):
    stored = opened(root, tmp_path / "cache", num_workers=2, batch_size=3)
    plain = opened(root, None, batch_size=3)
    for one, two in zip(plain.train_dataloader(), stored.train_dataloader(), strict=True):
        assert equal(one, two)


def test_a_worker_that_is_sent_the_dataset_is_not_sent_the_pixels(root, tmp_path):
    dataset = datasets(opened(root, tmp_path / "cache"))[0]
    buffer = io.BytesIO()
    torch.save(dataset.read, buffer)
    assert len(buffer.getvalue()) < 20_000 < files(tmp_path / "cache")[0].stat().st_size
    copy = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    image, same = dataset.read(0), copy(0)
    number = int(image.faces.contents.first[image.place])
    assert (image.faces.part(number) == same.faces.part(number)).all()


def open_in_process(root, cache, queue):
    opened_before = len(READ)
    data = CSVLandmarks(root, "wflw-98", cache=cache, size=48, num_workers=0, validation_fraction=0.3)
    data.setup("fit")
    queue.put((len(READ) - opened_before, int(data._datasets["train"][0]["image"].sum())))


def test_several_processes_make_it_once(root, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    arguments = (root, tmp_path / "cache", queue)
    processes = [context.Process(target=open_in_process, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    images = len(list((root / "train").iterdir()))
    assert sorted(decoded for decoded, _ in found) == [0, 0, 0, images]
    assert len({total for _, total in found}) == 1
    assert len(files(tmp_path / "cache")) == 1


def test_nothing_is_kept_unless_asked(root, tmp_path):
    opened(root, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]
    assert cache_crops.__module__ == "datamodules.crop_cache"
