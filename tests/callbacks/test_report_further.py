"""Tables and pictures of one method: how a test's files become what the page shows, and what is said of bad ones."""

import json
import re
from dataclasses import asdict

import pytest
from PIL import Image

from callbacks.report.further import check_further, further_table, read_further
from lightning_modules.further import Curves

ABOUT = {
    "tables": {
        "few": {
            "title": "Few labels",
            "note": "A note.",
            "listed": True,
            "curves": asdict(Curves("samples", ("nme",), "faces", "%", by="origin", log=True)),
        }
    },
    "pictures": {"sheet": {"title": "A sheet", "note": "A note."}},
}
TABLE = "origin,samples,nme,nme ±\ncorner,1,20.5,3.25\ncorner,100,10,0\ncentre,1,30,1\n"


@pytest.fixture
def table(tmp_path):
    """The table of a test, whose further files lie beside it."""
    (tmp_path / "x_few.csv").write_text(TABLE)
    Image.new("RGB", (8, 4), (200, 0, 0)).save(tmp_path / "x_sheet.png")
    return tmp_path / "x.csv"


def read(table, about=ABOUT):
    about = json.loads(json.dumps(about))  # as the report has it
    check_further(table, about)
    return about, *read_further(table, about)


def test_a_table_is_drawn_and_listed(table):
    about, found, missing = read(table)
    assert missing == []
    assert found.pictures == {"sheet": table.with_name("x_sheet.png")}
    shown = further_table(about["tables"]["few"], found.tables["few"])
    assert shown.columns == ["origin", "samples", "nme"]
    assert shown.cells == [["corner", "1", "20.50 ± 3.25"], ["corner", "100", "10.00"], ["centre", "1", "30.00 ± 1.00"]]
    assert [label["text"] for label in shown.chart.labels] == ["corner", "centre"]
    assert len({curve["tone"] for curve in shown.chart.curves}) == 2
    assert shown.chart.x_ticks[0][1] == "1"


def test_a_table_may_be_drawn_alone(table):
    about, found, _ = read(table, {**ABOUT, "tables": {"few": {**ABOUT["tables"]["few"], "listed": False}}})
    assert further_table(about["tables"]["few"], found.tables["few"]).columns == []


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("level", [True, False])
def test_a_table_of_a_single_place_is_drawn(table, level, log):
    """As of one video, or of a video of one frame."""
    table.with_name("x_few.csv").write_text("origin,samples,nme\ncorner,1,20.5\ncentre,1,30\n")
    curves = asdict(Curves("samples", ("nme",), "faces", "%", by="origin", log=log, level=level))
    about, found, missing = read(
        table, {"tables": {"few": {**ABOUT["tables"]["few"], "curves": curves}}, "pictures": {}}
    )
    assert missing == []
    shown = further_table(about["tables"]["few"], found.tables["few"])
    assert [label["text"] for label in shown.chart.labels] == ["corner", "centre"]
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+h0", curve["d"]) for curve in shown.chart.curves)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("x_few.csv", None, "Few labels is missing: x_few.csv is not there (test writes it)."),
        ("x_few.csv", b"origin,samples\n", "x_few.csv has no column nme."),
        ("x_few.csv", TABLE.replace("20.5", "much").encode(), "line 2: nme is 'much', expected a number"),
        ("x_sheet.png", None, "A sheet is missing: x_sheet.png is not there, or not readable as an image."),
        ("x_sheet.png", b"none", "A sheet is missing"),
    ],
)
def test_what_cannot_be_shown_is_said_and_the_rest_is_shown(table, file, content, sentence):
    table.with_name(file).unlink()
    if content is not None:
        table.with_name(file).write_bytes(content)
    _, found, missing = read(table)
    assert len(missing) == 1
    assert sentence in missing[0]
    assert len(found.tables) + len(found.pictures) == 1


@pytest.mark.parametrize(
    "about",
    [
        {"tables": {"few": []}, "pictures": {}},
        {"tables": {"few": {**ABOUT["tables"]["few"], "curves": {"x": 1}}}, "pictures": {}},
        {"tables": {}, "pictures": {"sheet": {"title": "x"}}},
    ],
)
def test_what_test_has_not_written_is_refused(table, about):
    with pytest.raises(ValueError, match=r"few|sheet"):
        check_further(table, about)
