"""Every config trains, resumes and tests on drawn or generated faces, through the command line."""

from pathlib import Path

import pytest
import torch

from callbacks.arguments import CONFIGS
from tests.drawn_faces import write_csv, write_wflw
from tests.experiment import run

SMALL = {
    "model.init_args.injection_width": 8,
    "model.init_args.width": 8,
    "model.init_args.width_step": 4,
    "model.init_args.early_epochs": 1,
    "model.init_args.num_landmarks": 98,
    "data.init_args.size": 64,
    "data.init_args.batch_size": 2,
    "data.init_args.num_workers": 0,
    "trainer.accelerator": "cpu",
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 1,
    "trainer.limit_test_batches": 2,
    "trainer.check_val_every_n_epoch": 1,
}


def data_options(name, folder):
    """The options that point a config at small data of the right kind."""
    if "wflw" in name:
        return {"data.init_args.root": write_wflw(folder / "data"), "data.init_args.validation_fraction": 0.4}
    if "300w" in name:
        return {"data.init_args.root": write_csv(folder / "data", train=12), "data.init_args.markup": "wflw-98"}
    return {"data.init_args.num_train": 60, "data.init_args.num_test": 4}


@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_config_trains_resumes_and_tests(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, **data_options(config, tmp_path)}
    options = [f"--{key}={value}" for key, value in settings.items()]
    first = run("fit", "--config", config, *options, "--trainer.max_epochs=1")
    assert first.trainer.global_step == 2
    name = Path(config).stem
    last = torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    again = run("fit", "--config", config, *options, "--trainer.max_epochs=2", "--resume")  # past the early gradient
    assert again.trainer.global_step == 4
    tested = run("test", "--config", config, *options)
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
    assert {path.suffix for path in Path(f"runs/{name}/test").iterdir()} == {".csv", ".json", ".png"}
