"""BBC Pose: frames with dark discs at the joints, and the toolkit's two MATLAB files."""

import numpy as np
from scipy.io import savemat

from tests.drawn_celeba import draw_discs

SIGNER = np.array([(0, -60), (-70, 40), (60, 50), (-60, 10), (60, 10), (-35, -25), (35, -25)])  # from the middle
WIDTH, HEIGHT = 360, 280
FIELDS = ("videoName", "type", "source", "train_frames", "train_joints", "test_frames", "test_joints")
EMPTY = np.zeros((0, 0))


def frames_and_joints(rng, count, first):
    """Frame numbers (M,) and joints (2, 7, M), counted from 1 to a quarter of a pixel."""
    middle = rng.uniform((150, 120), (210, 160), (count, 1, 2))
    joints = np.round(4 * (SIGNER + rng.uniform(-8, 8, (count, 7, 2)) + middle)) / 4 + 1
    return first + 3 * np.arange(count), joints.transpose(2, 1, 0)


def videos_of(rng, count=22, frames=3):
    """The struct of the videos: the first 20 are BBC Pose, the others Extended BBC Pose."""
    videos = []
    for number in range(1, count + 1):
        kind = "train" if number <= 10 or number > 20 else "val" if number <= 15 else "test"
        train = frames_and_joints(rng, frames, 7)
        test = (EMPTY, EMPTY) if kind == "train" else frames_and_joints(rng, 2, 100)
        source = "buehler11" if number <= 20 else "charles14"
        videos.append(dict(zip(FIELDS, (f"v{number}", kind, source, *train, *test), strict=True)))
    return videos


def results_of(videos):
    """The struct of the test: its frames in another order than the videos'."""
    rows = [(number, i) for i in range(2) for number in range(16, 21)]
    return {
        "gt": np.stack([videos[n - 1]["test_joints"][:, :, i] for n, i in rows], axis=-1),
        "frame": np.array([videos[n - 1]["test_frames"][i] for n, i in rows]),
        "video": np.array([n for n, _ in rows]),
        "method": "forest",
    }


def write_videos(root, videos):
    """``code/bbcpose.mat``."""
    kind = [(name, object) for name in FIELDS]
    struct = np.empty((1, len(videos)), kind)
    struct[0] = [tuple(video[name] for name in FIELDS) for video in videos]
    save_struct(root / "code/bbcpose.mat", "bbcpose", struct)


def save_struct(path, name, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: value}, do_compression=True)


def write_bbc(root, seed=0):
    """BBC Pose in ``root``; its videos and its results as they were written."""
    videos = videos_of(np.random.default_rng(seed))
    results = results_of(videos)
    write_videos(root, videos)
    save_struct(root / "code/results.mat", "results", results)
    for number, video in enumerate(videos[:20], start=1):
        (root / str(number)).mkdir()
        for kind in ("train", "test"):
            for i, frame in enumerate(np.ravel(video[f"{kind}_frames"])):
                points = video[f"{kind}_joints"][:, :, i].T - 1
                draw_discs(points, WIDTH, HEIGHT).save(root / str(number) / f"{int(frame)}.jpg", quality=90)
    return videos, results
