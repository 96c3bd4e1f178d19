"""``test`` and ``validate`` on videos, through the command line: tables beside what loops over the videos say."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lightning_modules.metrics import table_flicker
from lightning_modules.video.filters import MovingAverage
from lightning_modules.video.search import read_filters
from lightning_modules.video.tracking import Tracker
from tests.drawn_videos import write_w300vw, write_wflw_v
from tests.experiment import output_of, run, start

# At this temperature an untrained cell contracts; at 2.5 rounding errors would grow tenfold from frame to frame.
SMALL = {"injection_width": 8, "width": 8, "width_step": 4, "depth": 1, "early_epochs": 1, "temperature": 100.0}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """``videos.yaml``: LDEQ on drawn 300VW, trained for an epoch."""
    monkeypatch.chdir(tmp_path)
    write_w300vw(tmp_path / "300vw")
    options = {"root": "300vw", "size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.4, "every": 2}
    config = {
        "model": {"class_path": "lightning_modules.ldeq.LDEQ", "init_args": {"num_landmarks": 68, **SMALL}},
        "data": {"class_path": "datamodules.w300vw.W300VW", "init_args": options},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("videos.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "videos.yaml", "--name", "run")
    return tmp_path


def rows_of(name):
    with next(Path("runs/run/test").glob(f"*_{name}.csv")).open(newline="") as file:
        return list(csv.DictReader(file))


def by_loops(cli):
    """Of each video truth and landmarks (T, 68, 2) in pixels of the video, by method, and the normaliser."""
    module, data = cli.model.eval(), cli.datamodule
    faces, videos = data.load("test"), []
    dataset = data._frames(faces, faces.motion(data.nose), most=4)
    for number, rows in enumerate(faces.videos()):
        found, tracker = {"each frame alone": [], "RwR": []}, Tracker(module)
        for row in rows:
            sample = dataset[int(row)]
            image, crop = sample["image"][None], sample["crop"]
            with torch.inference_mode():
                points = {
                    "each frame alone": module(image).landmarks[0],
                    "RwR": tracker(image, crop[None], [number]).landmarks[0],
                }
            for method, each in points.items():
                found[method].append((each @ crop[:, :2].T + crop[:, 2]).numpy())
        found = {method: np.array(points) for method, points in found.items()}
        found["EMA 0.3"] = MovingAverage(0.3)(found["each frame alone"].astype(float))
        videos.append((faces.landmarks[rows], found, dataset.norms[rows], faces.subsets[rows[0]]))
    return videos


def test_tables_are_those_of_loops(experiment, capsys):
    tested = run("test", "--name", "run")
    said = capsys.readouterr().out
    table = {row["method"]: row for row in rows_of("videos")}
    assert list(table) == ["each frame alone", "RwR", "EMA 0.15", "EMA 0.3", "EMA 0.5"]
    videos = by_loops(tested)
    for method in ("each frame alone", "RwR", "EMA 0.3"):
        nme, nmf = [], []
        for truth, found, norm, _ in videos:
            error = np.linalg.norm(found[method] - truth, axis=2)
            nme.append(100 * (error.mean(axis=1) / norm).mean())
            nmf.append(float(table_flicker(torch.tensor(found[method]), torch.tensor(truth))))
        assert float(table[method]["nme"]) == pytest.approx(np.mean(nme), rel=1e-3)
        assert float(table[method]["nmf"]) == pytest.approx(np.mean(nmf), rel=1e-3)
        assert float(table[method]["nme low"]) <= np.mean(nme) <= float(table[method]["nme high"])
        assert method in said
    change = float(table["RwR"]["nmf change"])
    assert change == pytest.approx(float(table["RwR"]["nmf"]) - float(table["each frame alone"]["nmf"]), abs=1e-3)
    assert len(rows_of("videos_scenario_3")) == 5
    assert "Error and flicker: scenario 3 videos (2)" in said
    assert len(rows_of("by_video")) == 5 * len(videos)


def test_the_report_shows_scatter_and_trajectories(experiment):
    run("test", "--name", "run")
    about = json.loads(next(Path("runs/run/test").glob("*.json")).read_text())
    assert about["tables"]["videos"]["curves"]["dots"] is True
    frames = rows_of("trajectory_1")
    assert set(frames[0]) == {"frame", "annotation", "each frame alone", "RwR", "EMA 0.3"}
    page = Path("runs/run/report.html").read_text()
    assert "Error and flicker: all videos (4)" in page
    assert "Landmark " in page
    assert "is missing" not in page


def test_trajectories_may_be_chosen(experiment):
    run("test", "--name", "run", "--data.init_args.trajectories=[114/54, 203/3, 114/20]")
    about = json.loads(next(Path("runs/run/test").glob("*.json")).read_text())
    titles = [table["title"] for name, table in about["tables"].items() if name.startswith("trajectory_")]
    chosen = ["54 of 114", "20 of 114", "3 of 203"]
    assert [title.rpartition(",")[0] for title in titles] == [f"Landmark {each}" for each in chosen]


@pytest.mark.parametrize("wrong", ["nobody/0", "114/68", "114/-1", "114/x"])
def test_a_trajectory_that_there_is_not(experiment, capsys, wrong):
    with pytest.raises(SystemExit):
        run("test", "--name", "run", f"--data.init_args.trajectories=[{wrong}]")
    assert (
        f"error: data.init_args.trajectories has '{wrong}', expected one of the 4 test videos and a landmark, such as "
    ) in capsys.readouterr().err


def test_validate_chooses_filters_that_test_then_has(experiment, capsys):
    run("validate", "--name", "run")
    said = capsys.readouterr().out
    chosen, by, step = read_filters(Path("runs/run"))
    assert [type(each).__name__ for each in chosen] == ["MovingAverage", "SavitzkyGolay", "OneEuro"]
    for each in chosen:
        assert each.title in said
    run("test", "--name", "run")
    about = json.loads(next(Path("runs/run/test").glob("*.json")).read_text())
    assert about["tables"]["videos"]["note"].endswith(": chosen by validation videos of 300VW (1).")
    assert by == "validation videos of 300VW (1)"
    methods = [row["method"] for row in rows_of("videos")]
    assert methods[:2] == ["each frame alone", "RwR"]
    assert set(methods) == {"each frame alone", "RwR", "EMA 0.15", "EMA 0.3", "EMA 0.5", *(e.title for e in chosen)}
    content = json.loads(Path("runs/run/filters.json").read_text())
    Path("runs/run/filters.json").write_text(json.dumps({**content, "step": 1000}))
    run("test", "--name", "run")
    about = json.loads(next(Path("runs/run/test").glob("*.json")).read_text())
    assert about["tables"]["videos"]["note"].endswith(
        f" with the weights of step 1000, here those of step {step} (validate chooses anew)."
    )
    Path("runs/run/filters.json").write_text('[{"kind": "Median"}]')
    with pytest.raises(SystemExit):
        run("test", "--name", "run")
    assert "filters.json is not as validate writes it" in capsys.readouterr().err


def test_two_processes_give_the_same_tables_to_the_last_digit(experiment):
    """In double precision, where what a frame is batched with changes no digit that is printed."""
    words = ("test", "--name", "run", "--trainer.precision=64-true")
    run(*words)
    alone = {path.name: path.read_text() for path in Path("runs/run/test").glob("*.csv")}
    assert len([name for name in alone if re.search("_(videos|by_video|trajectory_1|videos_scenario_1)[.]", name)]) == 4
    process = start(*words, "--trainer.devices=2", "--trainer.strategy=ddp")
    output = output_of(process)
    assert process.returncode == 0, output
    for name, text in alone.items():
        assert Path("runs/run/test", name).read_text() == text, name


def test_a_model_without_a_state_has_filters_alone(experiment):
    """On WFLW-V, with a model of another markup's size trained before."""
    write_wflw_v(experiment / "wflw_v")
    config = yaml.safe_load(Path("videos.yaml").read_text())
    config["model"] = {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 68}}
    Path("tiny.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "tiny.yaml", "--name", "run2")
    run("test", "--name", "run2")
    with next(Path("runs/run2/test").glob("*_videos.csv")).open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["each frame alone", "EMA 0.15", "EMA 0.3", "EMA 0.5"]
