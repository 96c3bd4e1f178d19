"""A run that is not trained yet says how to train it, in a command that works as typed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from callbacks.arguments import UsageError
from callbacks.run_folder import RunFolder
from tests.experiment import run, write_experiment


def training_command(folder):
    """The words of the command that the sentence about missing weights names."""
    with pytest.raises(UsageError) as error:
        RunFolder(Path(folder)).weights("last")
    found = re.search(r"train it first with: (.*), or give another --name or --ckpt_path$", str(error.value))
    assert found, str(error.value)
    return shlex.split(found[1])


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("runs", ["runs", "my runs"])
def test_the_command_trains_the_run(started, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=1)
    if started:  # and stopped before its first checkpoint
        Path(runs, "tiny").mkdir(parents=True)
        shutil.copy("tiny.yaml", Path(runs, "tiny/config.yaml"))
        Path("tiny.yaml").unlink()
    python, script, *words = training_command(f"{runs}/tiny")
    assert (python, script) == ("python", "cli.py")
    run(*words)
    assert RunFolder(Path(runs, "tiny")).weights("last").is_file()


def test_a_config_that_is_not_known_is_left_to_fill_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert training_command("runs/new") == ["python", "cli.py", "fit", "--config", "CONFIG", "--name", "new"]
    assert training_command("runs/ldeq_wflw") == ["python", "cli.py", "fit", "--config", "ldeq_wflw.yaml"]
