"""The options of the datamodules: those of `LandmarkDataModule` reach a config by way of each class's ``**options``."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from datamodules.csv_landmarks import CSVLandmarks
from datamodules.landmark_data import LandmarkDataModule
from datamodules.synthetic import SyntheticFaces
from datamodules.unlabeled import UnlabeledFaces
from datamodules.w300vw import W300VW
from datamodules.wflw import WFLW
from tests.experiment import run, write_experiment

SHARED = {  # and their defaults
    name: parameter.default
    for name, parameter in inspect.signature(LandmarkDataModule.__init__).parameters.items()
    if name not in ("self", "markup")
}
OF_LANDMARKS = {"normalizer", "validation_fraction", "convert_to", "perturbation"}
OWN = {
    "csv_landmarks.CSVLandmarks": {"root", "markup", "train", "test"},
    "synthetic.SyntheticFaces": {"num_train", "num_test", "domain", "faces_seed"},
    "synthetic_videos.SyntheticVideos": {"num_train", "num_test", "frames", "every", "domain", "faces_seed", "ranking"},
    "unlabeled.UnlabeledFaces": {"root", "boxes"},
    "w300vw.W300VW": {"root", "every"},
    "w300vw.W300VWAllFrames": {"root", "every"},
    "wflw_v.WFLWV": {"root", "every"},
    "wflw.WFLW": {"root"},
    "celeba.MAFL": {"root"},
    "cofw.COFW68": {"root"},
    "bbc_pose.BBCPose": {"root"},
}
WITHOUT = {
    "synthetic_videos.SyntheticVideos": {"cache"},
    "unlabeled.UnlabeledFaces": OF_LANDMARKS,
    "w300vw.W300VW": {"cache"},
    "w300vw.W300VWAllFrames": {"cache"},
    "wflw_v.WFLWV": {"cache"},
}
OTHERWISE = {
    (name, key): value
    for name in ("synthetic.SyntheticFaces", "synthetic_videos.SyntheticVideos")
    for key, value in {"size": 128, "box": "provided-1.2"}.items()
}


def options(name):
    """The options of a class as a config has them."""
    module, _, kind = name.rpartition(".")
    parser = ArgumentParser()
    parser.add_class_arguments(getattr(import_module(f"datamodules.{module}"), kind))
    return {action.dest: action for action in parser._actions if action.dest in {*SHARED, *OWN[name]}}


@pytest.mark.parametrize("name", OWN)
def test_a_config_has_the_shared_options_with_their_defaults_and_words(name):
    found = options(name)
    assert found.keys() == OWN[name] | SHARED.keys() - WITHOUT.get(name, set())
    for key, action in found.items():
        assert action.help, key
        if key in SHARED:
            assert action.default == OTHERWISE.get((name, key), SHARED[key]), key


def test_help_shows_what_a_dataset_says_of_its_box():
    for name, words in {
        "wflw.WFLW": "``provided-1.2`` is the rectangle of the lists",
        "w300vw.W300VW": "there are none from a detector",
        "synthetic.SyntheticFaces": "a loose rectangle round the landmarks",
        "synthetic_videos.SyntheticVideos": "trembles, as a detector's does",
        "csv_landmarks.CSVLandmarks": "``usual_box`` of the class",
    }.items():
        assert words in " ".join(options(name)["box"].help.split())


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda **options: CSVLandmarks("own", "wflw-98", **options), {"batch_sise": 4}),
        (lambda **options: WFLW("WFLW", **options), {"batch_sise": 4}),
        (lambda **options: WFLW("WFLW", **options), {"markup": "wflw-98"}),
        (lambda **options: SyntheticFaces(**options), {"sise": 64}),
        (lambda **options: W300VW("300VW", **options), {"evry": 5}),
        (lambda **options: W300VW("300VW", **options), {"cache": "fast"}),
        (lambda **options: UnlabeledFaces("photos", **options), {"normalizer": "inter-ocular"}),
        (lambda **options: UnlabeledFaces("photos", **options), {"convert_to": None}),
    ],
)
def test_an_option_that_is_not_there_is_refused_in_python(make, option):
    with pytest.raises(TypeError, match=f"'{next(iter(option))}'"):
        make(**option)


MISTAKES = {  # config of data, option -> sentence
    ("wflw", "--data.batch_sise=4"): (
        "datamodules.wflw.WFLW has no option 'batch_sise'; did you mean --data.init_args.batch_size?"
    ),
    ("wflw", "--data.batch_size=many"): "data.init_args.batch_size is 'many', expected int",
    ("wflw", "--data.size=0"): "data.init_args.size is 0, expected at least 1",
    ("wflw", "--data.markup=wflw-98"): "datamodules.wflw.WFLW has no option 'markup'",
    ("wflw", "--data.options=3"): "datamodules.wflw.WFLW has no option 'options'",
    ("w300vw", "--data.cache=fast"): "datamodules.w300vw.W300VW has no option 'cache'",
    ("w300vw", "--data.evry=5"): (
        "datamodules.w300vw.W300VW has no option 'evry'; did you mean --data.init_args.every?"
    ),
    ("unlabeled", "--data.convert_to=ibug-68"): "datamodules.unlabeled.UnlabeledFaces has no option 'convert_to'",
}


@pytest.mark.parametrize(("data", "option"), MISTAKES)
def test_a_wrong_option_of_the_command_line_is_a_sentence(data, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    with pytest.raises(SystemExit):
        run("fit", "--config", "tiny.yaml", "--config", f"data/{data}.yaml", option)
    assert capsys.readouterr().err == f"error: {MISTAKES[data, option]}\n"


def test_a_run_keeps_every_option_and_is_resumed_with_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=1)
    run("fit", "--config", "tiny.yaml", "--data.seed", "3", "--data.augmentation.rotation", "5")
    kept = yaml.safe_load(Path("runs/tiny/config.yaml").read_text())["data"]["init_args"]
    assert kept.keys() == options("csv_landmarks.CSVLandmarks").keys()
    assert (kept["seed"], kept["normalizer"], kept["num_workers"], kept["size"]) == (3, None, 0, 32)
    assert kept["augmentation"]["rotation"] == 5
    capsys.readouterr()
    resumed = run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs", "2")
    assert (resumed.datamodule.seed, resumed.datamodule.augmentation.rotation) == (3, 5)
    assert resumed.trainer.current_epoch == 2
    assert "data.init_args" not in capsys.readouterr().err  # nothing differs
