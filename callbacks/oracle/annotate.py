"""What an ensemble writes of videos: annotation in the format of WFLW-V, and how sure it is of each."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from callbacks.arguments import UsageError
from callbacks.own_files.about import About, asked
from callbacks.run_folder import counted, note
from datamodules.markup import WFLW_98
from datamodules.ranking import read_ranking, upper_half
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.video.oracle import Found, Oracle


@torch.inference_mode()
def annotate_videos(ensemble: Ensemble, data: Any, out: Path) -> None:
    """Write ``videos``, ``landmarks`` and ``bboxes``, the two lists and ``ranking.csv`` below a folder.

    Args:
        ensemble: the models.
        data: `OwnFiles` of videos with one face each.
        out: the folder; videos that it has already are not annotated again.

    Raises:
        UsageError: the models have other landmarks than WFLW-V; a file is no .mp4; two have one name; the folder holds
            annotation by other models, of other videos or with other options.
        ValueError: videos were left out, because not every frame has a face or can be read; the others are done.
    """
    _check_markup(ensemble)
    data.setup("predict")
    names = {source.name: Path(source.name).stem for source in data.sources}
    for source in data.sources:
        if not source.name.lower().endswith(".mp4"):
            raise UsageError(f"{source.path} is no .mp4, which WFLW-V's format has; convert it, or take it away")
    if len(set(names.values())) < len(names):
        raise UsageError(f"{data.path} has two videos of one name in different folders; rename one")
    about = About(out, {**asked(data), "members": sorted(map(_weights, ensemble.members))}, "--out")
    ranking = out / "ranking.csv"
    variances = read_ranking(ranking, "delete it to begin anew") if ranking.is_file() else {}
    about.check(data.files, {name for name, stem in names.items() if stem in variances})
    about.write(data.files)
    data.sources = [source for source in data.sources if names[source.name] not in variances]
    oracle, left_out = Oracle(ensemble, data.convention, data.size), list[str]()
    for source in [source for source in data.sources if data.stretched(source)]:
        data.sources.remove(source)
        left_out.append(
            f"{source.path}: its pixels are not square, of which WFLW-V's format knows nothing; the video is left out: "
            "convert it (ffmpeg -i OLD.mp4 -vf scale=iw*sar:ih,setsar=1 NEW.mp4)"
        )
        note(left_out[-1])
    for item in track(data.predict_dataloader(), "frames"):
        if not item.last:
            given = item.given is not None
            oracle(item.pixels.numpy(), item.given.box if given else item.detected, given)
            continue
        found = [frame for frame in oracle.frames if frame is not None]
        if sentence := _trouble(item, oracle):
            left_out.append(sentence)
            note(sentence)
        else:
            name = names[item.source.name]
            _write_annotation(out, name, item.source.path, found)
            variances[name] = float(np.mean([frame.variance for frame in found]))
            _write_ranking(ranking, variances)
        oracle.restart()
    if variances:
        hard = upper_half(np.array(list(variances.values())))
        for subset, chosen in (("easy", ~hard), ("hard", hard)):
            videos = sorted(name for name, listed in zip(variances, chosen, strict=True) if listed)
            (out / f"{subset}_video_IDs.txt").write_text("".join(f"{name}\n" for name in videos))
        note(f"annotation of {counted(len(variances), 'video')}, as WFLW-V's, is in {out}")
    if left_out:
        first = "" if len(left_out) == 1 else "; the first"
        raise ValueError(f"{len(left_out)} of {counted(len(names), 'video')} left out{first}: {left_out[0]}")


def _weights(model: Any) -> str:
    """A digest of a model's weights."""
    known = blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        known.update(name.encode())
        known.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
    return known.hexdigest()


def _check_markup(ensemble: Ensemble) -> None:
    """Refuse landmarks that WFLW-V's format has no place for; weights from elsewhere do not say theirs."""
    if ensemble.markup not in (None, WFLW_98.name) or ensemble.num_landmarks != WFLW_98.num_landmarks:
        raise UsageError(
            f"--members find {ensemble.num_landmarks} landmarks ({ensemble.markup or 'markup unknown'}), but WFLW-V's "
            f"format has {WFLW_98.num_landmarks} ({WFLW_98.name}); name runs that were trained in that markup"
        )


def _trouble(item: Any, oracle: Oracle) -> str:
    """Why a video that has ended is left out; '' where every frame has a face."""
    if item.trouble:
        return f"{item.trouble}; the video is left out, as annotation has to be whole: cut it, or convert it again"
    missing = [number for number, frame in enumerate(oracle.frames) if frame is None]
    if not missing:
        return ""
    return (
        f"{item.source.path}: no face is found in {len(missing)} of its {len(oracle.frames)} frames, first in frame "
        f"{missing[0]} (counted from 0); the video is left out: cut it so that every frame shows the face"
    )


def _write_annotation(out: Path, name: str, video: str, found: Sequence[Found]) -> None:
    """Write landmarks (T, N, 2) and the boxes (T, 4) that they were found in, and copy the video."""
    arrays = {"landmarks": [frame.landmarks for frame in found], "bboxes": [frame.box for frame in found]}
    for folder, values in arrays.items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        np.save(out / folder / f"{name}.npy", np.stack(values))
    (out / "videos").mkdir(exist_ok=True)
    shutil.copyfile(video, out / "videos" / f"{name}.mp4")


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
    note(f"the ranking of {counted(len(sums), 'video')} is in {out}")


def _write_ranking(path: Path, variances: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "variance"])
        writer.writerows([name, f"{variance:.8g}"] for name, variance in variances.items())
    partial.replace(path)
