"""The workspace of W&B: every panel asks for what offline runs of the methods really hold; saving and not saving it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import wandb

from callbacks import wandb_account
from callbacks.dashboard.command import main
from tests.every_method import write_training
from tests.experiment import output_of, run, start
from tests.one_sentence import one_sentence
from tests.wandb_offline import history, parts, records, summary, table
from tests.wandb_server import wandb_server

METHODS = {"ldeq.LDEQ": True, "pipnet.SelfTraining": False, "pipnet.DANN": False, "two_step.Discovery": True}
FACES, VIDEOS = "generated_faces_photo_provided-1.2", "generated_videos_photo_provided-1.2_num_test_2_frames_6"
SHORT = {"num_test": 2, "frames": 6, "size": 64, "num_workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of the methods that log something of their own, each trained, two tested on faces, LDEQ's on videos too."""
    folder = tmp_path_factory.mktemp("dashboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        for method, tested in METHODS.items():
            name = method.rpartition(".")[2]
            write_training(folder, method)
            run("fit", "--config", "every.yaml", "--name", name, "--wandb", "faces")
            if tested:
                run("test", "--name", name)
            if name == "LDEQ":
                options = [f"--data.init_args.{key}={value}" for key, value in SHORT.items()]
                run("test", "--name", name, "--config", "data/synthetic_videos.yaml", *options)
            wandb.finish()
    return folder


@pytest.fixture
def here(folder, monkeypatch, tmp_path):
    """Work beside the runs, without an account."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(folder)
    return monkeypatch


@pytest.fixture
def workspace(here, tmp_path):
    """The specification as it is written."""
    main(["faces", "--out", str(tmp_path / "faces.json")])
    return json.loads((tmp_path / "faces.json").read_text())


def sections(workspace):
    """The panels of each section, by its name."""
    found = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def walk(value):
    """All mappings in it."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from walk(inner)
    if isinstance(value, dict):
        yield value


def asked(panel):
    """What a panel asks for, with the kind that it has to be of."""
    config, kind = panel["config"], panel["viewType"]
    if kind in ("Run History Line Plot", "Bar Chart"):
        return [(name, "number") for name in [*config["metrics"], *filter(None, [config.get("xAxis")])]]
    if kind == "Scatter Plot":
        return [(config[axis].removeprefix("summary:"), "number") for axis in ("xAxis", "yAxis")]
    if kind == "Media Browser":
        return [(name, "image") for name in config["mediaKeys"]]
    if kind == "Vega2":
        return [(each["value"], "table") for each in walk(config) if each.get("name") == "tableKey"]
    if kind == "Weave":
        return [(each["val"], "table") for each in walk(config) if each.get("nodeType") == "const"]
    assert kind == "Run Comparer"
    return []


def logged(folder):
    """The kind of each key that the runs' summaries hold."""
    kinds = {}
    for run_folder in Path(folder, "runs").glob("*/"):
        for part in parts(run_folder):
            for key, value in summary(part).items():
                if key.endswith("._type"):
                    kinds[key.removesuffix("._type")] = {"table-file": "table"}.get(value, "image")
                elif not isinstance(value, (str, dict)) or value == "NaN":
                    kinds[key] = "number"
    return kinds


def test_every_panel_asks_for_what_runs_have_logged(folder, workspace):
    there = logged(folder)
    panels = [panel for each in sections(workspace).values() for panel in each]
    wanted = [want for panel in panels for want in asked(panel)]
    assert len(wanted) > 100
    assert [want for want in wanted if there.get(want[0]) != want[1]] == []
    patterns = [panel["config"]["metricRegex"] for panel in panels if "metricRegex" in panel["config"]]
    assert patterns
    assert all(any(re.search(pattern, name) for name in there) for pattern in patterns)
    feed = workspace["spec"]["section"]["runSets"][0]["runFeed"]
    assert {name.removeprefix("summary:") for name in feed["columnPinned"]} - {"run:displayName"} <= there.keys()


def test_no_name_that_a_test_logs_is_one_that_wandb_misreads(folder):
    there = logged(folder)
    whole = [name for name in there if there.get(name.rpartition(".")[0], "number") == "number"]  # no sizes of files
    names = [name for name in whole if name.startswith("test/generated")]
    assert len(names) > 100
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9_/]+", name)] == []


