"""What it costs to have no true boxes, as on a video of one's own: error and flicker of faces that are followed.

    python tests/benchmarks/following_accuracy.py runs/NAME [--config data/synthetic_videos.yaml] [--every 10]
        [--data.init_args.num_test 20 ...]

The test videos of a dataset go through what ``predict`` does with own files, by the network of a run: in the dataset's
boxes; with the face of the first frame followed by its last landmarks, and by nothing else unless it is lost; and with
the face detector at every n-th frame, as without ``--data.boxes``. Where several faces are found in a frame, the one
that overlaps the true one most counts. Errors are of the frames in which all three find a face; the share of frames in
which each does not is beside them. In brackets, the interval that holds 95 of 100 redrawn sets of videos of the change.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[2]))

from callbacks.arguments import Arguments
from callbacks.inspection.data_config import read_data
from callbacks.oracle.members import read_model
from callbacks.quiet import silence
from callbacks.sentences import one_sentence
from datamodules.crop import landmark_box
from datamodules.face_detector import FaceDetector
from lightning_modules.metrics import VIDEO_METRICS, ErrorsByVideo
from lightning_modules.video.finding import overlaps
from lightning_modules.video.following import Face, Follower

GIVEN, FOLLOWED, DETECTED = "given", "followed", "detected and followed"
DRAWS = 2_000  # of the bootstrap
Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Frame(NamedTuple):
    """A frame of a test video."""

    number: int
    image: np.ndarray[Any, np.dtype[np.uint8]]
    truth: Numbers  # (4,) the box of the true landmarks
    box: Numbers  # (4,) the dataset's, that crops are made of


Find = Callable[[Frame], list[Face]]


def ways(module: Any, data: Any, every: int) -> dict[str, Find]:
    """How faces are found in the frames of one video, by its title."""
    given, followed, detected = (Follower(module, data.test_faces.convention, data.size) for _ in range(3))
    detector = FaceDetector()
    detected.detector = lambda image: detector(image).boxes
    there = False  # whether the face was found in the frame before

    def follow(frame: Frame) -> list[Face]:
        nonlocal there
        faces = followed(frame.image, None if there else followed.finder.detection_about(frame.truth)[None])
        there = bool(faces)
        return faces

    def detect(frame: Frame) -> list[Face]:
        return detected(frame.image, None if frame.number % every else detector(frame.image).boxes)

    return {GIVEN: lambda frame: given.given(frame.image, frame.box[None], [0]), FOLLOWED: follow, DETECTED: detect}


def nearest(faces: Sequence[Face], truth: Numbers) -> Numbers | None:
    """The landmarks (N, 2) of the face that overlaps the true one most, if one does."""
    if not faces:
        return None
    overlap = overlaps(truth[None], np.stack([landmark_box(face.landmarks) for face in faces]))[0]
    return faces[int(overlap.argmax())].landmarks if overlap.max() > 0 else None


def measured(module: Any, data: Any, every: int) -> tuple[dict[str, Numbers], dict[str, Numbers], Numbers]:
    """By title, `VIDEO_METRICS` (V, 5) and the share (V,) of frames without a face; and the subsets (V, S)."""
    faces = data.test_faces.whole
    dataset = data.crops(faces, data.reader(faces, 1))
    boxes = landmark_box(faces.landmarks) if dataset.convention.source == "landmarks" else faces.box
    metrics = {title: ErrorsByVideo() for title in (GIVEN, FOLLOWED, DETECTED)}
    lost: dict[str, list[float]] = {title: [] for title in metrics}
    for video, rows in enumerate(track(faces.videos(), "videos")):
        find, truth = ways(module, data, every), torch.from_numpy(dataset.landmarks[rows]).float()
        found = {title: np.full((len(rows), module.num_landmarks, 2), np.nan) for title in find}
        for number, row in enumerate(rows):
            frame = Frame(number, dataset.read(int(row)), landmark_box(dataset.landmarks[row]), boxes[row])
            for title, act in find.items():
                if (points := nearest(act(frame), frame.truth)) is not None:
                    found[title][number] = points
        there = {title: np.isfinite(points).all(axis=(1, 2)) for title, points in found.items()}
        valid = torch.from_numpy(np.all([faces.scored[rows], *there.values()], axis=0))
        rest = torch.from_numpy(dataset.norms[rows]).float(), torch.tensor(video), torch.arange(len(rows)), valid
        for title, points in found.items():
            lost[title].append(float(1 - there[title][faces.scored[rows]].mean()))
            columns = (torch.from_numpy(points).float(), truth, *rest, torch.zeros(0).bool())
            metrics[title].update(*(column.unsqueeze(0) for column in columns))
    tables = {title: metric.compute().numpy() for title, metric in metrics.items()}
    errors = {title: np.full((len(faces.videos()), len(VIDEO_METRICS)), np.nan) for title in metrics}
    for title, table in tables.items():
        errors[title][table[:, 0].astype(int)] = table[:, 1:]  # a video whose frames are all without a face has no row
    subsets = faces.subsets[[rows[0] for rows in faces.videos()]]
    return errors, {title: np.array(shares) for title, shares in lost.items()}, subsets


def change(values: Numbers, before: Numbers) -> str:
    """The mean change over the videos (V,) and its 95 % interval."""
    changes = (values - before)[np.isfinite(values - before)]
    drawn = np.random.default_rng(0).integers(0, max(1, len(changes)), (DRAWS, len(changes)))
    low, high = np.quantile(changes[drawn].mean(axis=1), (0.025, 0.975)) if len(changes) else (np.nan, np.nan)
    return f"{changes.mean() if len(changes) else np.nan:+.3g} ({low:+.3g} to {high:+.3g})"


def show(title: str, errors: dict[str, Numbers], lost: dict[str, Numbers]) -> None:
    """Print the table of some videos."""
    print(f"\n{title:24}{'NME, %':>8}  {'change':26}{'NMF':>8}  {'change':26}no face, %")
    for way, values in errors.items():
        cells = f"{way:24}"
        for name, digits in (("nme", 3), ("nmf", 1)):
            column = list(VIDEO_METRICS).index(name)
            told = "" if way == GIVEN else change(values[:, column], errors[GIVEN][:, column])
            cells += f"{np.nanmean(values[:, column]):8.{digits}f}  {told:26}"
        print(f"{cells}{100 * lost[way].mean():10.2f}")


@torch.inference_mode()
def main() -> None:
    """Print the tables.

    Raises:
        ValueError: the run was trained on whole images or in another markup, or the data has no videos.
    """
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--config", default="data/synthetic_videos.yaml")
    options.add_argument("--every", type=int, default=10)
    chosen, others = options.parse_known_args()
    torch.set_num_threads(1)
    silence()
    module, stored = read_model(chosen.run, last=False)
    crops = [f"--data.init_args.{key}={stored[kept]}" for key, kept in (("size", "input_size"), ("box", "box"))]
    data, _ = read_data(Arguments.read(["inspect", "--config", chosen.config, *crops, *others]))
    if not hasattr(data, "video_dataloader") or stored["box"] == "image" or data.markup.name != module.markup:
        raise ValueError(
            f"{chosen.run} was trained with box {stored['box']} on {module.markup}, {chosen.config} has "
            f"{data.markup.name}; expected videos in the same markup, and a box round each face"
        )
    data.setup("test")
    errors, lost, subsets = measured(module, data, chosen.every)
    show(f"all {len(subsets)} videos", errors, lost)
    for column, name in enumerate(data.subset_names):
        if (own := subsets[:, column]).any():
            of = f"{name} ({int(own.sum())})"
            show(of, {k: v[own] for k, v in errors.items()}, {k: v[own] for k, v in lost.items()})


if __name__ == "__main__":
    with one_sentence():
        main()
