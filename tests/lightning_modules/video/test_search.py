"""Which filter is chosen, by numbers that are made up."""

import pytest
import torch

from lightning_modules.metrics import VIDEO_METRICS
from lightning_modules.video.collected import ALONE
from lightning_modules.video.filters import MovingAverage, OneEuro, SavitzkyGolay
from lightning_modules.video.search import Chosen, Tried, read_filters, write_filters

AVERAGES = [MovingAverage(weight) for weight in (0.1, 0.5, 0.9)]
OTHERS = [SavitzkyGolay(5, 1), SavitzkyGolay(7, 2), OneEuro(1, 0), OneEuro(2, 0)]


def table(*videos):
    """A table of `ErrorsByVideo` of videos with this NME and NMF."""
    columns = list(VIDEO_METRICS)
    rows = torch.zeros(len(videos), 1 + len(columns))
    for row, (nme, nmf) in enumerate(videos):
        rows[row, 0] = row
        rows[row, 1 + columns.index("nme")] = nme
        rows[row, 1 + columns.index("nmf")] = nmf
    return rows


def tried(**changes):
    """Two videos of NME 4 and NMF 100 in the mean; filters as told by title, the others bad."""
    errors = {ALONE: table((3.0, 80.0), (5.0, 120.0))}
    for each in (*AVERAGES, *OTHERS):
        nme, nmf = changes.get(each.title, (9.0, 99.0))
        errors[each.title] = table((nme - 1, nmf - 10), (nme + 1, nmf + 10))
    return Tried([*AVERAGES, *OTHERS], errors)


def test_the_lowest_flicker_is_taken_of_those_that_cost_at_most_a_hundredth():
    found = tried(**{"EMA 0.1": (3.9, 70.0), "EMA 0.5": (4.04, 50.0), "EMA 0.9": (4.05, 20.0)})
    assert found.best(MovingAverage) == MovingAverage(0.5)  # 4 * 1.01 is 4.04


def test_where_all_cost_more_the_lowest_error_is_taken():
    found = tried(**{"Savitzky-Golay 5, 1": (4.5, 60.0), "Savitzky-Golay 7, 2": (4.3, 90.0)})
    assert found.best(SavitzkyGolay) == SavitzkyGolay(7, 2)


def test_one_of_each_kind_is_chosen_and_shown():
    found = tried(**{"EMA 0.9": (4.0, 10.0), "Savitzky-Golay 5, 1": (4.0, 20.0), "One Euro 2 Hz, 0": (4.0, 30.0)})
    assert found.chosen == [MovingAverage(0.9), SavitzkyGolay(5, 1), OneEuro(2, 0)]
    assert [row["method"] for row in found.table().rows] == [ALONE, *(each.title for each in found.chosen)]


def test_a_video_of_one_frame_says_nothing_of_flicker():
    errors = {ALONE: table((4.0, 100.0), (4.0, float("nan")))}
    errors |= {
        each.title: table((4.0, nmf), (4.0, float("nan"))) for each, nmf in zip(AVERAGES, (9, 5, 7), strict=True)
    }
    assert Tried(AVERAGES, errors).best(MovingAverage) == MovingAverage(0.5)


def test_what_is_chosen_is_kept(tmp_path):
    chosen = Chosen([MovingAverage(0.3), SavitzkyGolay(9, 2), OneEuro(1, 10.0)], "5 videos of WFLW-V", 7)
    write_filters(tmp_path, chosen)
    assert read_filters(tmp_path) == chosen


@pytest.mark.parametrize(
    "content", ["[]", '{"filters": []}', '{"filters": [{"kind": "Median"}], "chosen by": ""}', "{"]
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "filters.json").write_text(content)
    with pytest.raises(ValueError, match=r"filters.json is not as validate writes it .*run validate again"):
        read_filters(tmp_path)
