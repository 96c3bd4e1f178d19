import json
import os
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.io import savemat

from datamodules.cofw import COFW
from datamodules.crop import transform
from tests.drawn_matlab import cofw_variables, write_cofw, write_matlab73
from tests.experiment import run
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence


@pytest.fixture
def root(tmp_path):
    write_cofw(tmp_path)
    return tmp_path


def test_drawn_files_are_laid_out_as_matlab_does(root):
    """Axes in reverse order: MATLAB's 6 x 87 is 87 x 6, its 6 x 1 cells are 1 x 6, its H x W x 3 images 3 x W x H."""
    assert (root / "COFW_test_color.mat").read_bytes()[:19] == b"MATLAB 7.3 MAT-file"
    with h5py.File(root / "COFW_test_color.mat") as file:
        assert (file["phisT"].shape, file["bboxesT"].shape, file["IsT"].shape) == ((87, 6), (4, 6), (1, 6))
        assert [file[reference].shape for reference in file["IsT"][0, :3]] == [(3, 120, 100), (3, 121, 100), (122, 100)]


def test_numbers_by_hand(root):
    variables, _ = cofw_variables("T", 6)
    variables["phisT"][4] = [*range(101, 130), *range(201, 230), *[0] * 28, 1]
    variables["bboxesT"][4] = (11, 21, 30, 40)
    write_matlab73(root / "COFW_test_color.mat", variables)
    faces = COFW(root).load("test")
    assert faces.landmarks[4, 0].tolist() == [100, 200]  # the file counts from 1
    assert faces.landmarks[4, 28].tolist() == [128, 228]
    assert np.flatnonzero(~faces.visible[4]).tolist() == [28]
    assert faces.box[4].tolist() == [10, 20, 40, 60]
    assert faces.where(4) == f"{root / 'COFW_test_color.mat'}: IsT{{5}}"


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("test", 6)])
def test_faces_are_those_drawn(root, split, count):
    drawn = dict(zip(("train", "test"), write_cofw(root), strict=True))[split]
    faces = COFW(root).load(split)
    assert len(faces) == count
    np.testing.assert_allclose(faces.landmarks, drawn, atol=1e-9)
    assert (~faces.visible == np.eye(count, 29, dtype=bool)).all()
    assert len(set(faces.photograph)) == count


def test_landmarks_are_drawn_where_the_batch_says(root):
    """Lips, lids and brows are dark lines in the drawings: the crop must be dark at the landmarks, grey images too."""
    data = COFW(root, size=96)
    data.setup("test")
    for row, sample in enumerate(data.test_dataloader().dataset):
        x, y = np.delete(sample["landmarks"].numpy(), [16, 17], axis=0).round().astype(int).T  # pupils are not drawn
        inside = (x >= 0) & (y >= 0) & (x < 96) & (y < 96)
        assert inside.sum() > 20
        assert sample["image"].float().mean(dim=0).numpy()[y[inside], x[inside]].mean() < 80
        assert (np.ptp(sample["image"].numpy(), axis=0).max() == 0) == (row % 3 == 2)
        assert not sample["visible"][row]


def test_usual_crop_and_norm(root):
    """The rectangle is not enlarged, and NME is inter-ocular."""
    data = COFW(root, size=64)
    data.setup("test")
    faces = data.load("test")
    assert (data.box, data.normalizer, data.title) == ("provided-1.0", "inter-ocular", "COFW")
    sample = data.test_dataloader().dataset[3]
    corners = transform(sample["crop"].double().numpy(), np.array([(-0.5, -0.5), (63.5, 63.5)]))
    x0, y0, x1, y1 = faces.box[3]
    side = max(x1 - x0, y1 - y0)
    np.testing.assert_allclose(corners.mean(axis=0), ((x0 + x1) / 2, (y0 + y1) / 2), atol=1e-4)
    np.testing.assert_allclose(corners[1] - corners[0], side, rtol=1e-5)
    eyes = np.linalg.norm(faces.landmarks[3, 8] - faces.landmarks[3, 9])
    assert sample["norm"].item() == pytest.approx(eyes * 64 / side, rel=1e-5)


def test_held_out_faces_keep_their_images(root):
    """Image i of the drawing is 120 + i pixels wide."""
    data = COFW(root, box="image", size=64, validation_fraction=0.4)
    data.setup("fit")
    places = COFW(root).load("train").image.tolist()
    seen = []
    for dataset in (data.train_dataloader().dataset, data.val_dataloader().dataset):
        for row in range(len(dataset)):
            index = places.index(dataset.faces.image[row])
            assert dataset.read(row).shape == (100, 120 + index, 3)
            seen.append(index)
    assert sorted(seen) == list(range(8))


def test_workers_read_the_same_faces(root):
    data = COFW(root, size=32, batch_size=3, num_workers=2)
    data.setup("test")
    loader = data.test_dataloader()
    expected = torch.stack([loader.dataset[row]["image"] for row in range(6)])
    assert torch.equal(torch.cat([batch["image"] for batch in loader]), expected)


