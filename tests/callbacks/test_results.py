"""The results of ``test``: the table's numbers, each face's error, the drawings; and the predictions of ``predict``."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from callbacks.overlays import PREDICTION, TRUTH, Drawn, best_median_worst, draw_overlays
from callbacks.result_meaning import normalizer_meaning
from callbacks.result_names import result_stem, slug
from callbacks.run_folder import RunFolder
from datamodules.markup import IBUG_68, MARKUPS
from datamodules.radius import Radius
from datamodules.wflw import WFLW
from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.drawing import CAPTION, COLUMNS, SIDE
from tests.drawn_faces import write_wflw
from tests.experiment import run
from tests.reported_run import shown


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A trained run on WFLW's format, whose test faces are in six subsets, tested and predicted; and its test."""
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
        cli = run("test", "--config", "wflw.yaml")
        run("predict", "--config", "wflw.yaml")
    return folder, cli


@pytest.fixture(scope="module")
def folder(finished):
    return finished[0]


@pytest.fixture(scope="module")
def evaluated(finished):
    """Truth and prediction of each test face, computed without the callbacks: arrays of 14 rows."""
    _, cli = finished
    dataset, module = cli.datamodule.test_faces, cli.model.eval()
    samples = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        found = module(torch.stack([sample["image"] for sample in samples])).landmarks.numpy()
    return samples, found, module.mean_shape.numpy() * samples[0]["image"].shape[-1] - 0.5


def point_error(points, sample):
    distance = np.hypot(*(points - sample["landmarks"].numpy()).T)
    return 100 * distance / float(sample["norm"])


def error(points, sample):
    return point_error(points, sample).mean()


def point_variance(points, sample):
    return (100 * (points - sample["landmarks"].numpy()) / float(sample["norm"])).var(axis=0).sum()


def test_the_table_is_that_of_a_loop_over_the_faces(folder, evaluated):
    samples, found, mean = evaluated
    model = np.array([error(points, sample) for points, sample in zip(found, samples, strict=True)])
    shape = np.array([error(mean, sample) for sample in samples])
    table = {row["subset"]: row for row in rows(folder / "runs/run/test/wflw_landmarks-1.2.csv")}
    single = np.array([point_error(points, sample) for points, sample in zip(found, samples, strict=True)])
    variance = np.array([point_variance(points, sample) for points, sample in zip(found, samples, strict=True)])
    assert list(table) == ["full", "pose", "expression", "illumination", "makeup", "occlusion", "blur"]
    for subset, row in table.items():
        column = list(table).index(subset) - 1
        members = [column < 0 or bool(sample["subsets"][column]) for sample in samples]
        assert int(row["faces"]) == sum(members)
        assert float(row["point_var"]) == pytest.approx(variance[members].mean(), rel=1e-4)
        for at in (5, 8, 10, 15, 20):
            share = 100 * (single[members] > at).mean()
            assert float(row[f"fr{at:02}_landmarks"]) == pytest.approx(share, abs=1e-3)
        assert float(row["fr08"]) == pytest.approx(100 * (model[members] > 8).mean(), abs=1e-3)
        for prefix, errors in (("", model[members]), ("mean_shape_", shape[members])):
            assert float(row[f"{prefix}nme"]) == pytest.approx(errors.mean(), abs=1e-3)
            assert float(row[f"{prefix}fr10"]) == pytest.approx(100 * (errors > 10).mean(), abs=1e-3)
            assert float(row[f"{prefix}auc10"]) == pytest.approx(np.maximum(0, 1 - errors / 10).mean(), abs=1e-3)
    assert table["full"]["normalizer"] == "inter-ocular"
    assert table["full"]["box"] == "landmarks-1.2"


def test_the_curve_counts_faces(folder, evaluated):
    samples, found, mean = evaluated
    curve = rows(folder / "runs/run/test/wflw_landmarks-1.2_ced.csv")
    assert [float(row["threshold_percent"]) for row in curve] == pytest.approx(np.linspace(0, 30, 3001))
    for predictor, points in (("model", found), ("mean_shape", [mean] * len(samples))):
        nme = np.array([error(p, sample) for p, sample in zip(points, samples, strict=True)])
        for row in curve:
            threshold = float(row["threshold_percent"])
            low, high = (nme <= threshold - 1e-4).mean(), (nme <= threshold + 1e-4).mean()  # nme is float64 here
            assert low - 1e-6 <= float(row[predictor]) <= high + 1e-6
        assert float(curve[1000]["mean_shape"]) > 0


