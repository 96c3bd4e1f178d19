"""Configs of data over another config, and protocols: configs/data/*_to_*.yaml measure a trained run on drawn data."""

import csv
import importlib
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import Trainer

from callbacks.arguments import CONFIGS
from datamodules.markup_maps import find_map
from tests.drawn_faces import write_csv, write_wflw
from tests.drawn_matlab import write_aflw, write_cofw68
from tests.drawn_videos import write_w300vw
from tests.experiment import run

PROTOCOLS = {  # trained markup, markup compared in, eye corners of its normaliser, writer, file of results
    "300w_to_wflw": ("ibug-68", "aflw-17", (6, 9), write_wflw, "wflw_aflw-17_landmarks-1.25"),
    "300w_to_wflw68": ("ibug-68", "ibug-68", (36, 45), write_wflw, "wflw_ibug-68_provided-1.2-lowered-0.1"),
    "300w_to_cofw68": ("ibug-68", "ibug-68", (36, 45), write_cofw68, "cofw-68_provided-1.3"),
    "300w_to_300vw": ("ibug-68", "ibug-68", (36, 45), write_w300vw, "300vw_landmarks-1.25"),
    "wflw_to_300vw": ("wflw-98", "aflw-17", (6, 9), write_w300vw, "300vw_aflw-17_landmarks-1.25"),
    "cofw_to_aflw": ("cofw-29", "aflw-19", None, write_aflw, "aflw_landmarks-1.25"),
}
SUBSETS = {
    write_wflw: ["pose", "expression", "illumination", "makeup", "occlusion", "blur"],
    write_cofw68: [],
    write_w300vw: ["scenario 1", "scenario 2", "scenario 3"],
    write_aflw: ["frontal"],
}
LANDMARKS = {"ibug-68": 68, "wflw-98": 98, "cofw-29": 29}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of a small network, each named after the markup of the faces that it was trained on for a step."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for markup, count in LANDMARKS.items():
            root = write_csv(folder / markup, train=8, test=1, landmarks=count)
            (folder / f"{markup}.yaml").write_text(
                f"model: {{class_path: tests.tiny.Tiny, init_args: {{num_landmarks: {count}}}}}\n"
                "data: {class_path: datamodules.csv_landmarks.CSVLandmarks, init_args: "
                f"{{root: {root}, markup: {markup}, size: 32, batch_size: 4, num_workers: 0, validation_fraction: 0.4, "
                "normalizer: box-size}}\n"
                "trainer: {max_steps: 1, max_epochs: 1, accelerator: cpu}\n"
            )
            run("fit", "--config", f"{markup}.yaml")
    return folder


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_measures_the_run_on_the_other_data(name, trained, tmp_path, monkeypatch):
    source, target, corners, write, stem = PROTOCOLS[name]
    monkeypatch.setattr("datamodules.aflw.TRAINING_FACES", 12)  # of the 20 drawn faces
    monkeypatch.chdir(trained)
    write(tmp_path)
    cli = run("test", "--name", source, "--config", f"data/{name}.yaml", f"--data.init_args.root={tmp_path}")
    assert cli.datamodule.size == 32  # the run's, as are its batches
    assert cli.datamodule.batch_size == 4
    errors, module = [], cli.model.eval()
    for batch in cli.datamodule.predict_dataloader():  # of videos, single frames
        with torch.inference_mode():
            found = module(batch["image"]).landmarks.double().numpy()
        found = found if source == target else find_map(source, target).points(found)
        truth = batch["landmarks"].double().numpy()
        if corners:
            norm = np.linalg.norm(truth[:, corners[0]] - truth[:, corners[1]], axis=1)
        else:  # AFLW's drawn rectangles are 60 x 50 pixels of the image
            norm = 60 / batch["crop"][:, 0, 0].double().numpy()
        errors += (100 * np.linalg.norm(found - truth, axis=2).mean(axis=1) / norm).tolist()
    with Path(f"runs/{source}/test/{stem}.csv").open(newline="") as file:
        table = {row["subset"]: row for row in csv.DictReader(file)}
    assert list(table) == ["full", *SUBSETS[write]]
    assert float(table["full"]["nme"]) == pytest.approx(np.mean(errors), rel=1e-4)
    assert int(table["full"]["faces"]) == len(errors) > 3
    assert table["full"]["normalizer"] == ("inter-ocular" if corners else "provided-box")
    assert table["full"]["box"] == cli.datamodule.box


def test_every_protocol_is_measured_and_says_its_paper_and_command():
    paths = sorted(CONFIGS.glob("data/*_to_*.yaml"))
    assert [path.stem for path in paths] == sorted(PROTOCOLS)
    for path in paths:
        text = path.read_text()
        assert f"#   python cli.py test --name RUN --config data/{path.name}\n" in text
        assert "arXiv:2003.03771" in text if "68" in path.stem else "arXiv:1911.10572" in text
        assert "Published" in text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")), ids=lambda path: path.stem)
def test_data_says_what_a_config_below_it_may_say_otherwise(path):
    """An option of the config below stays where the class of this data has it too."""
    data = yaml.safe_load(path.read_text())
    module, _, name = data["class_path"].rpartition(".")
    options = ArgumentParser().add_class_arguments(getattr(importlib.import_module(module), name))
    expected = {"root", "box", "normalizer", "convert_to", "boxes", "labelled", "unlabelled", "ratio"} & set(options)
    assert expected & {"box", "labelled"}
    assert expected <= data["init_args"].keys()
    assert "size" not in data["init_args"]  # that of the config below: a network is tested at the size of its training


@pytest.mark.parametrize(
    ("name", "box", "normalizer", "markup"),
    [
        ("wflw", "landmarks-1.2", "inter-ocular", "wflw-98"),
        ("wflw_cropped", "image", "inter-ocular", "wflw-98"),
        ("synthetic", "provided-1.2", "inter-ocular", "wflw-98"),
        ("synthetic_videos", "provided-1.2", "inter-ocular", "wflw-98"),
        ("300w_to_wflw", "landmarks-1.25", "inter-ocular", "aflw-17"),
        ("bbc_pose", "provided-1.0", "crop-size", "bbc-7"),
        ("cat_head", "landmarks-1.5", "inter-ocular", "cat-7"),
        ("menpo2d_profile", "landmarks-1.25", "box-diagonal", "menpo-39"),
        ("w300vw", "landmarks-1.25", "inter-ocular", "ibug-68"),
        ("celeba", "celeba-imm", "inter-ocular", "celeba-5"),
    ],
)
def test_nothing_of_the_config_below_is_left(name, box, normalizer, markup, tmp_path, monkeypatch):
    """The data as the command line makes it, over a config of another box, normaliser and markup."""
    made = []
    record = wraps(Trainer.fit)(lambda trainer, model, datamodule, **_: made.append(datamodule))
    monkeypatch.setattr(Trainer, "fit", record)
    monkeypatch.chdir(tmp_path)
    below = {"root": "faces", "size": 96, "box": "landmarks-1.3", "normalizer": "box-size", "convert_to": "ibug-68"}
    config = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 68}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": below},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("below.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "below.yaml", "--config", f"data/{name}.yaml")
    assert [(data.box, data.normalizer, data.markup.name) for data in made] == [(box, normalizer, markup)]
    assert made[0].size == 96
