"""Where the time of ``predict`` on a video goes, and how many frames a second it takes as a whole.

    python tests/benchmarks/predict_speed.py runs/NAME [--side 720] [--frames 150] [--every 10] [--rounds 3]

A generated video of one face is written as H.264. Each part is timed alone, on one thread: decoding, the detector
(which looks at every n-th frame), cutting the face out, the network (``track``, one face), the table, drawing and
encoding of the overlay. Milliseconds a frame are medians of the rounds; a share is of the sum of the parts. Then the
command itself, with and without the overlay, decoding and detecting in a process of its own: its seconds less those of
a video of one frame.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from callbacks.oracle.members import read_model
from callbacks.own_files.overlays import OverlayVideo, draw_faces
from callbacks.own_files.tables import LandmarkTable
from datamodules.crop import box_convention, crop_affine, landmark_box, warp
from datamodules.face_detector import FaceDetector
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.motion import sample_video
from datamodules.face_generator.render import render
from datamodules.file_frames import VideoFile
from datamodules.markup import WFLW_98
from lightning_modules.video.following import Face
from lightning_modules.video.tracking import Tracker

CLI = Path(__file__).parents[2] / "cli.py"


def write_video(path: Path, side: int, frames: int) -> np.ndarray:
    """A generated video; its landmarks (T, 98, 2) in pixels."""
    parameters = sample_video((3, 0), 4, frames, "photo")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for row in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(render(parameters[row], side), "rgb24")))
        container.mux(stream.encode())
    return landmarks(parameters)[0] * side - 0.5


def parts(run: Path, video: Path, truth: np.ndarray, every: int, folder: Path) -> dict[str, Callable[[], None]]:
    """What ``predict`` does with the frames, one thing after the other."""
    module, stored = read_model(run, last=False)
    size, convention = int(stored["input_size"]), box_convention(str(stored["box"]))
    frames, detector = list(VideoFile(str(video))), FaceDetector()
    affines = [crop_affine(box, size) for box in convention.moved(landmark_box(truth))]
    crops = [
        torch.from_numpy(warp(f.image, a, size)).permute(2, 0, 1)[None] for f, a in zip(frames, affines, strict=True)
    ]
    faces = [[Face(0, landmark_box(points), points, np.ones(len(points)))] for points in truth]
    drawn = [draw_faces(f.image, face, WFLW_98.edges) for f, face in zip(frames, faces, strict=True)]

    def track() -> None:
        tracker = Tracker(module)
        for crop, affine in zip(crops, affines, strict=True):
            tracker(crop, torch.from_numpy(affine)[None].float(), [0])

    def table() -> None:
        written = LandmarkTable(folder / "table.csv", len(truth[0]))
        written.open()
        for number, face in enumerate(faces):
            written.write("video.mp4", number, number / 25, face)
        written.close(finished=True)

    def encode() -> None:
        overlay = OverlayVideo(folder / "overlay.mp4")
        for number, image in enumerate(drawn):
            overlay.write(image, number / 25)
        overlay.close(finished=True)

    return {
        "decode": lambda: [None for _ in VideoFile(str(video))] and None,
        f"detect (every {every}th)": lambda: [detector(f.image) for f in frames[::every]] and None,
        "crop": lambda: [warp(f.image, a, size) for f, a in zip(frames, affines, strict=True)] and None,
        "network": track,
        "table": table,
        "draw": lambda: (
            [draw_faces(f.image, face, WFLW_98.edges) for f, face in zip(frames, faces, strict=True)] and None
        ),
        "encode": encode,
    }


def command(run: Path, video: Path, every: int, overlays: bool, folder: Path) -> float:
    """Seconds of the command."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "out"
    words = [
        "predict",
        "--name",
        run.name,
        "--runs",
        str(run.parent),
        "--data.path",
        str(video),
        "--data.out",
        str(out),
    ]
    words += [f"--data.every={every}", f"--data.overlays={str(overlays).lower()}", "--trainer.accelerator=cpu"]
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, str(CLI), *words], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begun


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--side", type=int, default=720)
    options.add_argument("--frames", type=int, default=150)
    options.add_argument("--every", type=int, default=10)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    run = chosen.run.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = write_video(folder / "video.mp4", chosen.side, chosen.frames)
        write_video(folder / "short.mp4", chosen.side, 1)
        made = parts(run, folder / "video.mp4", truth, chosen.every, folder)
        times: dict[str, list[float]] = {part: [] for part in made}
        for _ in range(chosen.rounds):
            for part, act in made.items():
                begun = time.process_time()
                act()
                times[part].append(1000 * (time.process_time() - begun) / chosen.frames)
        spent = {part: statistics.median(values) for part, values in times.items()}
        print(f"{chosen.side} x {chosen.side} pixels, {chosen.frames} frames    ms/frame   share")
        for part, value in spent.items():
            print(f"{part:32} {value:9.2f} {value / sum(spent.values()):7.0%}")
        print(f"{'sum':32} {sum(spent.values()):9.2f}")
        for overlays in (True, False):
            whole = [
                command(run, folder / "video.mp4", chosen.every, overlays, folder)
                - command(run, folder / "short.mp4", chosen.every, overlays, folder)
                for _ in range(chosen.rounds)
            ]
            rate = (chosen.frames - 1) / statistics.median(whole)
            print(f"predict {'with' if overlays else 'without'} overlay: {rate:.1f} frames/s")


if __name__ == "__main__":
    main()
