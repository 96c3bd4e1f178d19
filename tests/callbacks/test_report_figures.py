"""The report's figures, by hand."""

import numpy as np
import pytest

from callbacks.report.charts import Axis, Line, axis_of, draw, number, path, spread, thin
from callbacks.report.figures import LARGEST, face_map, method_curves, part_rows, training_curves
from callbacks.report.files import read_metrics
from callbacks.report.page import write_report
from callbacks.report.run import Measurement, read_run


def test_metrics_are_read_whole(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,a,val/nme\n,4,1.5,\n0,5,,9\n,6,2.5\n1,7,nan,8\n,8,3")
    series, epochs, complaints = read_metrics(file)
    assert series["a"][0] == (4, 1.5)
    assert np.isnan(series["a"][1][1])
    assert series["val/nme"] == [(5, 9), (7, 8)]
    assert epochs == 2
    assert complaints == [
        "metrics.csv: line 4 has 3 values, expected 4. It is left out.",
        "metrics.csv: line 6 is cut off, as a killed process leaves it; --resume mends the file. It is left out.",
    ]


def eyes(first, second, normalizer=0.5):
    """A test of two landmarks with these errors, in percent, half the crop's side apart."""
    rows = [
        {"landmark": 0.0, "nme": first, "fr10": 0.0, "x": 0.25, "y": 0.5},
        {"landmark": 1.0, "nme": second, "fr10": 25.0, "x": 0.75, "y": 0.5},
    ]
    about = {"mean_normalizer": normalizer, "edges": [[0, 1]], "parts": {"eyes": [0, 1]}}
    return Measurement("x", [{}], about, [], rows, [], None, "", "", ())


def test_discs_are_as_large_as_errors():
    test = eyes(2.0, 7.0)
    drawn = face_map(test)
    apart = drawn.discs[1]["x"] - drawn.discs[0]["x"]  # the normaliser, half of the crop's side, on the drawing
    assert [disc["r"] / apart for disc in drawn.discs] == pytest.approx([0.02, 0.07])
    assert drawn.scale[0] / apart == pytest.approx(0.05)
    assert drawn.edges == [(drawn.discs[0]["x"], drawn.discs[0]["y"], drawn.discs[1]["x"], drawn.discs[1]["y"])]
    assert [label["text"] for label in drawn.labels] == ["7.0"]
    assert drawn.cut == ""
    assert part_rows(test) == [{"part": "eyes", "landmarks": 2, "nme": 4.5, "fr10": 12.5}]


def test_discs_end_where_they_would_hide_the_face():
    drawn = face_map(eyes(2.0, 8000.0))
    apart = drawn.discs[1]["x"] - drawn.discs[0]["x"]
    assert [disc["cut"] for disc in drawn.discs] == [False, True]
    assert drawn.discs[0]["r"] == pytest.approx(0.02 * apart)
    assert drawn.discs[1]["r"] == LARGEST
    assert drawn.cut == f"{100 * LARGEST / apart:.3g} %"
    for disc in drawn.discs:
        assert disc["r"] <= min(disc["x"], drawn.width - disc["x"], disc["y"], drawn.height - disc["y"])
    (label,) = drawn.labels
    assert (label["text"], label["anchor"]) == ("8000.0", "start")
    assert label["x"] + 10 * len(label["text"]) < drawn.width


def test_the_disc_to_compare_with_fits_too():
    drawn = face_map(eyes(2.0, 3.0, normalizer=2.0))  # four times as large as the face
    assert drawn.scale == (LARGEST, drawn.cut or "1.93 %")


def test_there_is_no_map_without_a_size_of_errors():
    assert face_map(eyes(2.0, 3.0, normalizer=0.0)) is None


def test_axes():
    assert Axis("", 0, 10).ticks(5) == [0, 2, 4, 6, 8, 10]
    assert Axis("", 0.9, 120, log=True).ticks(5) == pytest.approx([1, 2, 5, 10, 20, 50, 100])
    assert Axis("", 1e-6, 1, log=True).ticks(5) == pytest.approx(10.0 ** np.arange(-6, 1))
    assert Axis("", 1, 100, log=True).share(10) == pytest.approx(0.5)
    assert np.isnan(Axis("", 1, 100, log=True).share(0))
    assert axis_of("", [Line("", [(0, 1), (1, 9)], "")]).log
    assert not axis_of("", [Line("", [(0, 1), (1, 9)], "")], log=False).log
    linear = axis_of("", [Line("", [(0, 2), (1, 9), (2, float("nan"))], "")])
    assert (linear.log, linear.low) == (False, 0)
    assert axis_of("", [Line("", [(0, 0), (1, 0)], "")]).high > 0
    assert axis_of("", [Line("", [(0, -1.0)], "")]).low < -1


def test_numbers():
    values = {0: "0", 0.25: "0.25", 40: "40", 8000: "8000", 25000: "25k", 1e-5: "10⁻⁵", 5e-4: "5·10⁻⁴", 2e7: "2·10⁷"}
    assert {value: number(value) for value in values} == values


def test_curves_break_where_there_is_no_number():
    nan = float("nan")
    assert path([(0, 1), (1, 2), (2, nan), (3, 4)]) == "M0.0 1.0h0L1.0 2.0M3.0 4.0h0"


def test_labels_do_not_cover_each_other():
    assert spread([50, 50, 52], 0, 100) == [50, 70, 90]
    assert spread([100, 0, 100], 0, 100) == [80, 0, 100]


def test_thinned_points_are_means():
    assert thin([(i, 2.0 * i) for i in range(6)], 3) == [(0.5, 1.0), (2.5, 5.0), (4.5, 9.0)]
    assert thin([(1, 2.0)], 3) == [(1, 2.0)]


def test_a_chart_puts_points_where_they_belong():
    chart = draw("t", [Line("end", [(0, 0), (10, 100)], "model")], Axis("x", 0, 10), Axis("y", 0, 100), 560, 540)
    assert chart.curves[0]["d"] == f"M{chart.left:.1f} {chart.bottom:.1f}h0L{chart.right:.1f} {chart.top:.1f}"
    assert chart.labels[0]["y"] == pytest.approx(chart.top)


def charts_of(tmp_path, *rows):
    (tmp_path / "metrics.csv").write_text("\n".join(["step,train/loss,lr-Adam/pg1,pseudo/moved", *rows, ""]))
    run = read_run(tmp_path)
    return training_curves({"run": run}), method_curves(run)


def test_a_quantity_of_neither_stage_has_a_chart_and_a_point_alone_its_value(tmp_path):
    (loss, rate), (moved,) = charts_of(tmp_path, "3,2.5,0.1,", "7,2.25,0.1,12.34")
    assert (loss.title, rate.title, moved.title) == ("Training loss", "Learning rate", "pseudo, moved")
    assert (loss.marks, rate.marks) == ([], [])
    assert [(mark["text"], mark["x"]) for mark in moved.marks] == [("12.3", moved.right)]


def test_a_chart_without_a_finite_value_says_so(tmp_path):
    charts_of(tmp_path, "3,inf,0.1,1", "7,inf,0.1,1")
    text = write_report(tmp_path).read_text()
    assert text.count("no finite value was logged") == 1
