"""Tables of a test on videos: error beside flicker by method, and how single landmarks move."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_modules.further import Curves, Table
from lightning_modules.metrics import VIDEO_METRICS
from lightning_modules.video.collected import ALONE, Video
from lightning_modules.video.filters import Filter

DRAWS = 2_000  # of the bootstrap
LONGEST = 150  # frames of a trajectory that are drawn
NAMES = list(VIDEO_METRICS)
Numbers = NDArray[np.float64]
NOTE = (
    "Means over the videos. In brackets, what 95 of 100 redrawn sets of videos give (bootstrap; changes against "
    f"'{ALONE}' are paired). NMF is in hundredths of a pixel of a 256-pixel face, as in Table 3 of Micaelli et al. "
    "2023, and nmf_eq11 by their Eq. 11, in faces; acceleration is the error of it in pixels of a 256-pixel face a "
    "frame², jitter the third difference of the prediction in such pixels a frame³."
)


def method_table(subset: str, errors: Mapping[str, Numbers]) -> Table:
    """Means over the videos of each method, with 95 % intervals, and what a method changes against `ALONE`.

    Args:
        subset: which videos these are; empty where they are all.
        errors: (M, 5) `VIDEO_METRICS` of the same videos by method.
    """
    note = "As above." if subset else NOTE
    count = len(errors[ALONE])
    chosen = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    rows = [_method_row(method, values, errors[ALONE], chosen) for method, values in errors.items()]
    curves = Curves("nme", ("nmf",), "NME, %", "NMF", by="method", dots=True)
    printed = ("method", "nme", "nmf", "nme change", "nmf change")
    return Table(f"Error and flicker: {subset or 'all'} videos ({count})", note, rows, curves, printed=printed)


def _method_row(method: str, values: Numbers, alone: Numbers, chosen: NDArray[np.int64]) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method}
    for name in ("nme", "nmf"):
        row |= _interval(name, values[:, NAMES.index(name)], chosen)
    for name in ("nme", "nmf"):
        column = NAMES.index(name)
        row |= _interval(f"{name} change", values[:, column] - alone[:, column], chosen)
    shown = {"nmf_eq11": "nmf_eq11", "acceleration_error": "acceleration", "jitter": "jitter"}
    return row | {title: round(_mean(values[:, NAMES.index(name)]), 6) for name, title in shown.items()}


def _interval(name: str, values: Numbers, chosen: NDArray[np.int64]) -> dict[str, float]:
    """The mean of the videos' values (M,) and the 95 % interval of it; one-frame videos have no flicker."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # a draw of such videos alone
        drawn = np.where(known, values, 0.0)[chosen].sum(axis=1) / known[chosen].sum(axis=1)
    low, high = np.nanquantile(drawn, (0.025, 0.975)) if np.isfinite(drawn).any() else (np.nan, np.nan)
    ends = {f"{name} low": round(float(low), 4), f"{name} high": round(float(high), 4)}
    return {name: round(_mean(values), 4), **ends}


def _mean(values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def video_table(names: Sequence[str], errors: Mapping[str, Numbers]) -> Table:
    """Every video by every method; ``rank`` 1 flickers most, each frame alone."""
    order = np.argsort(-errors[ALONE][:, NAMES.index("nmf")], kind="stable").tolist()
    rows = [
        {"video": names[video], "rank": rank + 1, "method": method}
        | {name: round(float(value), 6) for name, value in zip(NAMES, errors[method][video], strict=True)}
        for method in errors
        for rank, video in enumerate(order)
    ]
    note = "NMF of each video, those first that flicker most where each frame is looked at alone."
    curves = Curves("rank", ("nmf",), "videos", "NMF", by="method")
    return Table("Flicker by video", note, rows, curves, listed=False)


def trajectory_tables(
    name: str, video: Video, filters: Sequence[Filter], chosen: Sequence[int] | None, count: int = 2
) -> list[Table]:
    """How landmarks of a video move, along the one of x and y in which they flicker more: one table a landmark.

    Args:
        name: of the video.
        video: the video.
        filters: what is shown beside the methods.
        chosen: which landmarks; None is those that flicker most where each frame is looked at alone.
        count: how many those are.
    """
    methods = [*video.found, *(smoothing.title for smoothing in filters)]
    found = {"annotation": video.truth} | {method: video.by(method, filters) for method in methods}
    change = (video.truth - video.found[ALONE]).diff(dim=0).square()  # (T - 1, N, 2)
    change = change.masked_fill(~(video.valid[1:] & video.valid[:-1])[:, None, None], 0.0)
    totals = change.sum(dim=0)  # (N, 2)
    first = _busiest(change.sum(dim=(1, 2)))
    tables = []
    note = (
        "Of the video and the landmark that flicker most where each frame is looked at alone." if chosen is None else ""
    )
    for landmark in chosen or totals.amax(dim=1).argsort(descending=True)[:count].tolist():
        axis = int(totals[landmark].argmax())
        rows = [
            {"frame": int(video.frame[t])} | {key: round(float(p[t, landmark, axis]), 3) for key, p in found.items()}
            for t in range(first, min(first + LONGEST, len(video.frame)))
        ]
        title = f"Landmark {landmark} of {name}, {'xy'[axis]}"
        curves = Curves("frame", tuple(found), "frame", "pixels of the video", level=True)
        tables.append(Table(title, note, rows, curves, listed=False))
    return tables


def _busiest(change: Tensor) -> int:
    """The first of `LONGEST` frames in which most changes."""
    if len(change) <= LONGEST:
        return 0
    return int(change.unfold(0, LONGEST, 1).sum(dim=1).argmax())
