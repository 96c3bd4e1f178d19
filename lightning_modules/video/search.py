"""Which filter to take: each kind's best, by validation videos."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lightning_modules.further import Curves, Table
from lightning_modules.metrics import VIDEO_METRICS
from lightning_modules.video.collected import ALONE
from lightning_modules.video.filters import Filter, MovingAverage, OneEuro, SavitzkyGolay

COST = 0.01  # share by which a filter may raise the NME: "without increasing NME too much", says the paper
KINDS: Mapping[str, type[Filter]] = {kind.__name__: kind for kind in (MovingAverage, SavitzkyGolay, OneEuro)}
FILE = "filters.json"  # in the run's folder


class Tried:
    """What filters do to the validation videos.

    Args:
        filters: those tried.
        errors: of `CollectedVideos.errors`.
    """

    def __init__(self, filters: Sequence[Filter], errors: Mapping[str, Tensor]) -> None:
        self.filters, self.videos = filters, len(errors[ALONE])
        self.means = {method: _means(table) for method, table in errors.items()}

    @property
    def chosen(self) -> list[Filter]:
        """The best of each kind."""
        return [self.best(kind) for kind in KINDS.values()]

    def best(self, kind: type[Filter]) -> Filter:
        """The filter with the lowest NMF of those that raise the NME by at most `COST`; else with the lowest NME."""
        own = [each for each in self.filters if isinstance(each, kind)]
        most = (1 + COST) * self.means[ALONE]["nme"]
        cheap = [each for each in own if self.means[each.title]["nme"] <= most]
        if cheap:
            return min(cheap, key=lambda each: self.means[each.title]["nmf"])
        return min(own, key=lambda each: self.means[each.title]["nme"])

    def table(self) -> Table:
        """Means over the videos of what was tested without a filter and of the best filters."""
        filters, best = {each.title for each in self.filters}, {each.title for each in self.chosen}
        shown = {method: means for method, means in self.means.items() if method not in filters or method in best}
        rows = [{"method": method, **{k: round(v, 4) for k, v in means.items()}} for method, means in shown.items()]
        note = f"The filters with the lowest NMF of those that raise the NME by at most {100 * COST:g} %."
        curves = Curves("nme", ("nmf",), "NME, %", "NMF", by="method", dots=True)
        title = f"Filters chosen by {self.videos} validation videos"
        return Table(title, note, rows, curves, printed=("method", "nme", "nmf"))


def _means(table: Tensor) -> dict[str, float]:
    return dict(zip(VIDEO_METRICS, table[:, 1:].nanmean(dim=0).tolist(), strict=True))


class Chosen(NamedTuple):
    """Filters that were chosen."""

    filters: list[Filter]
    by: str  # which videos
    step: int | None = None  # of the training that the weights were of

    def of(self, step: int | None) -> str:
        """What chose them, and that it was with other weights than those of ``step``."""
        if step == self.step:
            return self.by
        return f"{self.by} with the weights of step {self.step}, here those of step {step} (validate chooses anew)"


def write_filters(folder: Path, chosen: Chosen) -> Path:
    """Note chosen filters in a run's folder."""
    path = folder / FILE
    filters = [{"kind": type(each).__name__, **asdict(each)} for each in chosen.filters]
    path.write_text(json.dumps({"chosen by": chosen.by, "step": chosen.step, "filters": filters}, indent=1))
    return path


def read_filters(folder: Path) -> Chosen:
    """The filters of `write_filters`; none where there is no such file.

    Raises:
        ValueError: one sentence naming the file, where it is not as it was written.
    """
    path = folder / FILE
    if not path.is_file():
        return Chosen([], "")
    try:
        content = json.loads(path.read_text())
        filters = [KINDS[row.pop("kind")](**row) for row in content["filters"]]
        return Chosen(filters, str(content["chosen by"]), content["step"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not as validate writes it ({error!r:.80}); run validate again") from error
