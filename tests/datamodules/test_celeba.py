"""CelebA and MAFL on drawn faces."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from callbacks.arguments import CONFIGS
from datamodules import celeba
from datamodules.celeba import MAFL, CelebA
from datamodules.crop import transform
from tests.drawn_celeba import MAFL as MAFL_LISTS
from tests.drawn_celeba import image_name, write_celeba
from tests.experiment import run, write_experiment
from tests.one_sentence import one_sentence

LANDMARKS, PARTITION = "Anno/list_landmarks_align_celeba.txt", "Eval/list_eval_partition.txt"
IMAGES = "Img/img_align_celeba"
IN_MAFL = {image_name(i) for i in (*MAFL_LISTS["training"], *MAFL_LISTS["testing"])}


@pytest.fixture
def root(tmp_path):
    write_celeba(tmp_path / "CelebA")
    return tmp_path / "CelebA"


def names(faces):
    return [Path(image).name for image in faces.image]


def test_faces_are_those_of_the_list(tmp_path):
    points = write_celeba(tmp_path)
    faces = CelebA(tmp_path).load("test")
    assert names(faces) == [image_name(i) for i in range(31, 37)]  # the third partition, with one of MAFL in it
    assert faces.landmarks.tolist() == points[30:].tolist()  # as they are written, from 0 on
    assert faces.where(0).endswith(f"{LANDMARKS}: line 33")  # after two lines of header
    assert faces.image[0] == str(tmp_path / IMAGES / "000031.jpg")
    assert faces.visible.all()


def test_no_face_of_mafl_is_trained_or_validated_on(root):
    data = CelebA(root, num_workers=0)
    data.setup("fit")
    train, val = (data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces)
    assert names(train) == [image_name(i) for i in range(1, 25) if image_name(i) not in IN_MAFL]
    assert names(val) == [image_name(i) for i in range(25, 31) if image_name(i) not in IN_MAFL]
    assert len(train) == 12
    assert len(val) == 4
    mafl = MAFL(root)
    assert not {*names(train), *names(val)} & {*names(mafl.load("train")), *names(mafl.load("test"))}


def test_a_fit_reads_each_list_once(root, monkeypatch):
    files, read = [], celeba.read_list
    monkeypatch.setattr(
        celeba, "read_list", lambda path, *rest, **more: (files.append(path), read(path, *rest, **more))[1]
    )
    train, val = CelebA(root).fit_faces()
    assert sorted(str(file.relative_to(root)) for file in files) == [
        LANDMARKS, PARTITION, "MAFL/testing.txt", "MAFL/training.txt"
    ]  # fmt: skip
    for faces, split in ((train, "train"), (val, "val")):
        alone = CelebA(root).load(split)
        for column in ("line", "image", "landmarks", "visible", "box", "subsets", "photograph"):
            np.testing.assert_array_equal(getattr(faces, column), getattr(alone, column))


def test_published_faces_are_202599_and_those_of_mafl_are_left_out(root):
    assert sum(CelebA.published.values()) == 202_599
    assert sum(MAFL.published.values()) == 20_000
    counts = {split: list(CelebA(root).published_counts(split)) for split in CelebA.published}
    assert counts == {"train": [162_770 - 12], "val": [19_867 - 2], "test": [19_962]}  # as many are drawn of MAFL
    assert [list(MAFL(root).published_counts(split)) for split in ("train", "test")] == [[19_000], [1_000]]


def test_the_test_faces_need_no_list_of_mafl(root):
    shutil.rmtree(root / "MAFL")
    assert len(CelebA(root).load("test")) == 6


def test_mafl_is_its_lists_in_the_order_of_the_images(root):
    assert names(MAFL(root).load("train")) == [image_name(i) for i in MAFL_LISTS["training"]]
    assert names(MAFL(root).load("test")) == [image_name(i) for i in sorted(MAFL_LISTS["testing"])]


def test_mafl_validates_on_faces_of_its_training_list(root):
    shutil.rmtree(root / "Eval")  # not needed
    data = MAFL(root, validation_fraction=0.4, num_workers=0)
    data.setup("fit")
    train, val = (names(data.train_dataloader().dataset.faces), names(data.val_dataloader().dataset.faces))
    assert sorted(train + val) == names(data.load("train"))
    assert train
    assert val


@pytest.mark.parametrize(
    ("box", "first", "last"),
    [
        ("celeba-imm", (88.5 - 87.2, 108.5 - 87.2), (88.5 + 87.2, 108.5 + 87.2)),  # 80 % of 218 rows, about the middle
        ("celeba-dve", (88.5 - 62.8235, 118.5 - 62.8235), (88.5 + 62.8235, 118.5 + 62.8235)),  # 178 * 96 / 136 / 2
        ("provided-1.0", (88.5 - 109, -0.5), (88.5 + 109, 217.5)),
        ("image", (88.5 - 109, -0.5), (88.5 + 109, 217.5)),
    ],
)
def test_crops_of_the_papers(root, box, first, last):
    data = CelebA(root, size=96, box=box, num_workers=0)
    data.setup("test")
    crop = data.test_dataloader().dataset[3]["crop"].double().numpy()
    corners = transform(crop, np.array([(-0.5, -0.5), (95.5, 95.5)]))
    np.testing.assert_allclose(corners, [first, last], atol=2e-3)


def test_dve_resizes_rows_30_to_208_to_136_and_cuts_20_off(root):
    """The same by DVE's own steps: a point of the aligned image, through crop, resize and crop, in corner pixels."""
    data = CelebA(root, size=96, box="celeba-dve", num_workers=0)
    data.setup("test")
    sample = data.test_dataloader().dataset[0]
    original = data.test_dataloader().dataset.faces.landmarks[0]
    steps = (original + 0.5 - (0, 30)) * 136 / 178 - 20 - 0.5
    np.testing.assert_allclose(sample["landmarks"], steps, atol=1e-3)


