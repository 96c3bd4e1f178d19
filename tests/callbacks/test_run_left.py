"""What a start of a run that cannot train leaves behind."""

import pytest
import yaml

from tests.drawn_faces import write_wflw
from tests.experiment import run


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {
        "root": str(write_wflw(tmp_path / "faces", train=30, test=2)),
        "size": 32,
        "batch_size": 2,
        "num_workers": 0,
    }
    content = {
        "name": "left",
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": data},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    (tmp_path / "left.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_a_mistake_before_the_first_step_leaves_the_name_free(config, monkeypatch):
    def broken(self, batch, batch_idx):
        raise ValueError("images are of another size")

    with monkeypatch.context() as patch:
        patch.setattr("tests.tiny.Tiny.training_step", broken)
        with pytest.raises((ValueError, SystemExit)):
            run("fit", "--config", "left.yaml")
    assert not (config / "runs/left/config.yaml").exists()
    run("fit", "--config", "left.yaml")  # the same command again, mended
    assert (config / "runs/left/checkpoints/best.ckpt").is_file()


def test_a_mistake_when_resumed_leaves_the_run_alone(config, monkeypatch):
    run("fit", "--config", "left.yaml")
    before = (config / "runs/left/metrics.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("tests.tiny.Tiny.on_train_start", lambda self: 1 / 0)
        with pytest.raises((ZeroDivisionError, SystemExit)):
            run("fit", "--name", "left", "--resume", "--trainer.max_epochs=2")
    assert (config / "runs/left/config.yaml").is_file()
    assert (config / "runs/left/metrics.csv").read_text() == before


def test_a_finished_run_is_not_told_of_options_that_train_nothing(config, capsys):
    run("fit", "--config", "left.yaml")
    before = (config / "runs/left/config.yaml").read_text()
    with pytest.raises(SystemExit):
        run("fit", "--name", "left", "--resume", "--data.init_args.size=64")
    assert "has done 1 of 1 epochs, so data.init_args.size: 32 -> 64 would train nothing" in capsys.readouterr().err
    assert (config / "runs/left/config.yaml").read_text() == before
    run("fit", "--name", "left", "--resume")  # nothing to do is no mistake: a job may be started again
