import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.crop import transform
from datamodules.transforms import Augmentation
from datamodules.unlabeled import UnlabeledFaces
from tests.drawn_faces import draw, random_face, save
from tests.experiment import run, write_experiment
from tests.one_sentence import one_sentence

NAMES = ["a/1.jpg", "a/b/2.PNG", "c.webp", "d.bmp", "e.jpeg"]


@pytest.fixture
def root(tmp_path):
    """Five images of five sizes and four formats in three folders, and files that are no images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for i, name in enumerate(NAMES):
        width, height = 60 + 10 * i, 90 - 5 * i
        save(draw([random_face(rng, (width / 2, height / 2), 20)], width, height), folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "a/._1.jpg").write_text("no image")
    return folder


def write_boxes(root, lines, header="file,left,top,right,bottom"):
    (root / "boxes.csv").write_text("\n".join([header, *lines]) + "\n")


def opened(root, stage="predict", **options):
    data = UnlabeledFaces(root, **{"size": 32, "num_workers": 0, "batch_size": 2, **options})
    data.setup(stage)
    return data


def test_every_image_once_in_the_order_of_names(root):
    loader = opened(root).predict_dataloader()
    batches = list(loader)
    assert [set(batch) for batch in batches] == [{"image", "index", "crop"}] * 3
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(5))
    assert loader.dataset.faces.image.tolist() == [str(root / name) for name in NAMES]


def test_an_image_is_cut_to_the_square_of_its_longer_side(root):
    crops = torch.cat([batch["crop"] for batch in opened(root).predict_dataloader()]).double().numpy()
    for i, crop in enumerate(crops):
        width, height = 60 + 10 * i, 90 - 5 * i
        first, last = transform(crop, np.array([(-0.5, -0.5), (31.5, 31.5)]))
        np.testing.assert_allclose(last - first, max(width, height), rtol=1e-5)
        np.testing.assert_allclose((first + last) / 2, [(width - 1) / 2, (height - 1) / 2], atol=1e-4)


def test_boxes_of_a_csv(root):
    write_boxes(root, ["c.webp,10,20,50,40", "a/1.jpg,5,5,25,35", "c.webp,30,30,60,60"])
    data = opened(root, boxes="boxes.csv")
    assert data.box == "provided-1.2"
    loader = data.predict_dataloader()
    assert [name.rpartition("/")[2] for name in loader.dataset.faces.image] == ["c.webp", "1.jpg", "c.webp"]
    crops = torch.cat([batch["crop"] for batch in loader]).double().numpy()
    for crop, middle, side in zip(crops, [(30, 30), (15, 20), (45, 45)], [40, 30, 30], strict=True):
        first, last = transform(crop, np.array([(-0.5, -0.5), (31.5, 31.5)]))
        np.testing.assert_allclose((first + last) / 2, middle, atol=1e-4)
        np.testing.assert_allclose(last - first, 1.2 * side, rtol=1e-5)


def epochs(root, count, **options):
    data = opened(root, "fit", **options)
    loader, found = data.train_dataloader(), []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        found.append(list(loader))
    return found


def test_training_is_shuffled_and_augmented_by_seed_and_epoch(root):
    first, second = epochs(root, 2, batch_size=5)
    again = epochs(root, 2, batch_size=5)[1]
    assert sorted(first[0]["index"].tolist()) == list(range(5))
    assert first[0]["index"].tolist() != second[0]["index"].tolist()
    assert not torch.equal(first[0]["crop"], second[0]["crop"])
    assert all(torch.equal(second[0][key], again[0][key]) for key in ("image", "index", "crop"))


def test_augmentation_can_be_turned_off(root):
    off = Augmentation(rotation=0, translation=0, flip_p=0, occluder_p=0, blur=0, grey_p=0)
    ((batch,),) = epochs(root, 1, batch_size=5, augmentation=off)
    clean = {int(i): image for b in opened(root).predict_dataloader() for i, image in zip(*batch_pairs(b), strict=True)}
    for index, image in zip(*batch_pairs(batch), strict=True):
        assert torch.equal(image, clean[int(index)])


def batch_pairs(batch):
    return batch["index"], batch["image"]


def test_there_is_nothing_to_validate_or_test(root):
    assert opened(root, "fit").val_dataloader() == []
    for stage in ("validate", "test"):
        with pytest.raises(ValueError, match=r"photos have no landmarks to compare with; use: python cli\.py predict"):
            opened(root, stage)


def test_decoded_faces_can_be_kept(root, tmp_path):
    plain, stored = opened(root), opened(root, cache=tmp_path / "cache")
    for one, two in zip(plain.predict_dataloader(), stored.predict_dataloader(), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert len(list((tmp_path / "cache").glob("UnlabeledFaces-*.faces"))) == 1


def remove_images(root):
    for name in NAMES:
        (root / name).unlink()


def spoil_image(content):
    return lambda root: (root / "a/1.jpg").write_bytes(content)


def shorten_image(root):
    (root / "a/1.jpg").write_bytes((root / "a/1.jpg").read_bytes()[:700])


def boxes(*lines, header="file,left,top,right,bottom"):
    return lambda root: write_boxes(root, lines, header)


CSV = {"boxes": "boxes.csv"}
BAD = {
    "no folder": (shutil.rmtree, {}, "photos not found; set data.init_args.root to a folder of images"),
    "no images": (remove_images, {}, "photos has no file that ends in .jpg or .jpeg or .png or .bmp or .webp or .tif"),
    "text": (spoil_image(b"no image"), {}, "a/1.jpg: not an image; get the file again"),
    "empty image": (spoil_image(b""), {}, "a/1.jpg: not an image; get the file again"),
    "cut off": (shorten_image, {}, "a/1.jpg: image is damaged or truncated"),
    "landmark box": (None, {"box": "landmarks-1.2"}, "box is 'landmarks-1.2', but these faces have neither boxes nor"),
    "boxes not given": (None, {"box": "provided-1.2"}, "box is 'provided-1.2', but these faces have neither boxes nor"),
    "boxes not used": (boxes("c.webp,1,2,3,4"), {**CSV, "box": "image"}, "box is 'image', but these faces have the"),
    "no CSV": (None, CSV, "boxes.csv not found; set data.init_args.boxes to a CSV in"),
    "empty CSV": (boxes(), CSV, "boxes.csv: no faces found"),
    "no column": (boxes("c.webp,1,2,3", header="file,left,top,right"), CSV, "line 1 has no column 'bottom', expected"),
    "short line": (boxes("c.webp,1,2,3,4", "c.webp,1,2"), CSV, "boxes.csv: line 3 has 3 cells, expected 5"),
    "not a number": (boxes("c.webp,1,2,x,4"), CSV, "boxes.csv: line 2, column right is 'x', expected a finite number"),
    "inside out": (boxes("c.webp,50,2,30,40"), CSV, "boxes.csv: line 2: box is (50.0, 2.0, 30.0, 40.0), expected left"),
    "missing image": (boxes("c.webp,1,2,3,4", "x.jpg,1,2,3,4"), CSV, "boxes.csv: line 3 names image"),
    "box elsewhere": (boxes("c.webp,900,20,950,60"), CSV, "boxes.csv: line 2: the box lies outside of"),
    "unknown box": (None, {"box": "tight"}, "data.init_args.box is 'tight', expected one of"),
}


@pytest.mark.parametrize(("spoil", "options", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence(root, spoil, options, sentence):
    if spoil:
        spoil(root)
    with one_sentence(sentence):
        list(opened(root, **options).predict_dataloader())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    run("fit", "--config", str(write_experiment(folder, max_epochs=1)), "--name", "run", "--runs", str(folder / "runs"))
    return folder


def predict(trained, root, *words):
    config = ("--config", "data/unlabeled.yaml", "--data.init_args.root", str(root))
    options = ("--data.init_args.num_workers=0", "--data.init_args.batch_size=2")
    return run("predict", "--name", "run", "--runs", str(trained / "runs"), *config, *options, *words)


def test_predict_writes_landmarks_of_a_folder(trained, root):
    predict(trained, root)
    with (trained / "runs/run/predictions/photos_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(name) for name in NAMES]
    assert {f"{axis}{i}" for i in range(98) for axis in "xy"} <= rows[0].keys()
    for row in rows:
        width, height = Image.open(root / row["file"]).size
        points = np.array([[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(98)])
        square = max(width, height) / 2  # the untrained model stays within its input
        assert (np.abs(points - [(width - 1) / 2, (height - 1) / 2]) <= square + 1).all()


def test_predict_keeps_the_size_that_the_run_was_trained_at(trained, root):
    assert predict(trained, root).datamodule.size == 32
    assert predict(trained, root, "--data.init_args.size=48").datamodule.size == 48


def test_predict_names_a_broken_image(trained, root, capsys):
    shorten_image(root)
    with pytest.raises(SystemExit) as caught:
        predict(trained, root)
    assert caught.value.code == 1
    assert f"error: {root}/a/1.jpg: image is damaged or truncated" in capsys.readouterr().err


def test_training_on_no_landmarks_is_refused(trained, root, capsys):
    words = ("--config", str(trained / "tiny.yaml"), "--config", "data/unlabeled.yaml", "--data.init_args.root", root)
    with pytest.raises(SystemExit):
        run("fit", *map(str, words), "--name", "other", "--runs", str(trained / "runs"))
    assert "UnlabeledFaces has no landmarks to learn; set data to annotated faces" in capsys.readouterr().err
