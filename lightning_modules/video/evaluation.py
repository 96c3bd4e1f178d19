"""What a test on videos says beside the numbers of single frames, and which filters validation videos choose."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_modules.further import Table
from lightning_modules.metrics import VIDEO_METRICS
from lightning_modules.video.collected import ALONE, CollectedVideos, Video
from lightning_modules.video.filters import MovingAverage
from lightning_modules.video.search import Chosen
from lightning_modules.video.tables import method_table, trajectory_tables, video_table

EMA = tuple(MovingAverage(weight) for weight in (0.15, 0.3, 0.5))  # the paper's, the one for HIH, and a strong one


def video_tables(collected: CollectedVideos, data: Any, chosen: Chosen) -> dict[str, Table]:
    """Tables of a test; all ranks call it.

    Args:
        collected: this rank's videos.
        data: the datamodule.
        chosen: filters tested beside three moving averages.
    """
    filters = [*EMA, *(smoothing for smoothing in chosen.filters if smoothing not in EMA)]
    by = chosen.of(collected.module.trained_step)
    by = f" {', '.join(each.title for each in chosen.filters)}: chosen by {by}." if chosen.filters else ""
    tables = collected.errors(filters)
    names, subsets = data.test_videos(tables[ALONE][:, 0].long().tolist())
    errors = {method: table[:, 1:].numpy() for method, table in tables.items()}
    whole = method_table("", errors)
    made = {"videos": replace(whole, note=whole.note + by)}
    for subset, title in enumerate(data.subset_names):
        member = subsets[:, subset]
        if member.any() and not member.all():
            made[f"videos_{title.replace(' ', '_')}"] = method_table(
                title, {method: values[member] for method, values in errors.items()}
            )
    made["by_video"] = video_table(names, errors)
    flicker = np.nan_to_num(errors[ALONE][:, list(VIDEO_METRICS).index("nmf")])
    shown = data.chosen_trajectories() or {names[int(flicker.argmax())]: None}
    trajectories = list[Table]()
    for name, landmarks in shown.items():
        video = _from_its_rank(collected, int(tables[ALONE][names.index(name), 0]))
        trajectories += trajectory_tables(name, video, EMA[1:2], landmarks)
    return made | {f"trajectory_{number}": table for number, table in enumerate(trajectories, start=1)}


def _from_its_rank(collected: CollectedVideos, name: int) -> Video:
    """A video that one of the ranks has, on all of them."""
    own = next((video for number, video in collected if number == name), None)

    def shared(values: Tensor) -> Tensor:
        """The sum over the ranks, all but one of which have zeros."""
        on_device = values.double().to(collected.module.device)
        return collected.module.trainer.strategy.reduce(on_device, reduce_op="sum").cpu()

    trainer: Any = collected.module.trainer
    counts = torch.zeros(trainer.world_size)
    counts[trainer.global_rank] = 0 if own is None else len(own.frame)
    counts = shared(counts)
    if int(counts.argmax()) != trainer.global_rank:
        own = None  # or it has the first chunk alone, which a rank without videos gets
    shapes = [(), (), (), (), *[(trainer.datamodule.num_landmarks, 2)] * (1 + len(collected.tested))]
    empty = [torch.zeros(int(counts.max()), *shape) for shape in shapes]
    frame, seconds, valid, norm, truth, *found = map(shared, empty if own is None else [*own[:-1], *own.found.values()])
    landmarks = {method: points.float() for method, points in zip(collected.tested, found, strict=True)}
    return Video(frame.long(), seconds, valid > 0.5, norm.float(), truth.float(), landmarks)