def test_it_can_be_sent_to_a_process_and_leaves_the_pixels_in_the_file(root):
    data = COFW(root)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    sent = pickle.dumps(dataset)
    assert len(sent) < (root / "COFW_test_color.mat").stat().st_size / 2
    assert torch.equal(pickle.loads(sent)[2]["image"], dataset[2]["image"])


def test_experiment_from_the_command_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 29}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("cofw.yaml").write_text(yaml.safe_dump(config))
    options = (f"root={root}", "size=32", "batch_size=4", "num_workers=0", "validation_fraction=0.4")
    words = ["--config", "cofw.yaml", "--config", "data/cofw.yaml", *(f"--data.init_args.{o}" for o in options)]
    assert run("fit", *words).trainer.global_step > 0
    assert 0 < run("test", *words).trainer.callback_metrics["test/nme"] < 1000


def variables_as(**changed):
    """Write the test file with these variables; one that is None is left out."""

    def spoil(root):
        variables, _ = cofw_variables("T", 6)
        variables |= {name: value(variables[name]) for name, value in changed.items()}
        write_matlab73(root / "COFW_test_color.mat", {k: v for k, v in variables.items() if v is not None})

    return spoil


def put(row, column, value):
    """A number in the place of another."""

    def change(array):
        array = array.copy()
        array[row, column] = value
        return array

    return change


def content(root, edit):
    path = root / "COFW_test_color.mat"
    path.write_bytes(edit(path.read_bytes()))


def folder(root):
    (root / "COFW_test_color.mat").unlink()
    (root / "COFW_test_color.mat").mkdir()


def one_point(phis):
    return np.concatenate([np.full((6, 58), 40.0), phis[:, 58:]], axis=1)


def third_as(image):
    return lambda images: [*images[:2], image, *images[3:]]


REMEDY = "set data.init_args.root to the folder that holds COFW_train_color.mat and COFW_test_color.mat"
BAD = {
    "root missing": (shutil.rmtree, f"color.mat not found; {REMEDY}"),
    "file missing": (lambda root: (root / "COFW_test_color.mat").unlink(), f"COFW_test_color.mat not found; {REMEDY}"),
    "a folder": (folder, f"COFW_test_color.mat is a folder, expected a MATLAB file; {REMEDY}"),
    "empty": (lambda root: content(root, lambda b: b""), "COFW_test_color.mat is not a MATLAB file of version 7.3"),
    "a web page": (lambda root: content(root, lambda b: b"<html>404</html>"), "is not a MATLAB file of version 7.3"),
    "cut off": (lambda root: content(root, lambda b: b[:-900]), "not a MATLAB file or damaged (Unable to"),
    "cut in its header": (lambda root: content(root, lambda b: b[:600]), "COFW_test_color.mat: not a MATLAB file or"),
    "saved as version 7": (
        lambda root: savemat(root / "COFW_test_color.mat", {"phisT": np.zeros((6, 87))}),
        "COFW_test_color.mat is not a MATLAB file of version 7.3; get it again, or save it with '-v7.3'",
    ),
    "the training file": (
        lambda root: shutil.copy(root / "COFW_train_color.mat", root / "COFW_test_color.mat"),
        "COFW_test_color.mat has no variable IsT, only IsTr, bboxesTr, phisTr; get it again",
    ),
    "no boxes": (variables_as(bboxesT=lambda _: None), "has no variable bboxesT, only IsT, phisT; get it again"),
    "no images": (variables_as(IsT=lambda _: None), "has no variable IsT, only bboxesT, phisT; get it again"),
    "68 points": (
        variables_as(phisT=lambda _: np.zeros((6, 204))),
        "COFW_test_color.mat: phisT has 6 x 204 numbers, expected numbers in 6 rows and 87 columns",
    ),
    "a face too few": (variables_as(phisT=lambda p: p[:5]), "phisT has 5 x 87 numbers, expected numbers in 6 rows and"),
    "axes swapped": (variables_as(phisT=np.transpose), "phisT has 87 x 6 numbers, expected numbers in 6 rows and 87"),
    "an image too few": (
        variables_as(IsT=lambda images: images[:5]),
        "phisT has 6 x 87 numbers, expected",
    ),
    "no faces": (variables_as(IsT=lambda _: ["a"], phisT=lambda _: np.zeros((0, 87))), "expected an image"),
    "empty points": (
        variables_as(phisT=lambda _: np.zeros((0, 87))),
        "phisT has 0 x 87 numbers, expected",
    ),
    "boxes of five": (variables_as(bboxesT=lambda b: np.c_[b, b[:, 0]]), "bboxesT has 6 x 5 numbers, expected numbers"),
    "text as points": (
        variables_as(phisT=lambda _: ["a"] * 6),
        "phisT does not hold real numbers, expected",
    ),
    "a text as an image": (variables_as(IsT=third_as("face")), "IsT{3} is 1 x 4 numbers of type uint16"),
    "an image of doubles": (
        variables_as(IsT=third_as(np.zeros((40, 50)))),
        "IsT{3} is 40 x 50 numbers of type float64, expected an image: height x width or height x width x 3 numbers",
    ),
    "an image of four colours": (
        variables_as(IsT=third_as(np.zeros((40, 50, 4), np.uint8))),
        "IsT{3} is 40 x 50 x 4 numbers of type uint8, expected an image",
    ),
    "an empty image": (variables_as(IsT=third_as(np.zeros((0, 0)))), "IsT{3} is no array, expected an image"),
    "numbers as images": (variables_as(IsT=lambda _: np.ones((6, 1))), "IsT{1} is no array, expected an image"),
    "NaN": (variables_as(phisT=put(3, 7, np.nan)), "COFW_test_color.mat: IsT{4}: landmark 7 is (nan, "),
    "infinite": (variables_as(phisT=put(3, 36, np.inf)), "COFW_test_color.mat: IsT{4}: landmark 7 is ("),
    "absurd": (variables_as(phisT=put(0, 0, 1e7)), "COFW_test_color.mat: IsT{1}: landmark 0 is at (1e+07, "),
    "one point": (variables_as(phisT=one_point), "IsT{1}: all landmarks are at one point, expected a face"),
    "a flag of two": (variables_as(phisT=put(2, 60, 2)), "phisT has a flag of 2 in row 3, expected 0 or 1"),
    "a flag of NaN": (variables_as(phisT=put(2, 60, np.nan)), "phisT has a flag of nan in row 3, expected 0 or 1"),
    "a box without width": (variables_as(bboxesT=put(5, 2, 0)), "IsT{6}: box is ("),
    "a box not a number": (variables_as(bboxesT=put(5, 0, np.nan)), "IsT{6}: box is (nan, "),
    "eye corners coincide": (
        variables_as(phisT=lambda phis: put(1, [8, 37, 9, 38], 40)(phis)),
        "IsT{2}: the inter-ocular distance is 0 pixels, so NME is not defined",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD)
def test_bad_files_are_a_sentence_at_start(root, spoil, sentence):
    data = COFW(root)
    spoil(root)
    with one_sentence(sentence, root):
        data.setup("test")


def test_a_damaged_image_is_a_sentence_when_it_is_read(root):
    path = root / "COFW_test_color.mat"
    with h5py.File(path) as file:
        chunk = file[file["IsT"][0, 1]].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)  # counted from the beginning of the file
        file.write(b"\xff" * 40)
    data = COFW(root, num_workers=0)
    data.setup("test")
    dataset = data.test_dataloader().dataset
    dataset[0]
    with pytest.raises(ValueError, match=r"test_color\.mat: not a MATLAB file or damaged \(.*; get the file again"):
        dataset[1]


