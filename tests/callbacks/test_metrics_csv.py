"""metrics.csv keeps every row, in columns that come and go."""

import math

from callbacks.metrics_csv import MetricsCSV


def test_columns_are_added_and_rows_kept(tmp_path):
    path = tmp_path / "run" / "metrics.csv"
    logger = MetricsCSV(path)
    logger.log_metrics({"loss": 2.0, "epoch": 0}, step=0)
    logger.log_metrics({"accuracy": 0.5, "epoch": 0}, step=1)
    logger.log_metrics({"loss": 1.0, "epoch": 0}, step=1)
    assert path.read_text().splitlines() == ["epoch,step,accuracy,loss", "0,0,,2.0", "0,1,0.5,", "0,1,,1.0"]


def test_a_metric_of_nothing_is_an_empty_cell(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = MetricsCSV(path)
    logger.log_metrics({"loss": math.nan, "accuracy": 0.5, "of_no_face": math.nan}, step=0)
    logger.log_metrics({"loss": 2.0, "of_no_face": math.nan}, step=1)
    assert path.read_text().splitlines() == ["epoch,step,accuracy,loss", ",0,0.5,", ",1,,2.0"]


def test_a_second_logger_goes_on_where_the_first_was_cut_off(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsCSV(path)
    for step in range(4):
        first.log_metrics({"loss": float(step)}, step=step)
    with path.open("a") as file:
        file.write(",4")  # a process killed while it wrote
    second = MetricsCSV(path)
    second.keep_before(2)
    second.log_metrics({"loss": 7.0}, step=2)
    assert path.read_text().splitlines() == ["epoch,step,loss", ",0,0.0", ",1,1.0", ",2,7.0"]


def test_a_torn_row_before_the_checkpoint_does_not_pass_for_a_step(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,loss\n0,0,1.0\n0,")
    MetricsCSV(path).keep_before(5)
    assert path.read_text().splitlines() == ["epoch,step,loss", "0,0,1.0"]
