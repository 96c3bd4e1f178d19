"""The results of ``test``: the table's numbers, each face's error, the drawings; and the predictions of ``predict``."""

import csv

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from callbacks.overlays import CAPTION, COLUMNS, PREDICTION, SIDE, TRUTH, draw_overlays
from callbacks.results import slug, worst_and_median
from lightning_modules.base import LandmarkPrediction
from tests.drawn_faces import write_wflw
from tests.experiment import run, start


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run on WFLW's format, whose test faces are in six subsets, tested and predicted."""
    folder = tmp_path_factory.mktemp("wflw")
    data = {"root": str(write_wflw(folder / "faces", train=24, test=14)), "size": 32, "batch_size": 4}
    config = {
        "name": "run",
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": {**data, "num_workers": 0}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    (folder / "wflw.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "wflw.yaml")
        run("test", "--config", "wflw.yaml")
        run("predict", "--config", "wflw.yaml")
    return folder


@pytest.fixture(scope="module")
def evaluated(folder):
    """Truth and prediction of each test face, computed without the callbacks: arrays of 14 rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cli = run("test", "--name", "run")
    dataset, module = cli.trainer.test_dataloaders.dataset, cli.model.eval()
    samples = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        found = module(torch.stack([sample["image"] for sample in samples])).landmarks.numpy()
    return samples, found, module.mean_shape.numpy() * samples[0]["image"].shape[-1] - 0.5


def error(points, sample):
    distance = np.hypot(*(points - sample["landmarks"].numpy()).T)
    return 100 * distance.mean() / float(sample["norm"])


def test_the_table_is_that_of_a_loop_over_the_faces(folder, evaluated):
    samples, found, mean = evaluated
    model = np.array([error(points, sample) for points, sample in zip(found, samples, strict=True)])
    shape = np.array([error(mean, sample) for sample in samples])
    table = {row["subset"]: row for row in rows(folder / "runs/run/test/wflw.csv")}
    assert list(table) == ["full", "pose", "expression", "illumination", "makeup", "occlusion", "blur"]
    for subset, row in table.items():
        column = list(table).index(subset) - 1
        members = [column < 0 or bool(sample["subsets"][column]) for sample in samples]
        assert int(row["faces"]) == sum(members)
        for prefix, errors in (("", model[members]), ("mean_shape_", shape[members])):
            assert float(row[f"{prefix}nme"]) == pytest.approx(errors.mean(), abs=1e-3)
            assert float(row[f"{prefix}fr10"]) == pytest.approx(100 * (errors > 10).mean(), abs=1e-3)
            assert float(row[f"{prefix}auc10"]) == pytest.approx(np.maximum(0, 1 - errors / 10).mean(), abs=1e-3)
    assert table["full"]["normalizer"] == "inter-ocular"
    assert table["full"]["box"] == "landmarks-1.2"


def test_each_face_has_its_error_and_its_line(folder, evaluated):
    samples, found, _ = evaluated
    faces = rows(folder / "runs/run/test/wflw_faces.csv")
    assert sorted(int(face["index"]) for face in faces) == list(range(14))
    values = [float(face["nme"]) for face in faces]
    assert values == sorted(values, reverse=True)
    for face in faces:
        index = int(face["index"])
        assert float(face["nme"]) == pytest.approx(error(found[index], samples[index]), abs=1e-3)
        assert face["annotation"].endswith(f"list_98pt_rect_attr_test.txt: line {index + 1}")


def test_predictions_are_in_pixels_of_the_original_image(folder, evaluated):
    samples, found, _ = evaluated
    table = rows(folder / "runs/run/predictions/wflw.csv")
    assert [int(row["index"]) for row in table] == list(range(14))
    for row, sample, points in zip(table, samples, found, strict=True):
        affine = sample["crop"].numpy()
        expected = points @ affine[:, :2].T + affine[:, 2]
        got = [[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(98)]
        assert np.allclose(got, expected, atol=2e-3)
        assert row["file"].endswith(".jpg")


def test_the_drawing_holds_every_face_of_a_small_set(folder):
    image = Image.open(folder / "runs/run/test/wflw_overlays.png")
    assert image.size == (COLUMNS * SIDE, CAPTION + 4 * (SIDE + CAPTION))  # 14 faces, four a line


def test_two_processes_write_what_one_writes(folder, tmp_path):
    alone = folder / "runs/run"
    words = ("test", "--config", str(folder / "wflw.yaml"), "--ckpt_path", str(alone / "checkpoints/best.ckpt"))
    process = start(*words, "--runs", str(tmp_path), "--trainer.devices=2", "--trainer.strategy=ddp")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert output.count("NME inter-ocular") == 1  # one table
    for file in ("test/wflw.csv", "test/wflw_faces.csv"):
        for one, two in zip(rows(alone / file), rows(tmp_path / "run" / file), strict=True):
            for key, value in one.items():
                if key in ("image", "annotation", "subset", "normalizer", "box"):
                    assert two[key] == value
                else:
                    assert float(two[key]) == pytest.approx(float(value), abs=1e-3)


def test_truth_and_prediction_are_drawn_where_they_are():
    class Fixed(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, image):
            points = torch.tensor([[[20.0, 40.0], [20.0, 40.0]]]).expand(len(image), 2, 2)
            return LandmarkPrediction(points, torch.ones(len(image), 2))

    sample = {"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "landmarks": torch.tensor([[10.0, 8.0], [30.0, 8.0]])}
    sheet = np.asarray(draw_overlays(Fixed(), {5: sample}, {5: 1.25}, [(0, 1)]))
    scale = SIDE / 64

    def pixel(x, y):
        return tuple(sheet[CAPTION + round((y + 0.5) * scale - 0.5), round((x + 0.5) * scale - 0.5)].tolist())

    assert pixel(10, 8) == TRUTH
    assert max(np.abs(np.subtract(pixel(20, 8), TRUTH))) < 100  # on the edge between the two
    assert pixel(20, 40) == PREDICTION
    assert pixel(40, 40) == (0, 0, 0)


def test_the_worst_and_the_median_are_chosen():
    order = list(range(100, 0, -1))  # face 100 is the worst
    assert worst_and_median(order, 8) == [100, 99, 98, 97, 52, 51, 50, 49]
    assert worst_and_median([3, 2, 1], 8) == [3, 2, 1]
    assert worst_and_median(list(range(10)), 8) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_slug():
    assert slug("300-W common set (554)") == "300-w_common_set_554"