def test_landmarks_are_drawn_where_the_batch_says(root):
    data = MAFL(root, size=128, num_workers=0)
    data.setup("test")
    for sample in data.test_dataloader().dataset:
        x, y = sample["landmarks"].round().long().T
        assert sample["visible"].all()
        assert sample["image"].float().mean(dim=0)[y, x].max() < 60
        assert sample["image"].float().mean() > 100


def test_eyes_are_the_normaliser(root):
    data = MAFL(root, size=128, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    left, right = dataset.faces.landmarks[0, :2]
    assert float(dataset[0]["norm"]) == pytest.approx(np.hypot(*(left - right)) * 128 / 174.4, rel=1e-5)


def test_images_are_listed_and_not_asked_for_one_by_one(root, monkeypatch):
    data = CelebA(root)
    faces = data.load("train")
    asked = []
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or True)
    faces.check_images()
    assert asked == []


def without(file):
    return lambda root: (root / file).unlink()


def line_as(file, number, edit):
    """Replace a line, counted from 1; None removes it."""

    def spoil(root):
        lines = (root / file).read_text().splitlines()
        lines[number - 1 : number] = [] if edit is None else [edit(lines[number - 1])]
        (root / file).write_text("\n".join(lines) + "\n")

    return spoil


def swapped(file, first, second):
    def spoil(root):
        lines = (root / file).read_text().splitlines()
        lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
        (root / file).write_text("\n".join(lines) + "\n")

    return spoil


def cut(file, count):
    return lambda root: (root / file).write_text("".join((root / file).read_text().splitlines(True)[:count]))


def as_csv(root):
    lines = (root / LANDMARKS).read_text().splitlines()
    (root / LANDMARKS).write_text("\n".join(",".join(line.split()) for line in lines))


def of_another_size(root):
    for path in (root / IMAGES).iterdir():
        Image.new("RGB", (128, 128)).save(path)