def test_there_is_a_section_for_each_method_and_test(workspace):
    names = list(sections(workspace))
    assert names[:3] == ["Validation", "Training", "LDEQ: solver"]
    assert names[-2:] == [f"Test: {stem.replace('_', ' ')}" for stem in (FACES, VIDEOS)]
    faces = sections(workspace)[names[-2]]
    titles = [panel["config"].get("chartTitle") for panel in faces]
    assert {"NME inter-ocular, %", "The worst faces", "Overlays", "discovered", "heatmaps"} <= set(titles)


def test_charts_are_those_that_wandb_noted_itself(folder, workspace):
    noted = {}
    for part in parts(folder / "runs/LDEQ"):
        for record in records(part)["config"]:
            noted |= {key: value["panel_config"] for key, value in record["update"].items() if "visualize" in key}
    ours = [panel["config"] for panel in sections(workspace)[f"Test: {VIDEOS.replace('_', ' ')}"]]
    ours = [config for config in ours if "panelDefId" in config]
    assert len(ours) > 5
    for config in ours:
        ((key, _),) = asked({"config": config, "viewType": "Vega2"})
        own = noted[f"_wandb.visualize.{key.removesuffix('_table')}"]
        query = config["userQuery"]["queryFields"][0]
        query["args"] = [arg for arg in query["args"] if arg["name"] != "limit"]
        titles = [of["stringSettings"].pop("title") for of in (own, config)]  # one run's own, and for all runs
        assert all(titles)
        assert config == own


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_holds_the_residuals_of_the_solver(folder):
    metrics = rows_of(folder / "runs/LDEQ/metrics.csv")
    (part,) = parts(folder / "runs/LDEQ")
    for name in ("val/residual", "val/worst_residual", "train/residual", "train/backward_residual", "train/iterations"):
        kept = [float(row[name]) for row in metrics if row[name]]
        assert len(kept) >= 2
        assert [value for (value,) in history(part, name)] == pytest.approx(kept)
    about = json.loads((folder / f"runs/LDEQ/test/{FACES}.json").read_text())
    assert summary(part)["test/residual"] > 0
    assert about["method"].keys() >= {"residual", "worst_residual", "iterations", "unconverged"}


def test_a_run_holds_what_the_pseudo_labels_of_each_round_are_like(folder):
    files = [np.load(folder / f"runs/SelfTraining/pseudo_labels/round_{number}.npz") for number in (1, 2)]
    (part,) = parts(folder / "runs/SelfTraining")
    confidence = [file["confidence"] for file in files]
    assert history(part, "pseudo/confidence", "pseudo/confidence_low") == [
        (pytest.approx(each.mean(), rel=1e-5), pytest.approx(np.quantile(each.mean(axis=1), 0.1), rel=1e-5))
        for each in confidence
    ]
    assert len(history(part, "pseudo/moved")) == 1  # the first round's have not
    assert history(part, "train/round", "train/task") == [(0, 32), (1, 64), (2, 32)]


def test_a_run_holds_how_videos_flicker(folder):
    (part,) = parts(folder / "runs/LDEQ")
    at = f"test/{VIDEOS.replace('-', '_').replace('.', '_')}"
    files = folder / "runs/LDEQ/test"
    methods = rows_of(files / f"{VIDEOS}_videos.csv")
    columns, rows = table(part, f"{at}/videos_chart_table")
    across, up = columns.index("nme"), columns.index("nmf")
    assert [(row[across], row[up]) for row in rows] == [(float(row["nme"]), float(row["nmf"])) for row in methods]
    last = summary(part)
    for row in methods:
        name = row["method"].replace(" ", "_").replace(".", "_")
        for column in ("nme", "nmf"):
            assert last[f"{at}/videos/{name}/{column}"] == float(row[column])
    for number in (1, 2):
        frames = rows_of(files / f"{VIDEOS}_trajectory_{number}.csv")
        lines = [(frame["frame"], name, frame[name]) for name in list(frames[0])[1:] for frame in frames]
        _, drawn = table(part, f"{at}/trajectory_{number}_chart_table")
        assert [(float(x), name, float(y)) for x, name, y in lines] == [tuple(row) for row in drawn]
    assert f"{at}/by_video.path" in last


