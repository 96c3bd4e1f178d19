"""Metrics of a test set of videos, exact under any number of processes.

Each metric keeps one row a frame, keyed by video and frame, and drops repeats before it reduces: first over the frames
of each video, then over the videos, none of which counts more for being longer. A video must be given to one process,
from its first frame on and in order, whole or in chunks; several videos may be given side by side.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

from lightning_modules.metrics.flicker import FACE, acceleration_errors, flicker, jitters
from lightning_modules.metrics.functional import first_rows, normalized_mean_error

NME, FLICKER, ACCELERATION, JITTER = range(4)  # columns of a row
COLUMNS = 4
LOOKED_BACK = 3  # frames that the third difference goes back
FRAMES = 2**32  # of a video, fewer: the key of a row is video * FRAMES + frame


class Seen(NamedTuple):
    """The last frames of a video."""

    frame: int  # the last one's number
    pred: Tensor  # (`LOOKED_BACK`, N, 2), NaN where there was none
    target: Tensor  # likewise


class PerVideoMetric(Metric):
    """A number of a set of videos: implement ``reduce``. It is NaN where the set is empty.

    All such metrics keep the same rows, so that a collection updates one of them for all. A frame that is not valid is
    as if it were not there: no difference is taken across it.

    Args:
        subset: column of ``subsets`` whose videos count; None counts all.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    key: list[Tensor]
    values: list[Tensor]
    subsets: list[Tensor]

    def __init__(self, subset: int | None = None) -> None:
        super().__init__()
        self.subset = subset
        for state in ("key", "values", "subsets"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self._seen: dict[int, Seen] = {}

    def update(
        self,
        pred: Tensor,
        target: Tensor,
        norm: Tensor,
        video: Tensor,
        frame: Tensor,
        valid: Tensor,
        subsets: Tensor,
    ) -> None:
        """Add T consecutive frames of V videos with N landmarks.

        Args:
            pred: (V, T, N, 2) in pixels of the video.
            target: (V, T, N, 2) likewise.
            norm: (V, T) what the error is divided by, in the same pixels.
            video: (V,) int64, the identity of each.
            frame: (V, T) int64, counted from the video's beginning.
            valid: (V, T) bool, whether the frame counts.
            subsets: (V, S) bool, which subsets each video is in.

        Raises:
            ValueError: as in `point_errors`, naming video and frame; if frames do not follow each other.
        """
        for row in range(len(video)):
            self._check(pred[row], target[row], norm[row], int(video[row]), frame[row], valid[row])
            values = self._rows(pred[row], target[row], norm[row], int(video[row]), frame[row], valid[row])
            kept = valid[row]
            self.key.append((video[row].long() * FRAMES + frame[row].long())[kept])
            self.values.append(values[kept].float().flatten())
            self.subsets.append(subsets[row].bool().expand(int(kept.sum()), -1).flatten())

    def _check(self, pred: Tensor, target: Tensor, norm: Tensor, video: int, frame: Tensor, valid: Tensor) -> None:
        if not (frame.diff() == 1).all():
            raise ValueError(f"video {video}: frames {frame.tolist()} do not follow each other; give them in order")
        try:
            normalized_mean_error(pred[valid], target[valid], norm[valid], frame[valid])
        except ValueError as error:
            raise ValueError(f"video {video}, {error}") from error

    def _rows(self, pred: Tensor, target: Tensor, norm: Tensor, video: int, frame: Tensor, valid: Tensor) -> Tensor:
        """The numbers (T, `COLUMNS`) of the frames of a video; NaN where too few frames were before."""
        missing = ~valid.view(-1, 1, 1)
        pred, target = (points.float().masked_fill(missing, torch.nan) for points in (pred, target))
        before = self._seen.get(video)
        if before is None or before.frame != int(frame[0]) - 1:
            nothing = pred.new_full((LOOKED_BACK, *pred.shape[1:]), torch.nan)
            before = Seen(-1, nothing, nothing)
        pred, target = torch.cat([before.pred, pred]), torch.cat([before.target, target])
        self._seen[video] = Seen(int(frame[-1]), pred[-LOOKED_BACK:], target[-LOOKED_BACK:])
        rows = pred.new_empty(len(frame), COLUMNS)
        new = slice(LOOKED_BACK, None)
        rows[:, NME] = 100 * torch.linalg.vector_norm(pred[new] - target[new], dim=-1).mean(dim=-1) / norm
        rows[:, FLICKER] = flicker(pred, target)[LOOKED_BACK - 1 :]
        rows[:, ACCELERATION] = acceleration_errors(pred, target)[LOOKED_BACK - 2 :]
        rows[:, JITTER] = jitters(pred, target)
        return rows

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows of all processes; torchmetrics calls it before every ``compute``."""
        # See `PerFaceMetric.sync`: a process without videos sends empty rows of the others' type.
        if not len(self.key):
            for state, dtype in ((self.key, torch.int64), (self.values, torch.float32), (self.subsets, torch.bool)):
                state.append(torch.empty(0, dtype=dtype, device=self.device))
        super().sync(*args, **kwargs)

    def reset(self) -> None:
        """Forget rows and videos."""
        super().reset()
        self._seen = {}

    def compute(self) -> Tensor:
        """The metric of the distinct frames seen by all processes."""
        return self.reduce(self.videos())

    def videos(self) -> dict[int, Tensor]:
        """Of each video the numbers (T, `COLUMNS`) of its distinct frames seen by all processes."""
        key = dim_zero_cat(self.key)
        if not len(key):
            return {}
        order = first_rows(key)
        values = dim_zero_cat(self.values).reshape(len(key), COLUMNS)[order].double()
        names, counts = torch.unique_consecutive(key[order] // FRAMES, return_counts=True)
        videos = dict(zip(names.tolist(), torch.split(values, counts.tolist()), strict=True))
        if self.subset is None:
            return videos
        subsets = dim_zero_cat(self.subsets).reshape(len(key), -1)[order, self.subset]
        members = subsets[counts.cumsum(dim=0) - counts].tolist()
        return {name: videos[name] for name, member in zip(videos, members, strict=True) if member}

    @abstractmethod
    def reduce(self, videos: Mapping[int, Tensor]) -> Tensor:
        """The number of videos of whose frames the numbers (T, `COLUMNS`) are given."""


class MeanOverVideos(PerVideoMetric):
    """The mean over the videos of a number of each: implement ``of_video``. Videos without one are left out."""

    unit: ClassVar[str]

    def reduce(self, videos: Mapping[int, Tensor]) -> Tensor:
        """See the class."""
        numbers = [self.of_video(frames) for frames in videos.values()]
        return torch.stack(numbers).nanmean() if numbers else torch.tensor(torch.nan, device=self.device)

    @abstractmethod
    def of_video(self, frames: Tensor) -> Tensor:
        """The number of a video whose frames (T, `COLUMNS`) are given; NaN where it has none."""


class VideoError(MeanOverVideos):
    """NME: the mean over a video's frames."""

    unit = "% of the normaliser"

    def of_video(self, frames: Tensor) -> Tensor:
        """See the class."""
        return frames[:, NME].mean()


class NormalizedMeanFlicker(MeanOverVideos):
    """NMF as in the paper's Table 3 and in its code (`table_flicker`): divided by the number of changes."""

    unit = "1/100 px of a 256-px face"

    def of_video(self, frames: Tensor) -> Tensor:
        """See the class."""
        return 100 * FACE * frames[:, FLICKER].nanmean().sqrt()


class EquationFlicker(MeanOverVideos):
    """NMF as in the paper's Eq. 11 (`normalized_mean_flicker`): divided by the number of frames."""

    unit = "faces"

    def of_video(self, frames: Tensor) -> Tensor:
        """See the class."""
        changes = frames[:, FLICKER]
        return (changes.nansum() / len(frames)).sqrt() if changes.isfinite().any() else changes.new_tensor(torch.nan)


class AccelerationError(MeanOverVideos):
    """The mean of `acceleration_errors` over a video's frames."""

    unit = "px of a 256-px face / frame²"

    def of_video(self, frames: Tensor) -> Tensor:
        """See the class."""
        return FACE * frames[:, ACCELERATION].nanmean()


class Jitter(MeanOverVideos):
    """The mean of `jitters` over a video's frames."""

    unit = "px of a 256-px face / frame³"

    def of_video(self, frames: Tensor) -> Tensor:
        """See the class."""
        return FACE * frames[:, JITTER].nanmean()


VIDEO_METRICS: dict[str, type[MeanOverVideos]] = {
    "nme": VideoError,
    "nmf": NormalizedMeanFlicker,
    "nmf_eq11": EquationFlicker,
    "acceleration_error": AccelerationError,
    "jitter": Jitter,
}


class ErrorsByVideo(PerVideoMetric):
    """A table (M, 1 + 5): each video's identity and its `VIDEO_METRICS`, in their order."""

    def reduce(self, videos: Mapping[int, Tensor]) -> Tensor:
        """See the class."""
        metrics = [metric() for metric in VIDEO_METRICS.values()]
        rows = [torch.stack([f.new_tensor(v), *(m.of_video(f) for m in metrics)]) for v, f in videos.items()]
        return torch.stack(rows) if rows else torch.empty(0, 1 + len(metrics), dtype=torch.float64)


def video_metrics(subset_names: Sequence[str]) -> MetricCollection:
    """`VIDEO_METRICS` over all videos, and by subset as ``nmf/<name>`` and so on."""
    metrics: dict[str, Metric | MetricCollection] = {}
    for subset, suffix in [(None, ""), *((i, f"/{name}") for i, name in enumerate(subset_names))]:
        metrics |= {f"{name}{suffix}": metric(subset=subset) for name, metric in VIDEO_METRICS.items()}
    return MetricCollection(metrics, compute_groups=[list(metrics)])
