"""Generated face videos: a dataset that needs no files, with exact landmarks, for measuring how they flicker."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from datamodules.crop import Floats, landmark_box
from datamodules.face_dataset import Read
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.motion import FRAME_RATE, sample_video
from datamodules.face_generator.parameters import Domain, FaceParameters
from datamodules.face_generator.render import render
from datamodules.faces import Faces
from datamodules.markup import WFLW_98
from datamodules.ranking import upper_half, variances_of
from datamodules.synthetic import PICTURE, loose_boxes
from datamodules.transforms import Image
from datamodules.video_data import VideoData, checked_stride
from datamodules.video_faces import VideoFaces
from datamodules.video_order import Rows

SUBSETS = ("easy", "hard")
SPLITS = {"train": 2, "test": 3}  # seeds; those of `SyntheticFaces` are 0 and 1: nobody in a video is in its pictures


class GeneratedVideos(VideoFaces):
    """Frames whose pixels are as many as the size of the crop asks for."""

    def identity(self, row: int) -> int:
        """The frame's place in its split, which is the same at any size."""
        return _number(str(self.photograph[row])) << 32 | int(self.frame[row])

    def seconds(self, rows: Rows) -> Floats:
        """As `VideoFaces.seconds`."""
        return self.frame[rows] / FRAME_RATE


