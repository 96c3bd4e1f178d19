"""``python cli.py report``: runs side by side, and mistakes."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from callbacks.arguments import UsageError
from callbacks.report import main
from callbacks.report.comparison import same_validation
from tests.reported_run import STEM, describe, rewrite, second, table, words_of


def side_by_side(capsys, *words):
    path = main([str(word) for word in words])
    assert capsys.readouterr().out.split()[1] == str(path)
    text = path.read_text()
    return path, words_of(text), text


def test_runs_side_by_side(tried, capsys, tmp_path):
    other = second(tried, nme="1.25")
    path, text, source = side_by_side(capsys, tried, other, "--out", tmp_path / "deep/page.html")
    assert path == tmp_path / "deep/page.html"
    nme = float(table(tried / f"{STEM}.csv")[0]["nme"])
    assert f"tried {nme:.2f}" in text
    assert "second 1.25" in text
    assert '<td class="main">1.25</td>' in source
    assert f'<td class="main">{nme:.2f}</td>' not in source
    assert text.count("Cumulative error distribution") == 2
    assert re.findall(r"model\.init_args\.width (\d+) (\d+)", text) == [("8", "9")]
    assert "name tried" not in text
    assert "Not compared" not in text
    assert "different validation faces" not in text
    assert len(re.findall('<path class="curve run1"', source)) == 2 + 3  # errors, and training


def test_point_variance_is_compared_where_all_have_it(tried, capsys):
    other = second(tried, point_var="0.25")
    _, text, source = side_by_side(capsys, tried, other)
    assert "AUC10 Point-Var mean shape" in text
    assert '<td class="main">0.25</td>' in source
    rewrite(other / f"{STEM}.csv", lambda rows: [row.pop("point_var") for row in rows])  # as results once were
    _, text, source = side_by_side(capsys, tried, other)
    assert "AUC10 mean shape" in text
    assert not re.search("<th>Point-Var", source)


@pytest.mark.parametrize(
    ("key", "value"),
    [("normalizer", "inter-pupil"), ("box", "provided-1.2"), ("faces", "12"), ("data", "others")],
)
def test_only_like_is_compared_with_like(tried, capsys, key, value):
    described = key == "data"  # the others are columns of the table
    other = second(tried, **({} if described else {key: value}))
    if described:
        describe(other / f"{STEM}.json", **{key: value})
    _, text, _ = side_by_side(capsys, tried, other)
    assert "tried alone was measured on WFLW (14 faces, box landmarks-1.2, NME inter-ocular)." in text
    assert re.search(rf"second alone was measured on [^)]*{value}", text)
    assert "Cumulative error distribution" not in text


def test_runs_of_one_name_are_told_apart(tried, capsys, tmp_path):
    other = shutil.copytree(tried, tmp_path / "old/tried")
    path, text, _ = side_by_side(capsys, tried, other)
    assert path == tried.parent / "comparison.html"
    assert f"{tried} {other}" in text
    assert "None: the runs have the same configuration." in text


def test_other_validation_faces_are_told(tried, capsys):
    other = second(tried)
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("validation_fraction: 0.1", "validation_fraction: 0.2"))
    assert "so their validation errors do not compare" in side_by_side(capsys, tried, other)[1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_validation_faces_of_a_mixture_are_those_of_its_labelled_part(seed):
    faces = {"class_path": "datamodules.wflw.WFLW", "init_args": {"root": "data/WFLW", "seed": 0}}
    labelled = {**faces, "init_args": {**faces["init_args"], "seed": seed}}
    mixture = {"class_path": "datamodules.mixture.Mixture", "init_args": {"labelled": labelled, "ratio": 1.0}}
    runs = [SimpleNamespace(settings={"data": data}) for data in (faces, mixture)]
    assert same_validation(runs) == (seed == 0)


def test_the_validation_error_says_what_it_is_of_where_all_agree(tried, capsys):
    other = second(tried)
    titled = "Validation error: NME inter-ocular, box landmarks-1.2, held-out training faces"
    assert titled in side_by_side(capsys, tried, other)[1]
    done = json.loads((other / "fit.json").read_text())
    (other / "fit.json").write_text(json.dumps({**done, "normalizer": "inter-pupil"}))
    text = side_by_side(capsys, tried, other)[1]
    assert "Validation error" in text
    assert "Validation error:" not in text


def test_tests_of_one_run_at_two_sizes_are_both_shown(tried, capsys):
    """Alike in all else, the one would take the other's place."""
    for file in (tried / "test").glob("*"):
        shutil.copy(file, file.with_name(file.name.replace("1.2", "1.2_48_pixels", 1)))
    describe(tried / "test/wflw_landmarks-1.2_48_pixels.json", size=48)
    text = side_by_side(capsys, tried, second(tried))[1]
    assert "tried (at 48 pixels)" in text
    assert re.search(r"tried [^(]", text)


