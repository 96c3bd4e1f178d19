"""The landmarks of whole videos, collected from the chunks that they are tested in, and their errors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_modules.metrics import ErrorsByVideo
from lightning_modules.video.filters import Filter
from lightning_modules.video.tracking import Tracker, in_image

ALONE = "each frame alone"


class Video(NamedTuple):
    """T frames of a video, on the CPU; landmarks and normaliser in pixels of the video."""

    frame: Tensor  # (T,) int64
    seconds: Tensor  # (T,) float64, since the first one
    valid: Tensor  # (T,) bool, whether it counts
    norm: Tensor  # (T,)
    truth: Tensor  # (T, N, 2)
    found: Mapping[str, Tensor]  # (T, N, 2) by method

    def by(self, method: str, filters: Sequence[Filter]) -> Tensor:
        """Landmarks (T, N, 2) by a method: one that was tested, or a filter on `ALONE`."""
        if method in self.found:
            return self.found[method]
        smoothing = next(each for each in filters if each.title == method)
        return torch.from_numpy(smoothing(self.found[ALONE].numpy().astype(np.float64), self.seconds.numpy())).float()


class CollectedVideos:
    """The landmarks found in the videos that this process tests, each frame alone and by the module's recurrence.

    Args:
        module: the `LandmarkModule` that finds them.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.trackers = {title: Tracker(recurrence) for title, recurrence in module.recurrences().items()}
        self.tested = (ALONE, *self.trackers)
        self._parts: dict[int, list[Video]] = {}

    @torch.no_grad()
    def put(self, batch: Any, alone: Tensor) -> None:
        """Add a `VideoBatch`, in whose frames these landmarks (V, T, N, 2) were found, each frame alone."""
        tracked = {title: _tracked(tracker, batch) for title, tracker in self.trackers.items()}
        found, crop = {ALONE: alone, **tracked}, batch["crop"]
        scale = torch.linalg.det(crop[..., :2]).abs().sqrt()  # pixels of the video per crop pixel
        in_video = {key: in_image(self.module.in_data_markup(points), crop).cpu() for key, points in found.items()}
        truth, norm = in_image(batch["landmarks"], crop).cpu(), (batch["norm"] * scale).cpu()
        frame, seconds, shown, valid = (batch[key].cpu() for key in ("frame", "seconds", "shown", "valid"))
        for row, video in enumerate(batch["video"].tolist()):
            kept = shown[row]
            columns = (column[row, kept] for column in (frame, seconds, valid, norm, truth))
            landmarks = {method: points[row, kept] for method, points in in_video.items()}
            self._parts.setdefault(video, []).append(Video._make([*columns, landmarks]))

    def __iter__(self) -> Iterator[tuple[int, Video]]:
        """Each video of this process, whole, with its identity."""
        for name, parts in self._parts.items():
            columns = (torch.cat(column) for column in zip(*(part[:-1] for part in parts), strict=True))
            landmarks = {method: torch.cat([part.found[method] for part in parts]) for method in self.tested}
            yield name, Video._make([*columns, landmarks])

    def errors(self, filters: Sequence[Filter]) -> dict[str, Tensor]:
        """The table of `ErrorsByVideo` of all processes' videos, by method: those tested, then filters on `ALONE`."""
        methods = [*self.tested, *(smoothing.title for smoothing in filters)]
        metrics = {method: ErrorsByVideo().to(self.module.device) for method in methods}
        for name, video in self:
            columns = [video.truth, video.norm, torch.tensor(name), video.frame, video.valid, torch.zeros(0).bool()]
            given = [column.unsqueeze(0).to(self.module.device) for column in columns]
            for method, metric in metrics.items():
                metric.update(video.by(method, filters).unsqueeze(0).to(self.module.device), *given)
        return {method: metric.compute().cpu() for method, metric in metrics.items()}


def _tracked(tracker: Tracker, batch: Any) -> Tensor:
    """Landmarks (V, T, N, 2) in crop pixels of a `VideoBatch`, by a recurrence."""
    videos = batch["video"].tolist()
    for video, begins in zip(videos, batch["start"].tolist(), strict=True):
        if begins:
            tracker.forget(video)
    frames = zip(batch["image"].unbind(dim=1), batch["crop"].unbind(dim=1), strict=True)
    found = torch.stack([tracker(image, crop, videos).landmarks for image, crop in frames], dim=1)
    for video, ends in zip(videos, batch["end"].tolist(), strict=True):
        if ends:
            tracker.forget(video)  # a state is megabytes
    return found
