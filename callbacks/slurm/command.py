"""``python cli.py submit``: a training as a job of Slurm."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from callbacks.arguments import Arguments, Option, UsageError, group_options, has_begun, option_key
from callbacks.run_folder import note
from callbacks.slurm.script import batch_script

CLI = Path(__file__).resolve().parents[2] / "cli.py"
USAGE = """usage: python cli.py submit --config NAME [--nodes N] [--gpus M] [--seeds 0-4] [--dry-run] [--option VALUE]

Trains on N nodes with M GPUs each, a process a GPU, as a job of Slurm. The job saves the training two minutes before
its time is over, is queued again, and goes on; what is preempted goes on too. All other options are those of fit, and
are checked before anything is queued.

  --nodes N           nodes (default 1)
  --gpus M            GPUs of each node (default 1); 0 trains on CPUs
  --processes P       processes on each node (default: one a GPU)
  --cpus C            cores of each process (default 8): its share in loading, data.init_args.num_workers and one
  --time T            limit of the job, as Slurm takes it (default 24:00:00)
  --seeds 0-4         an array of jobs, one a seed: runs NAME-seed0, NAME-seed1 ...; also 1,5,7
  --sbatch KEY=VALUE  any other option of sbatch, such as partition=gpu account=mine constraint=h100
  --dry-run           print the script and end
  --resume            go on with a run that exists

The script is configs/slurm/train.sbatch with its lines filled in."""
OWN = ("--nodes", "--gpus", "--processes", "--cpus", "--time", "--seeds", "--sbatch", "--dry-run")
SEEDS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*(%\d+)?")


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``submit``.

    Raises:
        UsageError: one sentence for a mistake.
    """
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return
    own, fit = _sorted(words)
    resume = ("--resume",) in fit or ("--resume", "auto") in fit
    fit = [option for option in fit if option_key(option) != "--resume"]
    typed = [word for option in fit for word in option]
    arguments = Arguments.read(["fit", *typed])
    runs = _runs(arguments, own)
    for folder in runs:
        if has_begun(folder) and not resume:
            raise UsageError(f"run {folder} exists; add --resume to go on with it, or choose another --name")
    script = batch_script(_options(own, arguments), _words(typed, arguments, own), sys.executable, CLI)
    if "--dry-run" in own:
        print(script, end="")
        return
    if not (sbatch := shutil.which("sbatch")):
        raise UsageError("sbatch is not found: this is no node of Slurm; --dry-run prints the script to submit there")
    _check(typed)
    for folder in runs:
        folder.mkdir(parents=True, exist_ok=True)  # Slurm would not make it, and loses a log that has no folder
    done = subprocess.run([sbatch, "--parsable"], input=script, text=True, capture_output=True, check=False)  # noqa: S603 (words of ours)
    if done.returncode:
        raise UsageError(f"sbatch refuses the job: {' '.join(done.stderr.split())}")
    job = done.stdout.strip().partition(";")[0]
    logs = ", ".join(str(_log(folder)).replace("%j", "JOB" if "--seeds" in own else job) for folder in runs)
    note(f"job {job} trains {', '.join(folder.name for folder in runs)}; it writes to {logs}")


def _sorted(words: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], list[Option]]:
    """The command's own options with their values, and those of fit."""
    own: dict[str, tuple[str, ...]] = {}
    fit = []
    for option in group_options(words):
        key, _, value = option[0].partition("=")
        if key in OWN:
            own[key] = (*own.get(key, ()), *([value] if value else []), *option[1:])
        else:
            fit.append(option)
    return own, fit


def _number(own: dict[str, tuple[str, ...]], key: str, default: int, least: int) -> int:
    values = own.get(key, (str(default),))
    if len(values) != 1 or not values[0].isdigit() or int(values[0]) < least:
        raise UsageError(f"{key} is '{' '.join(values)}', expected a whole number from {least} on")
    return int(values[0])


def _options(own: dict[str, tuple[str, ...]], arguments: Arguments) -> dict[str, str | None]:
    """Those of sbatch."""
    gpus = _number(own, "--gpus", 1, 0)
    options: dict[str, str | None] = {
        "job-name": arguments.name,
        "nodes": str(_number(own, "--nodes", 1, 1)),
        "ntasks-per-node": str(_number(own, "--processes", max(gpus, 1), 1)),
        "cpus-per-task": str(_number(own, "--cpus", 8, 1)),
        "output": str(_log(arguments.runs / (f"{arguments.name}-seed%a" if "--seeds" in own else arguments.name))),
    }
    if gpus:
        options["gpus-per-node"] = str(gpus)
    if "--time" in own:
        options["time"] = " ".join(own["--time"])
    if "--seeds" in own:
        options["array"] = " ".join(own["--seeds"])
    for given in own.get("--sbatch", ()):
        key, equals, value = given.lstrip("-").partition("=")
        options[key] = value if equals else None
    return options


def _log(folder: Path) -> Path:
    return folder / "slurm-%j.out"


def _runs(arguments: Arguments, own: dict[str, tuple[str, ...]]) -> list[Path]:
    """The folders of the runs: one, or one a seed."""
    if "--seeds" not in own:
        return [arguments.folder]
    seeds = " ".join(own["--seeds"])
    if not SEEDS.fullmatch(seeds):
        raise UsageError(f"--seeds is '{seeds}', expected seeds as 0-4 or 1,5,7")
    numbers: list[int] = []
    for part in seeds.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return [arguments.runs / f"{arguments.name}-seed{number}" for number in numbers]


def _words(typed: Sequence[str], arguments: Arguments, own: dict[str, tuple[str, ...]]) -> list[str]:
    """The command line of fit in the script; in an array the script adds name and seed."""
    if "--seeds" in own:
        for option in group_options(typed):
            if option_key(option) == "--seed_everything":
                raise UsageError(f"{' '.join(option)} and --seeds both set the seed; give one of them")
        return [word for option in group_options(typed) if option_key(option) != "--name" for word in option]
    named = any(option_key(option) == "--name" for option in group_options(typed))
    return [*typed, *([] if named else ["--name", arguments.name])]


def _check(typed: Sequence[str]) -> None:
    """Let the full parser read the options, so that a misspelt one does not wait in the queue.

    Raises:
        UsageError: it is one.
    """
    command = [sys.executable, str(CLI), "fit", *typed, "--print_config"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)  # noqa: S603 (the words of this command)
    if done.returncode:
        told = done.stderr.strip().splitlines() or [
            f"checking the options ended with status {done.returncode}, silently"
        ]
        raise UsageError(told[-1].removeprefix("error: "))
