"""What an ensemble writes of videos: annotation in the format of WFLW-V, and how sure it is of each."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from callbacks.arguments import UsageError
from callbacks.run_folder import note
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.oracle import Oracle

Numbers = NDArray[np.floating]


class Annotation(NamedTuple):
    """Of a video's T frames."""

    landmarks: Numbers  # (T, N, 2) in pixels of the video
    boxes: Numbers  # (T, 4) that they were found in
    variance: float  # between the members: the mean over the frames, in areas of the face


@torch.inference_mode()
def annotate_videos(ensemble: Ensemble, data: Any, out: Path) -> None:
    """Write ``videos``, ``landmarks`` and ``bboxes``, the two lists and ``ranking.csv`` below a folder.

    Args:
        ensemble: the models.
        data: `OwnFiles` of videos with one face each.
        out: the folder; videos that it has already are not annotated again.

    Raises:
        UsageError, ValueError: a file is no .mp4; two have one name; no face is found where a video begins.
    """
    data.setup("predict")
    names = {source.name: Path(source.name).stem for source in data.sources}
    for source in data.sources:
        if not source.name.lower().endswith(".mp4"):
            raise UsageError(f"{source.path} is no .mp4, which WFLW-V's format has; convert it, or take it away")
    if len(set(names.values())) < len(names):
        raise UsageError(f"{data.path} has two videos of one name in different folders; rename one")
    variances = _read_ranking(out / "ranking.csv")
    data.sources = [source for source in data.sources if names[source.name] not in variances]
    oracle, frames = Oracle(ensemble, data.convention, data.size), []
    for item in track(data.predict_dataloader(), "frames"):
        if not item.last:
            frames.append(oracle(item.pixels.numpy(), item.detected if item.given is None else item.given.box))
            continue
        if item.trouble:
            raise ValueError(f"{item.trouble}; an annotated video has to be whole")
        name, found = names[item.source.name], Annotation(*oracle.collected(frames, item.source.path))
        for folder, values in (("landmarks", found.landmarks), ("bboxes", found.boxes)):
            (out / folder).mkdir(parents=True, exist_ok=True)
            np.save(out / folder / f"{name}.npy", values)
        (out / "videos").mkdir(exist_ok=True)
        shutil.copyfile(item.source.path, out / "videos" / f"{name}.mp4")
        variances[name] = found.variance
        _write_ranking(out / "ranking.csv", variances)
        frames = []
        oracle.restart()
    ranked = sorted(variances, key=lambda each: variances[each])
    for subset, chosen in (("easy", ranked[: len(ranked) // 2]), ("hard", ranked[len(ranked) // 2 :])):
        (out / f"{subset}_video_IDs.txt").write_text("".join(f"{each}\n" for each in sorted(chosen)))
    note(f"{len(ranked)} videos are in {out}, annotated as WFLW-V is")


@torch.inference_mode()
def rank_videos(ensemble: Ensemble, data: Any, out: Path) -> None:
    """Write the variance of each test video of a dataset, in its crops, to a CSV.

    Raises:
        UsageError: the dataset has no videos.
    """
    if not hasattr(data, "video_dataloader"):
        raise UsageError(f"data.class_path is {type(data).__name__}, which has no videos to rank")
    data.setup("test")
    sums: dict[int, list[float]] = {}
    for batch in track(data.video_dataloader(), "videos"):
        shown = batch["shown"]
        variance = torch.zeros(shown.shape)
        variance[shown] = ensemble.opinions(batch["image"][shown]).variance
        for video, values, kept in zip(batch["video"].tolist(), variance, shown, strict=True):
            sums.setdefault(video, []).extend(values[kept].tolist())
    names, _ = data.test_videos(sorted(sums))
    _write_ranking(out, {name: float(np.mean(sums[video])) for name, video in zip(names, sorted(sums), strict=True)})
    note(f"{len(sums)} videos are ranked in {out}")


def _write_ranking(path: Path, variances: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "variance"])
        writer.writerows([name, f"{variance:.8g}"] for name, variance in variances.items())


def _read_ranking(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["video"]: float(row["variance"]) for row in csv.DictReader(file)}
