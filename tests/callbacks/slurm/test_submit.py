"""What ``submit`` hands to Slurm, without a Slurm."""

import os
import subprocess
from pathlib import Path

import pytest

from callbacks.arguments import UsageError
from callbacks.slurm import command
from callbacks.slurm.command import main as submit
from callbacks.slurm.job import job_plugins, job_size
from tests.experiment import write_experiment

TINY = ("--config", "tiny.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("SLURM_")]:
        monkeypatch.delenv(key)
    write_experiment(tmp_path)
    return tmp_path


def script(capsys, *words):
    submit([*TINY, *words, "--dry-run"])
    text = capsys.readouterr().out
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return text, dict(line.partition("=")[::2] for line in lines)


def test_the_size_stands_in_one_place(capsys):
    text, options = script(capsys, "--nodes", "2", "--gpus=4", "--cpus", "6", "--time", "2-00:00:00")
    assert {key: options[key] for key in ("nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task")} == {
        "nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4", "cpus-per-task": "6",
    }  # fmt: skip
    assert options["time"] == "2-00:00:00"
    assert options["output"] == "runs/tiny/slurm-%j.out"
    assert {"requeue", "signal"} <= options.keys()
    assert "trainer.devices" not in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_cpus_and_any_option_of_sbatch(capsys):
    _, options = script(capsys, "--gpus", "0", "--processes", "3", "--sbatch", "partition=long", "exclusive")
    assert "gpus-per-node" not in options
    assert (options["ntasks-per-node"], options["partition"], options["exclusive"]) == ("3", "long", "")


def test_words_reach_the_training_as_they_were_typed(capsys):
    text, _ = script(capsys, "--model.init_args.lr", "2e-3", "--name", "it's")
    (line,) = [line for line in text.splitlines() if " fit " in line]
    assert """--model.init_args.lr 2e-3 --name 'it'"'"'s' "${seed[@]}" --resume auto""" in line


def test_seeds_are_an_array(capsys):
    text, options = script(capsys, "--seeds", "0-2,7")
    assert options["array"] == "0-2,7"
    assert options["output"] == "runs/tiny-seed%a/slurm-%j.out"
    assert "--name tiny " not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--nodes", "0"), "--nodes is '0', expected a whole number from 1 on"),
        (("--gpus", "two"), "--gpus is 'two', expected a whole number from 0 on"),
        (("--seeds", "a"), "--seeds is 'a', expected seeds as 0-4 or 1,5,7"),
        (("--seeds", "1", "--seed_everything=3"), "--seed_everything=3 and --seeds both set the seed"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        submit([*TINY, *words, "--dry-run"])


def test_a_run_that_exists_is_not_mixed_with_another(capsys):
    Path("runs/tiny-seed1").mkdir(parents=True)
    Path("runs/tiny-seed1/config.yaml").touch()
    with pytest.raises(UsageError, match=r"run runs/tiny-seed1 exists; add --resume to go on with it"):
        submit([*TINY, "--seeds", "0-2", "--dry-run"])
    script(capsys, "--seeds", "0-2", "--resume")


def test_without_slurm_it_says_so(monkeypatch):
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="sbatch is not found: this is no node of Slurm; --dry-run prints the script"):
        submit(TINY)


def test_a_misspelt_option_is_not_queued(monkeypatch):
    monkeypatch.setattr(command.shutil, "which", lambda name: "/bin/false")
    with pytest.raises(UsageError, match="widht"):
        submit([*TINY, "--model.init_args.widht", "3"])
    assert not Path("runs").exists()


def test_a_trainer_takes_its_size_from_the_step(monkeypatch):
    assert (job_size(), job_plugins()) == ({}, [])
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert job_size() == {}
    assert [type(each).__name__ for each in job_plugins()] == ["LightningEnvironment"]  # a shell in an allocation
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    assert job_size() == {"num_nodes": 2, "devices": 4}
    (plugin,) = job_plugins()
    assert (type(plugin).__name__, plugin.auto_requeue) == ("SLURMEnvironment", False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "7")
    with pytest.raises(UsageError, match="srun started 7 processes on 2 nodes, expected as many on each"):
        job_size()
