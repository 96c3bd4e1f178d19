"""The sweeps of W&B: every option that they set is one, at every value that they may set it to."""

import pytest
import yaml

from callbacks.arguments import CONFIGS, Arguments
from callbacks.checkpoints import MONITOR
from cli import main

SWEEPS = sorted((CONFIGS / "sweeps").glob("*.yaml"))


def ends(values):
    """The first and the last value of a parameter."""
    if "values" in values:
        return values["values"][0], values["values"][-1]
    return values["min"], values["max"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_sets_options_that_there_are(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": MONITOR, "goal": "minimize"}
    assert (sweep["program"], sweep["command"][:4]) == ("cli.py", ["${env}", "${interpreter}", "${program}", "fit"])
    assert sweep["command"][-1] == "${args}"
    words = sweep["command"][4:-1]
    assert f"wandb sweep configs/sweeps/{path.name}" in path.read_text()
    for end in (0, 1):
        options = [f"--{key}={ends(values)[end]}" for key, values in sweep["parameters"].items()]
        with pytest.raises(SystemExit) as ended:
            main(["fit", *words, *options, "--print_config"])
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        resolved = yaml.safe_load(said.out)
        for key, values in sweep["parameters"].items():
            value = resolved
            for part in key.split("."):
                value = value[part]
            assert value == ends(values)[end]


def test_each_training_of_a_sweep_is_a_run(monkeypatch):
    words = ["fit", "--config", "ldeq_wflw.yaml"]
    assert Arguments.read(words).name == "ldeq_wflw"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "x1y2")
    assert Arguments.read(words).name == "ldeq_wflw-x1y2"
    assert Arguments.read(["test", *words[1:]]).name == "ldeq_wflw"