def test_another_input_size_is_named_and_compared(tried, capsys):
    other = second(tried)
    describe(other / f"{STEM}.json", size=48, trained_size=48)
    text = side_by_side(capsys, tried, other)[1]
    assert "Only tests of the same data, box, normaliser and faces are compared" in text
    assert [re.search(rf"{name} [\d. ]+ (\d+) epoch", text)[1] for name in ("tried", "second")] == ["32", "48"]
    assert "Not compared" not in text


def test_one_run_is_its_report(tried, capsys):
    path, text, _ = side_by_side(capsys, tried)
    assert path == tried / "report.html"
    assert "What Solving adds" in text


def test_a_run_is_given_by_name_too(tried, capsys, monkeypatch):
    monkeypatch.chdir(tried.parents[1])
    second(tried)
    assert main(["tried"]) == Path("runs/tried/report.html")
    assert capsys.readouterr().out == "report: runs/tried/report.html\n"
    assert main(["tried", "runs/second"]) == Path("runs/comparison.html")
    assert capsys.readouterr().out == "comparison: runs/comparison.html (--out FILE writes it elsewhere)\n"
    monkeypatch.chdir(tried)
    assert main(["second", "--runs", ".."]) == Path("../second/report.html")
    assert main([".", "../second"]) == tried.parent / "comparison.html"


def test_a_folder_comes_before_a_run_of_its_name(tried, monkeypatch):
    monkeypatch.chdir(tried.parents[1])
    shutil.copytree(tried, "tried")
    assert main(["tried"]) == Path("tried/report.html")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "report: there is neither a folder nowhere nor runs/nowhere"),
        (["tride"], "report: there is neither a folder tride nor runs/tride; did you mean tried?"),
        (["tried", "--runs", "old"], "report: there is neither a folder tried nor old/tried"),
        (["old/tried"], "report: there is no folder old/tried; give the folder of a run, or its name below runs/"),
        (["runs/tried/file"], "report: there is no folder runs/tried/file; give the folder of a run"),
        (["a", "--runs="], "--runs takes the folder of all runs"),
        (["."], "has neither config.yaml nor metrics.csv nor test/, so it is no run"),
        (["--out", "x.html"], "report takes the folders or names of one or more runs"),
        (["a", "--out"], "--out takes a file"),
        (["a", "--ot=x"], "report has no option --ot; did you mean --out?"),
        (["a", "--out=config.yaml"], "--out is config.yaml, expected a file that ends in .html"),
        (["a", "b", "./a"], "a is given twice"),
    ],
)
def test_mistakes_are_sentences(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/tried", "a", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs/tried/file").touch()
    with pytest.raises(UsageError, match=re.escape(sentence)):
        main(words)


def test_help(capsys):
    assert main(["--help"]) is None
    words = " ".join(capsys.readouterr().out.split())
    assert "python cli.py report RUN [RUN ...] [--out FILE]" in words
    assert "only tests of the same data, box, normaliser and faces are compared" in words
    assert "such as runs/comparison.html" in words


def test_runs_without_a_test_are_told(tried, capsys):
    other = second(tried)
    shutil.rmtree(other / "test")
    main([str(tried), str(other), "--out", str(tried / "page.html")])
    told = capsys.readouterr().out.splitlines()[1:]
    way = f"python cli.py test --name second --runs {other.parent}"
    assert told == [f"{other}: There is no test yet; to measure the best checkpoint: {way}"]