def test_the_curve_counts_landmarks(folder, evaluated):
    samples, found, mean = evaluated
    curve = rows(folder / "runs/run/test/wflw_landmarks-1.2_ced.csv")
    for column, points in (("model_landmarks", found), ("mean_shape_landmarks", [mean] * len(samples))):
        errors = np.concatenate([point_error(p, sample) for p, sample in zip(points, samples, strict=True)])
        for row in curve[::20]:
            threshold = float(row["threshold_percent"])
            low, high = (errors <= threshold - 1e-4).mean(), (errors <= threshold + 1e-4).mean()
            assert low - 1e-6 <= float(row[column]) <= high + 1e-6


def test_each_landmark_has_its_error_and_its_place(folder, evaluated):
    samples, found, mean = evaluated
    table = rows(folder / "runs/run/test/wflw_landmarks-1.2_landmarks.csv")
    assert [int(row["landmark"]) for row in table] == list(range(98))
    for prefix, points in (("", found), ("mean_shape_", [mean] * len(samples))):
        errors = np.stack([point_error(p, sample) for p, sample in zip(points, samples, strict=True)])
        assert [float(row[f"{prefix}nme"]) for row in table] == pytest.approx(errors.mean(axis=0), abs=1e-3)
        assert [float(row[f"{prefix}fr10"]) for row in table] == pytest.approx(
            100 * (errors > 10).mean(axis=0), abs=1e-3
        )
    places = [[float(row[axis]) for axis in "xy"] for row in table]
    assert np.allclose(places, (mean + 0.5) / 32, atol=1e-5)


def test_the_numbers_say_what_they_mean(folder, evaluated):
    samples, found, _ = evaluated
    about = json.loads((folder / "runs/run/test/wflw_landmarks-1.2.json").read_text())
    assert (about["data"], about["box"], about["normalizer"]) == ("WFLW", "landmarks-1.2", "inter-ocular")
    assert (about["faces"], about["faces_of_split"], about["size"]) == (14, 14, 32)
    assert about["box_used_by"] == "LDEQ, HIH and PFLD on WFLW"
    assert about["mean_normalizer"] == pytest.approx(np.mean([float(sample["norm"]) / 32 for sample in samples]))
    assert about["weights"] == "checkpoints/best.ckpt"
    assert about["method"] == {}
    with Image.open(folder / "runs/run/test/wflw_landmarks-1.2_overlays.png") as image:
        sheet = np.asarray(image)
    assert len(about["drawn"]) == 14
    for face in about["drawn"]:
        assert face["nme"] == pytest.approx(error(found[face["index"]], samples[face["index"]]), abs=1e-3)
        above = sheet[
            face["top"] - 1, face["left"] : face["left"] + SIDE
        ]  # the caption of the face above, or the legend
        assert (above == 24).all()


def test_every_normaliser_has_its_words():
    for markup in MARKUPS.values():
        for name in (*markup.normalizers, "box-size", "crop-size"):
            assert normalizer_meaning(markup, name)
    pupils = (
        "distance from the mean of landmarks 36, 37, 38, 39, 40, 41 to the mean of landmarks 42, 43, 44, 45, 46, 47"
    )
    assert normalizer_meaning(IBUG_68, "inter-pupil").startswith(pupils)


def test_each_face_has_its_error_and_its_line(folder, evaluated):
    samples, found, _ = evaluated
    faces = rows(folder / "runs/run/test/wflw_landmarks-1.2_faces.csv")
    assert sorted(int(face["index"]) for face in faces) == list(range(14))
    values = [float(face["nme"]) for face in faces]
    assert values == sorted(values, reverse=True)
    for face in faces:
        index = int(face["index"])
        assert float(face["nme"]) == pytest.approx(error(found[index], samples[index]), abs=1e-3)
        assert face["annotation"].endswith(f"list_98pt_rect_attr_test.txt: line {index + 1}")


