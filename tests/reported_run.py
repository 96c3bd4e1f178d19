"""A run to report on, made by the real command line, and ways to change its files."""

import csv
import html
import json
import re
import shutil

import pytest
import yaml

from callbacks.report.page import write_report
from tests.drawn_faces import write_wflw
from tests.experiment import run
from tests.tiny import Tiny

STEM = "test/wflw_landmarks-1.2"


class Solving(Tiny):
    """A method that logs numbers of its own."""

    def training_step(self, batch, batch_idx):
        self.log("train/iterations", 7.0, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def on_test_epoch_end(self):
        super().on_test_epoch_end()
        self.log("test/worst_residual", 0.125)


def make_runs(folder):
    """``runs`` with the run ``tried``, fitted and tested; ``fitted`` is as it was between."""
    data = {"root": str(write_wflw(folder / "faces", train=24, test=14)), "size": 32, "batch_size": 4}
    config = {
        "name": "tried",
        "model": {"class_path": "tests.reported_run.Solving", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.wflw.WFLW", "init_args": {**data, "num_workers": 0}},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1},
    }
    (folder / "tried.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "tried.yaml")
        shutil.copytree("runs/tried", "runs/fitted")
        run("test", "--name", "tried")
    return folder / "runs"


def page(folder):
    return write_report(folder).read_text()


def words_of(source):
    """A page's text as it is read."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", source, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def shown(folder):
    return words_of(page(folder))


def table(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def rewrite(file, change):
    """Change the rows of a table."""
    rows = table(file)
    change(rows)
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def describe(file, **changes):
    """Change what a test's .json says."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def second(tried, name="second", **changes):
    """Another run, with other results and settings."""
    other = shutil.copytree(tried, tried.with_name(name))
    rewrite(other / f"{STEM}.csv", lambda rows: [row.update(changes) for row in rows])
    text = (other / "config.yaml").read_text().replace("width: 8", "width: 9").replace("name: tried", f"name: {name}")
    (other / "config.yaml").write_text(text)
    return other