def test_without_an_account_it_is_written_and_said(here, capsys):
    main(["faces"])
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "nothing was uploaded, because there is no key for api.forge.coreweave.com" in said
    assert "runs/dashboard_faces.json has the specification; give the command again where" in said
    told = json.loads(Path("runs/dashboard_faces.json").read_text())
    assert (told["project"], told["entity"], told["id"]) == ("faces", "", "")


@pytest.mark.parametrize("why", ["WANDB_MODE is offline", "127.0.0.1 does not answer"])
def test_without_a_network_or_where_it_is_not_wanted_nothing_is_asked(here, tmp_path, capsys, why):
    here.setenv("WANDB_API_KEY", "x" * 40)
    here.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    here.setattr(wandb_account, "SECONDS", 0.5)
    if "MODE" in why:
        here.setenv("WANDB_MODE", "offline")
    main(["faces", f"--out={tmp_path / 'it.json'}", "--entity", "my-lab"])
    assert f"nothing was uploaded, because {why}; {tmp_path / 'it.json'} has" in capsys.readouterr().out
    assert json.loads((tmp_path / "it.json").read_text())["entity"] == "my-lab"


def test_where_no_run_of_the_project_was_tested_it_says_so(here, tmp_path, capsys):
    main(["others", "--out", str(tmp_path / "it.json")])
    assert "No run of others in runs has been tested" in capsys.readouterr().out
    names = list(sections(json.loads((tmp_path / "it.json").read_text())))
    assert "Two-step discovery" in names
    assert not any(name.startswith("Test") for name in names)


def test_it_is_saved_and_saved_again_in_its_own_place(here, tmp_path):
    out = str(tmp_path / "it.json")
    with wandb_server() as server:
        address = f"http://127.0.0.1:{server.server_port}"
        own = {"WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": address}
        first = output_of(start("dashboard", "faces", "--out", out, **own))
        again = output_of(start("dashboard", "faces", "--out", out, **own))
        server.refuses = "project not found"
        refused = start("dashboard", "others", "--out", f"{out}.json", **own)
        said = output_of(refused)
    assert re.fullmatch(rf"dashboard: {address}/someone/faces\?nw=\w+\n", first)
    assert again == first
    new, renewed = server.views
    assert (new["entityName"], new["projectName"], new.get("id"), renewed["id"]) == ("someone", "faces", None, "new")
    assert renewed["name"] == new["name"]
    kept = json.loads(Path(out).read_text())
    assert (kept["id"], kept["name"]) == ("new", new["name"])
    assert kept["spec"] == json.loads(renewed["spec"])
    assert refused.returncode == 2
    assert said.endswith("error: W&B has not taken the workspace: input: project not found\n")
    assert json.loads(Path(f"{out}.json").read_text())["project"] == "others"


def test_mistakes_are_told(here, tmp_path, capsys):
    main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python cli.py dashboard PROJECT")
    for words, parts_of_it in {
        ("faces", "others"): ["takes one project", "faces others"],
        ("--entity", "me"): ["takes one project", "found none"],
        ("my/faces",): ["without any of", "my/faces"],
        ("faces", "--entiti", "me"): ["no option --entiti", "did you mean --entity?"],
        ("faces", "--out"): ["--out takes a file"],
        ("faces", "--out", "it.txt"): ["it.txt", ".json"],
    }.items():
        with one_sentence(*parts_of_it):
            main(words)
    (tmp_path / "it.json").write_text('{"project": "faces"}')
    with one_sentence(tmp_path / "it.json", "no specification"):
        main(["faces", "--out", str(tmp_path / "it.json")])
    told = {"project": "others", "entity": "me", "name": "", "id": ""}
    (tmp_path / "it.json").write_text(json.dumps(told))
    with one_sentence(tmp_path / "it.json", "of me/others, not of faces", "another --out"):
        main(["faces", "--out", str(tmp_path / "it.json")])