def test_predictions_are_in_pixels_of_the_original_image(folder, evaluated):
    samples, found, _ = evaluated
    table = rows(folder / "runs/run/predictions/wflw_landmarks-1.2.csv")
    assert [int(row["index"]) for row in table] == list(range(14))
    for row, sample, points in zip(table, samples, found, strict=True):
        affine = sample["crop"].numpy()
        expected = points @ affine[:, :2].T + affine[:, 2]
        got = [[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(98)]
        assert np.allclose(got, expected, atol=2e-3)
        assert row["file"].endswith(".jpg")


def test_the_drawing_holds_every_face_of_a_small_set(folder):
    image = Image.open(folder / "runs/run/test/wflw_landmarks-1.2_overlays.png")
    assert image.size == (COLUMNS * SIDE, CAPTION + 4 * (SIDE + CAPTION))  # 14 faces, four a line


def test_truth_and_prediction_are_drawn_where_they_are():
    class Fixed(LandmarkModule):
        def forward(self, image):
            points = torch.tensor([[[20.0, 40.0], [20.0, 40.0]]]).expand(len(image), 2, 2)
            return LandmarkPrediction(points, torch.ones(len(image), 2))

    sample = {"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "landmarks": torch.tensor([[10.0, 8.0], [30.0, 8.0]])}
    sheet = np.asarray(draw_overlays(Fixed(2), {5: sample}, [Drawn(5, 1.25, "best")], [(0, 1)]))
    scale = SIDE / 64

    def pixel(x, y):
        return tuple(sheet[CAPTION + round((y + 0.5) * scale - 0.5), round((x + 0.5) * scale - 0.5)].tolist())

    assert pixel(10, 8) == TRUTH
    assert max(np.abs(np.subtract(pixel(20, 8), TRUTH))) < 100  # on the edge between the two
    assert pixel(20, 40) == PREDICTION
    assert pixel(40, 40) == (0, 0, 0)


@pytest.mark.parametrize(
    ("faces", "count", "best", "median", "worst"),
    [
        (100, 8, [0, 1], [49, 50], [99, 98, 97, 96]),
        (10, 8, [0, 1], [4, 5], [9, 8, 7, 6]),
        (9, 8, [0, 1], [3, 4], [8, 7, 6, 5]),
        (5, 8, [0], [1], [4, 3, 2]),
        (2, 8, [], [], [1, 0]),
    ],
)
def test_the_best_the_median_and_the_worst_are_chosen(faces, count, best, median, worst):
    nme = {7 * i % faces: 2.0 * (7 * i % faces) for i in range(faces)}  # in no order of their errors
    drawn = best_median_worst(nme, count)
    groups = {"best": best, "median": median, "worst": worst}
    assert drawn == [Drawn(index, 2.0 * index, group) for group, indices in groups.items() for index in indices]


class Data:
    measured_on, box, default_normalizer, size = "WFLW", "landmarks-1.2", "inter-ocular", 32


@pytest.mark.parametrize(
    ("checkpoint", "trained_at", "normalizer", "faces", "stem"),
    [
        ("run/checkpoints/best.ckpt", 32, "inter-ocular", None, "wflw_landmarks-1.2"),
        ("run/checkpoints/best.ckpt", 64, "inter-ocular", None, "wflw_landmarks-1.2_32_pixels"),
        ("run/checkpoints/best.ckpt", None, "inter-ocular", None, "wflw_landmarks-1.2_32_pixels"),
        ("run/checkpoints/last.ckpt", 32, "inter-ocular", None, "wflw_landmarks-1.2_last"),
        ("run/../run/checkpoints/best.ckpt", 32, "inter-pupil", None, "wflw_landmarks-1.2_inter-pupil"),
        ("run/checkpoints/last.ckpt", 64, "box-size", 8, "wflw_landmarks-1.2_32_pixels_box-size_last_8_faces"),
        ("other/checkpoints/best.ckpt", 32, "inter-ocular", None, "wflw_landmarks-1.2_other_checkpoints_best"),
        ("run/checkpoints/last.ckpt", 32, None, None, "wflw_landmarks-1.2_last"),
        (None, None, None, None, "wflw_landmarks-1.2_32_pixels"),
    ],
)
def test_a_name_holds_all_that_changes_a_result(tmp_path, checkpoint, trained_at, normalizer, faces, stem):
    path = str(tmp_path / checkpoint) if checkpoint else None
    (tmp_path / "run").mkdir()
    assert result_stem(RunFolder(tmp_path / "run"), Data(), path, trained_at, {}, normalizer, faces) == stem


def test_another_measurement_leaves_the_earlier_one(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    before = {path: path.read_bytes() for path in (folder / "runs/run/test").iterdir()}
    options = ("--data.init_args.box=provided-1.2", "--data.init_args.normalizer=box-size", "--ckpt_path=last")
    run("test", "--name", "run", *options)
    assert {path: path.read_bytes() for path in before} == before
    table = capsys.readouterr().out
    assert "landmarks %" in table
    assert "…" not in table  # every cell fits
    row = rows(folder / "runs/run/test/wflw_provided-1.2_box-size_last.csv")[0]
    assert (row["box"], row["normalizer"]) == ("provided-1.2", "box-size")


def test_a_part_of_the_faces_is_called_so(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run("test", "--name", "run", "--trainer.limit_test_batches=2")
    assert "8 of 14 faces" in " ".join(capsys.readouterr().out.split())
    assert len(rows(folder / "runs/run/test/wflw_landmarks-1.2_8_faces_faces.csv")) == 8
    run("predict", "--name", "run", "--trainer.limit_predict_batches=1")
    assert len(rows(folder / "runs/run/predictions/wflw_landmarks-1.2_4_faces.csv")) == 4


def test_another_input_size_than_the_trained_one_is_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run("test", "--name", "run")
    assert "was trained at" not in capsys.readouterr().err
    before = {path: path.read_bytes() for path in (folder / "runs/run/test").iterdir()}
    run("test", "--name", "run", "--data.init_args.size=48")
    assert "best.ckpt was trained at 32 pixels, data.init_args.size is 48" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads((folder / "runs/run/test/wflw_landmarks-1.2_48_pixels.json").read_text())["size"] == 48
    run("predict", "--name", "run", "--data.init_args.size=48")
    assert (folder / "runs/run/predictions/wflw_landmarks-1.2_48_pixels.csv").is_file()


def test_two_maps_with_one_target_have_results_of_their_own(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("ibug-68", "ibug-68-pipnet"):
        run("test", "--name", "run", f"--data.init_args.convert_to={name}")
    exact, literal = (
        rows(folder / f"runs/run/test/wflw_{name}_landmarks-1.2.csv")[0] for name in ("ibug-68", "ibug-68-pipnet")
    )
    assert exact["faces"] == literal["faces"] == "14"
    assert exact["nme"] != literal["nme"]


def test_the_share_within_each_radius_of_the_data_is_told(folder, evaluated, monkeypatch, capsys):
    samples, found, _ = evaluated
    monkeypatch.chdir(folder)
    monkeypatch.setattr(WFLW, "radii", (Radius(9), Radius(30, side=128)))
    run("test", "--name", "run", "--data.init_args.batch_size=5")
    distance = np.stack([np.hypot(*(p - s["landmarks"].numpy()).T) for p, s in zip(found, samples, strict=True)])
    scale = np.array([float(np.linalg.norm(sample["crop"][:, 0])) for sample in samples])  # image pixels in a pixel
    expected = {
        "9 pixels of the image": 100 * (distance * scale[:, None] <= 9).mean(axis=0),
        "30/128 of the crop's side": 100 * (distance <= 30 / 128 * 32).mean(axis=0),
    }
    within = json.loads((folder / "runs/run/test/wflw_landmarks-1.2.json").read_text())["within"]
    assert list(within) == list(expected)
    out, page = capsys.readouterr().out, shown(folder / "runs/run")
    for name, shares in expected.items():
        assert 0 < shares.mean() < 100
        assert within[name] == pytest.approx(shares, abs=1e-3)
        assert f"{shares.mean():.2f} % of landmarks within {name}" in out
        assert f"{name} {shares.mean():.2f} {shares[range(33)].mean():.2f}" in page


def test_slug():
    assert slug("300-W common set (554)") == "300-w_common_set_554"