@pytest.mark.skipif(
    not Path(os.environ.get("LANDMARK_DATA", ""), "tiny_samples").is_dir(),
    reason="LANDMARK_DATA names no folder that has tiny_samples",
)
def test_real_samples(tmp_path):
    """Real faces in a file of the published layout: points, occlusion, boxes and eye distance as annotated."""
    folder = Path(os.environ["LANDMARK_DATA"], "tiny_samples")
    samples = [s for s in json.loads((folder / "annotations.json").read_text()) if s["dataset"] == "cofw"]
    landmarks = np.array([s["landmarks"] for s in samples])
    hidden = np.array([s["visibility"] for s in samples]) == 1  # COCO's flag: 2 visible, 1 annotated but occluded
    boxes = np.array([s["bbox"] for s in samples])
    images = [np.asarray(Image.open(folder / s["file"]).convert("RGB")) for s in samples]
    phis = np.concatenate([landmarks[..., 0] + 1, landmarks[..., 1] + 1, hidden], axis=1)
    content = {"IsT": images, "phisT": phis, "bboxesT": boxes + np.array([1, 1, 0, 0])}
    write_matlab73(tmp_path / "COFW_test_color.mat", content)
    data = COFW(tmp_path, size=128, box="landmarks-1.25")
    data.setup("test")
    dataset = data.test_dataloader().dataset
    np.testing.assert_allclose(dataset.faces.box[:, 2:] - dataset.faces.box[:, :2], boxes[:, 2:])
    for row, sample in enumerate(dataset):
        crop = sample["crop"].double().numpy()
        np.testing.assert_allclose(landmarks_in_image(sample), landmarks[row], atol=1e-3)
        assert sample["visible"].tolist() == (~hidden[row]).tolist()
        eyes = np.linalg.norm(landmarks[row, 8] - landmarks[row, 9])
        assert sample["norm"].item() * crop[0, 0] == pytest.approx(eyes, rel=1e-5)
        # Every landmark lies in the annotated rectangle but for a few pixels, so the rectangle is read the right way.
        assert (dataset.faces.landmarks[row] > dataset.faces.box[row, :2] - 15).all()
        assert (dataset.faces.landmarks[row] < dataset.faces.box[row, 2:] + 15).all()