REMEDY = "set data.init_args.root to the folder that holds Anno, Eval, Img and MAFL"
BAD_LISTS = {
    "root missing": (shutil.rmtree, f"list_landmarks_align_celeba.txt not found; {REMEDY}"),
    "landmarks missing": (without(LANDMARKS), f"list_landmarks_align_celeba.txt not found; {REMEDY}"),
    "partition missing": (without(PARTITION), f"list_eval_partition.txt not found; {REMEDY}"),
    "training list of MAFL missing": (without("MAFL/training.txt"), f"MAFL/training.txt not found; {REMEDY}"),
    "test list of MAFL missing": (without("MAFL/testing.txt"), f"MAFL/testing.txt not found; {REMEDY}"),
    "landmarks empty": (cut(LANDMARKS, 0), "align_celeba.txt: no faces found, expected one a line"),
    "header alone": (cut(LANDMARKS, 2), "align_celeba.txt: no faces found, expected one a line"),
    "landmarks cut off": (cut(LANDMARKS, 20), "line 1 is '36', expected 18, the number of faces that follow"),
    "no count": (line_as(LANDMARKS, 1, lambda text: "image_id"), "line 1 is 'image_id', expected 36, the number of"),
    "no header": (line_as(LANDMARKS, 2, None), "line 1 is '36', expected 35, the number of faces that follow"),
    "short line": (
        line_as(LANDMARKS, 5, lambda text: text.rsplit(maxsplit=1)[0]),
        "align_celeba.txt: line 5 has 10 columns, expected 11 (image, x0, ..., y4)",
    ),
    "commas": (as_csv, "align_celeba.txt: line 3 has 1 columns, expected 11 (image, x0, ..., y4)"),
    "not a number": (
        line_as(LANDMARKS, 4, lambda text: text.rsplit(maxsplit=1)[0] + " x"),
        "align_celeba.txt: line 4, column y4 is 'x', expected a finite number",
    ),
    "absurd": (
        line_as(LANDMARKS, 23, lambda text: text.rsplit(maxsplit=1)[0] + " 1e7"),
        "align_celeba.txt: line 23: landmark 4 is at (",
    ),
    "one point": (
        line_as(LANDMARKS, 23, lambda text: f"{image_name(21)} " + "50 " * 10),
        "align_celeba.txt: line 23: all landmarks are at one point, expected a face",
    ),
    "eyes coincide": (
        line_as(LANDMARKS, 23, lambda text: f"{image_name(21)} 50 50 50 50 60 60 40 70 60 70"),
        "line 23: the inter-ocular distance is 0 pixels, so NME is not defined",
    ),
    "partition short": (cut(PARTITION, 30), "list_eval_partition.txt has 30 images, but "),
    "partition in another order": (
        swapped(PARTITION, 3, 4),
        "list_eval_partition.txt: line 3 is of 000004.jpg, expected 000003.jpg as in ",
    ),
    "partition of 3": (
        line_as(PARTITION, 7, lambda text: "000007.jpg 3"),
        "list_eval_partition.txt: line 7, column partition is '3', expected 0 (training), 1 (validation) or 2 (test)",
    ),
    "no training faces": (
        lambda root: (root / PARTITION).write_text((root / PARTITION).read_text().replace(" 0\n", " 2\n")),
        "has no face of the split 'train'; get it and the lists of the split again",
    ),
    "list of MAFL of other images": (
        line_as("MAFL/testing.txt", 2, lambda text: "300000.jpg"),
        "MAFL/testing.txt: line 2 names 300000.jpg, of which ",
    ),
    "list of MAFL empty": (cut("MAFL/training.txt", 0), "MAFL/training.txt: no faces found, expected one a line"),
    "list of MAFL in two columns": (
        line_as("MAFL/training.txt", 3, lambda text: f"{text} 1"),
        "MAFL/training.txt: line 3 has 2 columns, expected 1",
    ),
    "images missing": (lambda root: shutil.rmtree(root / IMAGES), "(12 of 12 images are missing)"),
    "an image missing": (
        without(f"{IMAGES}/000023.jpg"),
        "000023.jpg, which is not there (1 of 12 images are missing)",
    ),
    "images of another size": (of_another_size, "000013.jpg has 128 x 128 pixels, expected 178 x 218; get the aligned"),
    "an image that is none": (
        lambda root: (root / IMAGES / "000013.jpg").write_text("404"),
        "000013.jpg: not an image; get the file again",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    spoil(root)
    with one_sentence(sentence, root):
        CelebA(root).setup("fit")


@pytest.mark.parametrize("config", ["celeba", "mafl"])
def test_command_line(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    write_celeba(tmp_path / "CelebA")
    write_experiment(tmp_path)
    options = {"size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.4}
    words = ["--config", "tiny.yaml", "--config", str(CONFIGS / f"data/{config}.yaml")]
    words += [f"--data.init_args.{key}={value}" for key, value in options.items()]
    words += ["--model.init_args.num_landmarks=5", "--name=five"]
    run("fit", *words)
    tested = run("test", *words)
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
    assert Path(f"runs/five/test/{config}_celeba-imm.csv").is_file()
