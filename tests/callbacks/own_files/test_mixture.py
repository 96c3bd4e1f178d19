"""A run trained on a mixture predicts files at the size of its labelled part."""

import json
from pathlib import Path

import yaml

from callbacks.arguments import Arguments


def test_the_size_is_that_of_the_labelled_faces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labelled = {"class_path": "datamodules.synthetic.SyntheticFaces", "init_args": {"size": 96, "box": "landmarks-1.2"}}
    data = {"class_path": "datamodules.mixture.Mixture", "init_args": {"labelled": labelled}}
    Path("mixed.yaml").write_text(yaml.safe_dump({"model": {"class_path": "tests.tiny.Tiny"}, "data": data}))
    words = Arguments.read(["predict", "--config", "mixed.yaml", "--data.path", "mine"]).words()
    given = [json.loads(word.removeprefix("--config=")) for word in words if word.startswith('--config={"data"')]
    assert given == [{"data": labelled}, {"data": {"class_path": "datamodules.own_files.OwnFiles"}}]
