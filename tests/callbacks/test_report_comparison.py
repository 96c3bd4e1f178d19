"""``python cli.py report``: runs side by side, and mistakes."""

import json
import re
import shutil

import pytest

from callbacks.arguments import UsageError
from callbacks.report import main
from tests.reported_run import STEM, second, table, words_of


def side_by_side(capsys, *words):
    path = main([str(word) for word in words])
    assert capsys.readouterr().out.strip() == str(path)
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


@pytest.mark.parametrize(
    ("key", "value"),
    [("normalizer", "inter-pupil"), ("box", "provided-1.2"), ("faces", "12"), ("data", "others")],
)
def test_only_like_is_compared_with_like(tried, capsys, key, value):
    described = key == "data"  # the others are columns of the table
    other = second(tried, **({} if described else {key: value}))
    if described:
        about = json.loads((other / f"{STEM}.json").read_text())
        (other / f"{STEM}.json").write_text(json.dumps({**about, key: value}))
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
    copy = tried / "test/wflw_landmarks-1.2_48_pixels.json"
    copy.write_text(json.dumps({**json.loads(copy.read_text()), "size": 48}))
    text = side_by_side(capsys, tried, second(tried))[1]
    assert "tried (at 48 pixels)" in text
    assert re.search(r"tried [^(]", text)


def test_one_run_is_its_report(tried, capsys):
    path, text, _ = side_by_side(capsys, tried)
    assert path == tried / "report.html"
    assert "What Solving adds" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist, so it is no run; give a folder that fit has made, such as runs/NAME"),
        (["."], "has neither config.yaml nor metrics.csv nor test/, so it is no run"),
        (["--out", "x.html"], "report takes the folders of one or more runs"),
        (["a", "--out"], "--out takes a file"),
        (["a", "--ot=x"], "report has no option --ot; did you mean --out?"),
        (["a", "--out=config.yaml"], "--out is config.yaml, expected a file that ends in .html"),
        (["a", "b", "./a"], "a is given twice"),
    ],
)
def test_mistakes_are_sentences(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        main(words)


def test_help(capsys):
    assert main(["--help"]) is None
    assert "python cli.py report RUN [RUN ...] [--out FILE]" in capsys.readouterr().out