class SyntheticVideos(VideoData):
    """Videos of generated faces in the WFLW-98 markup, at 25 frames a second, with true landmarks and visibility.

    A video is a function of ``faces_seed``, split and index alone, and so is the beginning of a longer one. Each shows
    another person, none of whom is in `SyntheticFaces`. Half of them are clear; the others have darkness, noise, blur,
    hands and objects that pass, heads turned far. The subsets are the half of the test videos that is ``easy`` and the
    half that is ``hard``, as in WFLW-V. Frames are drawn when they are asked for, and not cached.

    Args:
        num_train: videos for training and validation, which takes whole ones.
        num_test: videos for testing.
        frames: of each video.
        every: n; training takes every n-th frame of each video, from another one on in each epoch.
        domain: ``photo``, or ``infrared``: a grey wide-angle camera close to the face and lit from beside the lens.
        faces_seed: of the videos; another one is another dataset.
        ranking: a CSV file with columns ``video`` (as ``photo/test/12``) and ``variance``, that of the predictions of
            several models, by which LDEQ's appendix A ranks videos: the upper half of the test videos is hard, the
            middle one of an odd number easy. Without, and for training and validation videos, they are ranked by what
            the generator knows: the share of landmarks, over all frames, that cannot be seen. That knows nothing of
            darkness and blur.
        size: side of the crop; pictures are 1.25 times as large.
        box: ``provided-1.2`` is a loose rectangle round the landmarks that trembles, as a detector's does;
            ``landmarks-1.2`` is the tight one.
        trajectories: landmarks whose movement a test writes and draws, with their video as the test's ``_by_video.csv``
            calls it: ``[photo/test/3/54]``. None is two of one video, those that flicker most.
        options: see `LandmarkDataModule`; ``cache`` is none of them.
    """

    subset_names = SUBSETS
    nose = 57  # its base, between the nostrils

    def __init__(
        self,
        num_train: int = 20,
        num_test: int = 100,
        frames: int = 100,
        every: int = 5,
        domain: Domain = "photo",
        faces_seed: int = 0,
        ranking: Path | None = None,
        size: int = 128,
        box: str = "provided-1.2",
        trajectories: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(WFLW_98, size=size, box=box, cache=None, **options)
        for key, value in (("num_train", num_train), ("num_test", num_test), ("frames", frames)):
            if value < 1:
                raise ValueError(f"data.init_args.{key} is {value}, expected at least 1")
        if faces_seed < 0:
            raise ValueError(f"data.init_args.faces_seed is {faces_seed}, expected at least 0")
        if domain not in get_args(Domain):
            raise ValueError(f"data.init_args.domain is '{domain}', expected one of: {', '.join(get_args(Domain))}")
        self.videos = {"train": num_train, "test": num_test}
        self.frames, self.every = frames, checked_stride(every)
        self.domain, self.faces_seed, self.ranking, self.trajectories = domain, faces_seed, ranking, trajectories

    @property
    def title(self) -> str:
        """What a test result was measured on."""
        return f"generated videos ({self.domain})"

    def load(self, split: str) -> GeneratedVideos:
        """Landmarks, boxes and subsets of a split; no frame is drawn.

        Raises:
            FileNotFoundError, ValueError: one sentence, for a ranking that is missing, wrong or not of these videos.
        """
        names = [f"{self.domain}/{split}/{i}" for i in range(self.videos[split])]
        videos = [self.video(split, i) for i in range(len(names))]
        places, visible = (np.stack(part) for part in zip(*map(landmarks, videos), strict=True))  # (V, T, 98, ...)
        if self.ranking and split == "test":
            amounts = variances_of(Path(self.ranking), names)
        else:
            amounts = 1 - visible.mean(axis=(1, 2))
        hard = np.repeat(upper_half(amounts), self.frames)
        points = places.reshape(-1, *places.shape[2:]) * self.canvas - 0.5
        frame = np.tile(np.arange(self.frames), len(names))
        name = np.repeat(names, self.frames)
        return GeneratedVideos(
            source=Path(f"generated videos, {self.domain}, {split}"),
            line=np.zeros(len(name), np.int64),
            image=np.array([f"{video}#{i + 1}" for video, i in zip(name.tolist(), frame.tolist(), strict=True)]),
            landmarks=points,
            visible=visible.reshape(len(points), -1),
            box=loose_boxes(landmark_box(points), np.concatenate([video.box for video in videos])),
            subsets=np.stack([~hard, hard], axis=1),
            photograph=name,
            frame=frame,
            length=np.full(len(name), self.frames),
            scored=np.ones(len(name), bool),
        )

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The training and the validation frames: exactly a share of the videos is held out, for they are few.

        Raises:
            ValueError: one of the two would have no video.
        """
        count = self.videos["train"]
        held_out = max(1, round(self.validation_fraction * count))
        if held_out >= count:
            raise ValueError(
                f"data.init_args.num_train is {count}, of which validation takes {held_out}; add videos or lower "
                "data.init_args.validation_fraction"
            )
        chosen = np.random.default_rng(self.seed).permutation(count)[:held_out]
        faces = self.load("train")
        rows = np.repeat(np.isin(np.arange(count), chosen), self.frames)
        return faces.select(~rows), faces.select(rows)

    def video(self, split: str, index: int) -> FaceParameters:
        """What the frames of a video look like."""
        return sample_video((self.faces_seed, SPLITS[split]), index, self.frames, self.domain)

    def reader(self, faces: VideoFaces, most: int) -> Read:
        """Draws the frames; what is known of videos is found again so fast that ``most`` does not matter."""
        split = str(faces.photograph[0]).split("/")[1]
        number = np.array([_number(name) for name in faces.photograph.tolist()])
        key = ((self.faces_seed, SPLITS[split]), self.frames, self.domain)
        return partial(_draw, key, number, faces.frame, self.canvas)  # not a closure: workers may be sent it

    @property
    def canvas(self) -> int:
        """Side of a picture in pixels."""
        return round(PICTURE * self.size)


def _number(video: str) -> int:
    return int(video.rpartition("/")[2])


Key = tuple[tuple[int, ...], int, Domain]  # seed, frames and domain


@lru_cache(maxsize=32)
def _video(key: Key, index: int) -> FaceParameters:
    seed, frames, domain = key
    return sample_video(seed, index, frames, domain)


def _draw(key: Key, videos: np.ndarray, frames: np.ndarray, size: int, row: int) -> Image:
    return render(_video(key, int(videos[row]))[int(frames[row])], size)
