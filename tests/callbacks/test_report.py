"""The report of a run: what it shows, and what it says is missing."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callbacks.report.environment import code_version
from callbacks.report.run import command, read_run
from callbacks.run_report import RunReport
from tests.experiment import ROOT, run
from tests.reported_run import STEM, describe, page, rewrite, shown, table


def test_fit_and_test_write_it(runs):
    assert (runs / "fitted/report.html").is_file()
    assert (runs / "tried/report.html").stat().st_mtime > (runs / "fitted/report.html").stat().st_mtime
    done = json.loads((runs / "tried/fit.json").read_text())
    assert (done["epochs"], done["device"]) == (2, "CPU")
    assert done["parameters"] == 48 * 8 + 8 + 8 * 196 + 196
    assert done["packages"]["torch"]
    about = {
        "data": "WFLW",
        "trained_on": "WFLW (22 faces)",
        "normalizer": "inter-ocular",
        "box": "landmarks-1.2",
        "validation": "held-out training faces",
    }
    assert {key: done[key] for key in about} == about


def test_it_shows_what_was_measured(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    text = shown(runs / "tried")
    for row in table(runs / f"tried/{STEM}.csv"):
        numbers = [f"{float(row[key]):.2f}" for key in ("nme", "fr10", "fr10_landmarks")]
        last = f"{float(row['auc10']):.3f} {float(row['point_var']):.2f}"
        assert f"{row['subset']} {row['faces']} {' '.join(numbers)} {last}" in text
    about = json.loads((runs / f"tried/{STEM}.json").read_text())
    assert about["method"] == {"worst_residual": 0.125}
    for words in (
        "What Solving adds",
        "worst residual WFLW 0.125",
        "distance from landmark 60 to landmark 72 of the annotation (wflw-98, counted from 0)",
        "1.2 times as wide as its longer side: the test knows where the face is; used by LDEQ, HIH and PFLD on WFLW",
        "checkpoints/best.ckpt",
        f"torch {about['packages']['torch']}",
        "num_landmarks: 98",
        "python cli.py fit --config",
        "2 epochs",
        "The best faces",
        "About the median",
        "The worst faces",
    ):
        assert words in text
    assert "Not on this page" not in text
    assert "missing" not in text


def test_a_result_from_before_there_was_point_variance_is_shown_without(tried):
    rewrite(tried / f"{STEM}.csv", lambda rows: [row.pop("point_var") for row in rows])
    text = page(tried)
    assert "<th>AUC10</th>" in text
    assert "<th>Point-Var" not in text
    assert "Not on this page" not in text


def test_it_is_one_file_that_fetches_and_runs_nothing(runs):
    text = page(runs / "tried")
    assert "://" not in text
    assert "<script" not in text
    assert all(source.startswith("data:image/") for source in re.findall(r'\bsrc="([^"]*)', text))
    assert all(target.startswith("#") for target in re.findall(r'\bhref="([^"]*)', text))
    assert len(re.findall("<img ", text)) == 14
    assert "default-src 'none'" in text
    assert set(re.findall(r'href="#(\w+)"', text)) <= set(re.findall(r'id="(\w+)"', text))


def test_every_landmark_has_a_disc_and_every_curve_is_drawn(runs):
    text = page(runs / "tried")
    assert len(re.findall('class="disc( cut)?"', text)) == 98 + 1  # and the one to compare with
    titles = re.findall("<figcaption>([^<]+)</figcaption>", text)
    assert titles == [
        "Cumulative error distribution",
        "Error of each landmark on the mean face",
        "Training loss",
        "Validation error: NME inter-ocular, box landmarks-1.2, held-out training faces",
        "Learning rate",
        "iterations",
    ]
    assert len(re.findall('<path class="curve', text)) == 4 + 4


def cut(file, end):
    file.write_bytes(file.read_bytes()[:end])


def forget_metrics(folder, prefix):
    rewrite(folder / "metrics.csv", lambda rows: [row.pop(key) for row in rows for key in list(row) if prefix in key])


BREAKS = {
    "no config": (lambda f: (f / "config.yaml").unlink(), "The configuration is missing: config.yaml is not there"),
    "config not YAML": (lambda f: (f / "config.yaml").write_text("a: [\n"), "The configuration is missing: while"),
    "config a list": (lambda f: (f / "config.yaml").write_text("- 1\n"), "config.yaml holds [1], expected a mapping"),
    "no metrics": (lambda f: (f / "metrics.csv").unlink(), "The training curves are missing: metrics.csv is not there"),
    "metrics empty": (lambda f: (f / "metrics.csv").write_text(""), "has the columns none, expected one called step"),
    "metrics binary": (lambda f: (f / "metrics.csv").write_bytes(b"\xff\x00"), "metrics.csv is not readable as text"),
    "torn metrics": (lambda f: cut(f / "metrics.csv", -4), "is cut off, as a killed process leaves it; --resume mends"),
    "a word in metrics": (
        lambda f: rewrite(f / "metrics.csv", lambda rows: rows[1].update({"step": "x"})),
        "metrics.csv: line 3 holds something that is no number. It is left out.",
    ),
    "no validation": (lambda f: forget_metrics(f, "val/"), "No validation was logged (no epoch with one was done)"),
    "no tests": (lambda f: shutil.rmtree(f / "test"), "There is no test yet; to measure the best checkpoint: python"),
    "interrupted": (
        lambda f: (f / "fit.json").unlink(),
        "in epoch 2 of 9: under way, or interrupted; to go on: python",
    ),
    "fit.json cut": (lambda f: cut(f / "fit.json", 20), "fit.json: line 3: not readable as JSON"),
    "no table": (
        lambda f: rewrite(f / f"{STEM}.csv", lambda rows: rows[0].update({"nme": "much"})),
        "A result is left out: tried/test/wflw_landmarks-1.2.csv: line 2: nme is 'much', expected a number; run test",
    ),
    "no column": (
        lambda f: rewrite(f / f"{STEM}.csv", lambda rows: [row.pop("auc10") for row in rows]),
        "wflw_landmarks-1.2.csv has no column auc10",
    ),
    "no curve": (
        lambda f: (f / f"{STEM}_ced.csv").unlink(),
        "The error curve is missing: wflw_landmarks-1.2_ced.csv is",
    ),
    "curve empty": (lambda f: cut(f / f"{STEM}_ced.csv", 70), "_ced.csv holds no rows"),
    "no landmarks": (lambda f: (f / f"{STEM}_landmarks.csv").unlink(), "The error by landmark is missing: wflw"),
    "short landmarks": (lambda f: cut(f / f"{STEM}_landmarks.csv", -30), "is None, expected a number; run test again"),
    "no meaning": (
        lambda f: (f / f"{STEM}.json").unlink(),
        "What the numbers mean is missing: wflw_landmarks-1.2.json",
    ),
    "meaning cut": (lambda f: cut(f / f"{STEM}.json", 300), "not readable as JSON"),
    "moment of another kind": (
        lambda f: describe(f / f"{STEM}.json", moment=7),
        "wflw_landmarks-1.2.json: moment is 7, expected dict, as test writes it",
    ),
    "meaning of another kind": (lambda f: (f / f"{STEM}.json").write_text("{}"), "data is None, expected str, as test"),
    "no drawings": (
        lambda f: (f / f"{STEM}_overlays.png").unlink(),
        "The drawings are missing: wflw_landmarks-1.2_overlays.png is not there. To make all of it again: python",
    ),
    "drawings cut": (lambda f: cut(f / f"{STEM}_overlays.png", 999), "_overlays.png is not readable as an image"),
    "no mean shape": (
        lambda f: rewrite(f / f"{STEM}.csv", lambda rows: [row.pop("mean_shape_nme") for row in rows]),
        "these weights hold no mean shape of training faces",
    ),
    "no subsets": (
        lambda f: rewrite(f / f"{STEM}.csv", lambda rows: rows.__delitem__(slice(1, None))),
        "These 14 test faces have no named subsets.",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_missing_is_said_and_the_rest_is_shown(tried, case, monkeypatch):
    monkeypatch.chdir(tried.parent)
    breaks, words = BREAKS[case]
    if case == "interrupted":
        text = (tried / "config.yaml").read_text()
        (tried / "config.yaml").write_text(text.replace("max_epochs: 2", "max_epochs: 9"))
    breaks(tried)
    text = shown(tried.relative_to(tried.parent))
    assert words.replace("tried/test", "test") in text.replace("tried/test", "test")
    assert "What the numbers mean" in text


def test_a_fitted_run_has_curves_and_the_command_to_test_it(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    text = shown(runs.relative_to(runs.parent) / "fitted")
    assert "There is no test yet; to measure the best checkpoint: python cli.py test --name fitted" in text
    assert "Validation error" in text
    assert "Cumulative error" not in text
    assert command(runs / "fitted", "test").endswith(f"--runs {runs}")  # from another folder


def test_a_box_that_no_paper_uses_is_described_alone(tried):
    assert "; used by LDEQ" in shown(tried)
    describe(tried / f"{STEM}.json", box_used_by="")
    assert "used by" not in shown(tried)


def test_names_are_text(tried):
    hostile = tried.rename(tried.with_name('<img src=x onerror="alert(1)">&{{ 7*7 }}'))
    about = json.loads((hostile / f"{STEM}.json").read_text())
    (hostile / f"{STEM}.json").write_text(json.dumps({**about, "data": "</title><script>", "method": {"<i>": 1.0}}))
    text = page(hostile)
    assert "<img src=x" not in text
    assert "<script>" not in text
    assert "<i>:" not in text
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;&amp;{{ 7*7 }}" in text
    assert "&lt;script&gt;" in text


def test_the_runs_own_data_and_box_come_first(tried):
    others = {"a_other": {"data": "AFLW"}, "a_box": {}, "a_small": {"size": 64}}
    for name, changes in others.items():
        for file in (tried / "test").glob("wflw_landmarks-1.2*"):
            shutil.copy(file, file.with_name(file.name.replace("wflw_landmarks-1.2", name)))
        describe(tried / f"test/{name}.json", **changes)
    rewrite(tried / "test/a_box.csv", lambda rows: [row.update(box="provided-1.2") for row in rows])
    rewrite(tried / "test/a_other.csv", lambda rows: [row.update(box="provided-1.2") for row in rows])

    def order():
        return [test.stem for test in read_run(tried).measurements]

    assert order() == ["wflw_landmarks-1.2", "a_small", "a_box", "a_other"]
    describe(tried / "fit.json", data="AFLW", box="provided-1.2")
    assert order() == ["a_other", "a_box", "wflw_landmarks-1.2", "a_small"]
    (tried / "fit.json").unlink()
    assert order()[0] == "a_other"  # by the alphabet


def test_a_run_that_was_stopped_says_what_it_was_trained_on(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RunReport, "on_fit_end", lambda self, trainer, pl_module: None)
    run("fit", "--config", str(runs.parent / "tried.yaml"), "--trainer.max_epochs=1")
    noted = json.loads(Path("runs/tried/fit.json").read_text())
    assert (noted["data"], noted["box"], noted["device"]) == ("WFLW", "landmarks-1.2", "CPU")
    assert "epochs" not in noted


def test_it_imports_nothing_slow():
    code = "import sys, callbacks.report; print({'torch', 'lightning', 'cv2', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_report_that_fails_loses_no_result(runs, tmp_path, monkeypatch, capsys):
    def fail(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(runs.parent)
    monkeypatch.setattr("callbacks.run_report.write_report", fail)
    before = (runs / f"tried/{STEM}.csv").read_text()
    (runs / f"tried/{STEM}.csv").unlink()
    run("test", "--name", "tried")
    assert (runs / f"tried/{STEM}.csv").read_text() == before
    assert "the report of run tried was not written: [Errno 28] No space left on device" in capsys.readouterr().err


def test_a_changed_checkout_is_told(tmp_path):
    assert code_version(tmp_path) is None
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed")
    words = [git, "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("1")
    for command_words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*words, *command_words], check=True)
    commit = subprocess.run([*words, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:12]
    assert code_version(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert code_version(tmp_path) == f"{commit} + changes"
    (tmp_path / "inside").mkdir()
    assert code_version(tmp_path / "inside") is None
