"""What is tested otherwise than it was trained is told, and has results of its own."""

import json

import pytest
import torch
import yaml

from callbacks.report.page import write_report
from callbacks.report.run import Like, Measurement
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder
from callbacks.trained_settings import result_changes
from tests.drawn_faces import write_wflw
from tests.experiment import run
from tests.reported_run import describe, shown
from tests.tiny import Tiny

STEM = "wflw_landmarks-1.2"


class Shifted(Tiny):
    """Has an option that changes predictions, not weights."""

    def __init__(self, num_landmarks: int, shift: float = 0.0, lr: float = 1e-2) -> None:
        super().__init__(num_landmarks, lr=lr)
        self.shift = shift

    def forward(self, image):
        found = super().forward(image)
        return found._replace(landmarks=found.landmarks + self.shift)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, tested and predicted."""
    folder = tmp_path_factory.mktemp("trained")
    root = str(write_wflw(folder / "faces", train=12, test=4))
    data = {"root": root, "size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.3}
    config = {
        "name": "run",
        "model": {"class_path": "tests.callbacks.test_trained_settings.Shifted", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": data},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "run.yaml")
        run("test", "--name", "run")
        run("predict", "--name", "run")
    return folder


def written(folder):
    return {
        path: path.read_bytes() for part in ("test", "predictions") for path in (folder / "runs/run" / part).iterdir()
    }


def test_an_option_that_changes_the_result_is_in_its_name_and_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = written(folder)
    for subcommand in ("test", "predict"):
        run(subcommand, "--name", "run", "--model.init_args.shift=3")
    assert {path: path.read_bytes() for path in before} == before
    new = {path.name for path in written(folder).keys() - before.keys()}
    assert {f"{STEM}_shift_3.0.csv", f"{STEM}_shift_3.0.json", f"{STEM}_shift_3.0_faces.csv"} < new
    assert (folder / f"runs/run/predictions/{STEM}_shift_3.0.csv").is_file()
    about = json.loads((folder / f"runs/run/test/{STEM}_shift_3.0.json").read_text())
    assert about["changed"] == {"model.shift": {"trained": 0.0, "tested": 3.0}}
    assert json.loads((folder / f"runs/run/test/{STEM}.json").read_text())["changed"] == {}
    assert "run on WFLW: NME inter-ocular, box landmarks-1.2, shift 3.0" in " ".join(capsys.readouterr().out.split())
    page = shown(folder / "runs/run")
    assert page.count("Tested with shift 3.0 (trained: 0.0).") == 1
    assert page.count("WFLW (shift 3.0)") == 1  # in the table of all tests


def test_options_of_training_and_loading_name_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = written(folder).keys()
    options = ("lr=1", "batch_size=2", "seed=5", "validation_fraction=0.4", "augmentation.scale=0.5", "cache=crops")
    words = [f"--{'model' if option == 'lr=1' else 'data'}.init_args.{option}" for option in options]
    run("test", "--name", "run", *words)
    assert written(folder).keys() == names


def test_another_folder_of_the_same_data_is_in_the_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    names = written(folder).keys()
    for root in (tmp_path / "faces", tmp_path / "Other faces"):  # the first is the same folder on another disk
        run("test", "--name", "run", f"--data.init_args.root={write_wflw(root, train=2, test=3)}")
    added = {path.name for path in written(folder).keys() - names}
    assert f"{STEM}_root_other_faces.csv" in added
    assert all("_root_other_faces" in name for name in added)


def test_another_box_than_the_trained_one_is_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for subcommand in ("test", "validate"):
        run(subcommand, "--name", "run")
        assert "note: " not in capsys.readouterr().err
        run(subcommand, "--name", "run", "--data.init_args.box=provided-1.2")
        told = "checkpoints/best.ckpt was trained with box landmarks-1.2, data.init_args.box is provided-1.2"
        assert told in capsys.readouterr().err


def test_a_change_that_is_damaged_is_told_by_the_report(folder, monkeypatch):
    file = folder / f"runs/run/test/{STEM}.json"
    whole = file.read_text()
    describe(file, changed={"model.shift": 3})
    text = write_report(folder / "runs/run").read_text()
    file.write_text(whole)
    assert "changed: model.shift is 3, expected two values, as test writes them" in text


WFLW = {"class_path": "datamodules.wflw.WFLW", "init_args": {"root": "/a/WFLW", "box": None, "batch_size": 16}}
FACES = "datamodules.synthetic.SyntheticFaces"
OPTIONS = {"evaluation_iterations": 10, "lr": 1e-3, "solver": {"class_path": "x.Anderson", "init_args": {"memory": 5}}}


def synthetic(**options):
    return {"class_path": FACES, "init_args": {"num_train": 10_000, "num_test": 1_000, "faces_seed": 0, **options}}


def mixture(labelled):
    return {"class_path": "datamodules.mixture.Mixture", "init_args": {"labelled": labelled, "unlabelled": [WFLW]}}


@pytest.mark.parametrize(
    ("trained", "model", "data", "changed", "name"),
    [
        (WFLW, {}, WFLW, {}, ""),
        (WFLW, {"evaluation_iterations": 1}, WFLW, {"model.evaluation_iterations": (10, 1)}, "evaluation_iterations_1"),
        (
            WFLW,
            {"solver": {"class_path": "x.y.Broyden", "init_args": {"memory": 5}}},
            WFLW,
            {"model.solver": ("x.Anderson", "x.y.Broyden")},
            "solver_broyden",
        ),
        (
            WFLW,
            {"solver": {"class_path": "x.Anderson", "init_args": {"memory": 3}}},
            WFLW,
            {"model.solver.memory": (5, 3)},
            "solver.memory_3",
        ),
        (WFLW, {"early_epochs": 7, "lr": 1.0}, WFLW, {}, ""),
        (synthetic(num_test=9), {}, synthetic(num_test=9), {}, ""),
        (synthetic(num_test=9), {}, synthetic(), {"data.num_test": (9, 1000)}, "num_test_1000"),
        (synthetic(), {}, synthetic(num_train=3, seed=2), {}, ""),
        (mixture(synthetic()), {}, synthetic(num_test=5), {"data.num_test": (1000, 5)}, "num_test_5"),
        (mixture(WFLW), {}, WFLW, {}, ""),
        (
            synthetic(domain="photo"),
            {},
            synthetic(domain="infrared", faces_seed=1),
            {"data.faces_seed": (0, 1)},
            "faces_seed_1",
        ),
    ],
)
def test_what_changes_a_result_is_found(trained, model, data, changed, name, tmp_path):
    expected = {key: {"trained": before, "tested": now} for key, (before, now) in changed.items()}
    assert found(trained, model, data, tmp_path) == expected
    assert stem(tmp_path, expected) == "_".join(["generated_faces_photo_landmarks-1.2", *([name] if name else [])])


def test_data_of_another_class_is_compared_with_its_defaults(tmp_path):
    changed = {"data.num_test": {"default": 1000, "tested": 50}, "data.faces_seed": {"default": 0, "tested": 2}}
    assert found(WFLW, {}, synthetic(num_test=50, faces_seed=2), tmp_path) == changed
    assert found(WFLW, {}, synthetic(), tmp_path) == {}
    assert found(synthetic(), {}, WFLW, tmp_path) == {}  # a root has no default; the title tells the data
    (tmp_path / "config.yaml").unlink()  # of a checkpoint that lies in no run
    assert (
        result_changes(tmp_path / "checkpoints/best.ckpt", settings({}, synthetic(num_test=50, faces_seed=2)))
        == changed
    )


def test_what_the_title_tells_is_not_named_twice(tmp_path):
    def told(option, value, title):
        return stem(tmp_path, {f"data.{option}": {"trained": "", "tested": value}}, title)

    assert told("test", "challenge.csv", "faces challenge") == "faces_challenge_landmarks-1.2"
    assert told("test", "b/challenge.csv", "faces challenge") == "faces_challenge_landmarks-1.2_test_b_challenge"
    assert told("root", "/data/faces", "faces challenge") == "faces_challenge_landmarks-1.2"
    assert told("root", "/data/face", "faces challenge") == "faces_challenge_landmarks-1.2_root_face"


def test_a_long_name_is_a_digest_that_differs(tmp_path):
    def of(last):
        return stem(tmp_path, {f"data.option_{i}": {"trained": 0, "tested": i or last} for i in range(20)})

    assert of(100) == of(100) != of(101)
    assert len(of(100)) < 80


def settings(model, data):
    return {"model": {"class_path": "tests.tiny.Tiny", "init_args": {**OPTIONS, **model}}, "data": data}


def found(trained, model, data, folder):
    (folder / "checkpoints").mkdir(exist_ok=True)
    stored = {"_class_path": "tests.tiny.Tiny", "_instantiator": "x", **OPTIONS}
    torch.save({"state_dict": {}, "hyper_parameters": stored}, folder / "checkpoints/best.ckpt")
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": trained}))
    return result_changes(folder / "checkpoints/best.ckpt", settings(model, data))


def stem(folder, changed, title="generated faces (photo)"):
    class Data:
        measured_on, box, default_normalizer, size = title, "landmarks-1.2", "inter-ocular", 32

    return result_stem(RunFolder(folder), Data(), None, 32, changed)


def test_other_data_is_not_compared_but_another_model_is():
    def of(**changed):
        values = {key.replace("_", ".", 1): {"trained": 0, "tested": 1} for key in changed}
        row = {"box": "image", "normalizer": "box-size", "faces": 5}
        about = {"data": "faces", "changed": values}
        return Measurement("x", [row], about, [], [], [], None, "", "", ())

    assert of(model_shift=1).like == of().like
    assert of(data_faces_seed=1).like == Like("faces, faces_seed 1", "image", "box-size", 5)
    assert of(model_shift=1, data_faces_seed=1).variant == "shift 1, faces_seed 1"
