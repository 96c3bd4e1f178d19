"""Time a frame of video: an LDEQ warm-started and stopped early (RwR) beside cold starts, and many videos at once.

    python tests/benchmarks/video_speed.py runs/NAME [--videos 16] [--frames 60] [--rounds 3] [--threads 1]

On generated videos, with the trained LDEQ of a run: milliseconds a frame, evaluations of the cell, NME and NMF of each
frame solved from zeros to a relative residual of 1e-3, of RwR with one and two iterations and run to 1e-3, all of one
video at a time; then frames a second of RwR for 1, 2, 4 and 8 videos at once. Contenders take turns; a ratio is the
median of its rounds. Time is that of the network alone: decoding and crops are done before.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from datamodules.synthetic_videos import SyntheticVideos
from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.recurrence import EarlyStopping
from lightning_modules.metrics import video_metrics
from lightning_modules.video.tracking import Tracker

COLD = "cold, to 1e-3"
Video = dict[str, Tensor]


def prepared(count: int, frames: int, size: int, box: str) -> list[Video]:
    """Test videos, whole: their `VideoBatch` of one video each."""
    data = SyntheticVideos(num_train=2, num_test=count, frames=frames, size=size, box=box, num_workers=0)
    data.setup("test")
    return list(data.video_dataloader(videos_per_batch=1, frames=frames))


def cold(module: LDEQ, video: Video) -> Tensor:
    """Landmarks (T, N, 2) of frames each solved from zeros."""
    return torch.cat([module(image).landmarks for image in video["image"].transpose(0, 1)])


def tracked(module: LDEQ, video: Video) -> Tensor:
    """Landmarks (T, N, 2) of the recurrence."""
    tracker = Tracker(module)
    steps = zip(video["image"].transpose(0, 1), video["crop"].transpose(0, 1), strict=True)
    return torch.cat([tracker(image, crop, [0]).landmarks for image, crop in steps])


def side_by_side(module: LDEQ, videos: list[Video]) -> None:
    """The recurrence of several videos at once."""
    tracker, names = Tracker(module), list(range(len(videos)))
    for t in range(videos[0]["image"].shape[1]):
        tracker(torch.cat([v["image"][:, t] for v in videos]), torch.cat([v["crop"][:, t] for v in videos]), names)


class Counted:
    """Counts the samples that a module's cell looks at."""

    def __init__(self, module: LDEQ) -> None:
        self.samples = 0
        module.cell.register_forward_hook(self)

    def __call__(self, cell: object, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.samples += len(output)


def errors(video: Video, found: Tensor) -> tuple[Tensor, ...]:
    """Arguments of `video_metrics` for landmarks (T, N, 2) in crop pixels."""
    crop = video["crop"].unsqueeze(2)
    pred, target = (
        (crop[..., :2] @ p.unsqueeze(-1)).squeeze(-1) + crop[..., 2] for p in (found[None], video["landmarks"])
    )
    scale = torch.linalg.det(video["crop"][..., :2]).abs().sqrt()
    rest = (video[key] for key in ("video", "frame", "valid", "subsets"))
    return (pred, target, video["norm"] * scale, *rest)


def recurrences(module: LDEQ, videos: list[Video], rounds: int) -> None:
    """Print the first table."""
    ways: dict[str, tuple[EarlyStopping, Callable[[LDEQ, Video], Tensor]]] = {
        COLD: (EarlyStopping(), cold),
        "RwR, 1 iteration": (EarlyStopping(1), tracked),
        "RwR, 2 iterations": (EarlyStopping(2), tracked),
        "warm, to 1e-3": (EarlyStopping(50, tolerance=1e-3), tracked),
    }
    module.evaluation_solver = replace(module.solver, tolerance=1e-3, max_iterations=50)
    metrics = {way: video_metrics(()) for way in ways}
    times: dict[str, list[float]] = defaultdict(list)
    counted, evaluations = Counted(module), dict.fromkeys(ways, 0)
    frames = sum(video["image"].shape[1] for video in videos)
    for number in range(rounds):
        for way, (module.recurrence, run) in ways.items():
            begun, before = time.process_time(), counted.samples
            found = [run(module, video) for video in videos]
            times[way].append(time.process_time() - begun)
            if not number:
                evaluations[way] = counted.samples - before
                for video, points in zip(videos, found, strict=True):
                    metrics[way].update(*errors(video, points))
    print(f"{'one video at a time':22} ms/frame  x cold  evaluations   NME %     NMF")
    for way in ways:
        faster = statistics.median(c / t for c, t in zip(times[COLD], times[way], strict=True))
        spent, values = 1000 * statistics.median(times[way]) / frames, metrics[way].compute()
        mean = evaluations[way] / frames
        print(f"{way:22} {spent:8.1f} {faster:7.2f} {mean:12.2f} {values['nme']:7.3f} {values['nmf']:7.1f}")


def batches(module: LDEQ, videos: list[Video], rounds: int) -> None:
    """Print the second table."""
    module.recurrence = EarlyStopping(2)
    rates: dict[int, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for count in (1, 2, 4, 8):
            begun = time.perf_counter()
            for first in range(0, 8, count):
                side_by_side(module, videos[first : first + count])
            rates[count].append(8 * videos[0]["image"].shape[1] / (time.perf_counter() - begun))
    print("\nvideos at once   frames/s   x one")
    for count, values in rates.items():
        faster = statistics.median(v / one for v, one in zip(values, rates[1], strict=True))
        print(f"{count:14} {statistics.median(values):10.1f} {faster:7.2f}")


@torch.inference_mode()
def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--videos", type=int, default=16)
    options.add_argument("--frames", type=int, default=60)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    checkpoint = chosen.run / "checkpoints" / "best.ckpt"
    module = LDEQ.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    stored = torch.load(checkpoint, weights_only=True, map_location="cpu")
    videos = prepared(max(8, chosen.videos), chosen.frames, stored["input_size"], stored["box"])
    recurrences(module, videos, chosen.rounds)
    batches(module, videos, chosen.rounds)


if __name__ == "__main__":
    main()
