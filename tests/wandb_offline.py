"""What an offline run of W&B holds, read back by its own tool."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path


def parts(run):
    """The folders of W&B in a run's folder, one for each time that it was begun or gone on with, in order."""
    return sorted(Path(run, "wandb").glob("offline-run-*"))


@cache
def records(folder):
    """What one of them holds, by kind, once it is finished."""
    tool = Path(sys.executable).with_name("wandb")
    (file,) = folder.glob("run-*.wandb")
    read = subprocess.run([tool, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    found = {}
    for line in read.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def summary(folder):
    """The last value of each key of the summary."""
    last = {}
    for record in records(folder)["summary"]:
        last |= record["update"]
    return last


def history(folder, *names):
    """The rows that have all of these, as tuples."""
    rows = [row["item"] for row in records(folder)["history"]]
    return [tuple(row[name] for name in names) for row in rows if all(name in row for name in names)]


def table(folder, key):
    """The columns and the rows of a table that was logged."""
    found = json.loads(Path(folder, "files", summary(folder)[f"{key}.path"]).read_text())
    return found["columns"], found["data"]
