"""What datamodules of annotated videos share: frames are read in sequence, in training and in evaluation."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from datamodules.crop import Floats
from datamodules.face_dataset import FaceDataset, Read
from datamodules.faces import Faces
from datamodules.landmark_data import LandmarkDataModule
from datamodules.video_batches import GroupsInSequence, VideoChunks
from datamodules.video_faces import VideoFaces
from datamodules.video_order import OPEN_VIDEOS, FramesInSequence, Rows, ShuffledFrames


class VideoData(LandmarkDataModule):
    """Videos whose frames are annotated; see `PublishedVideos` for those in files, `SyntheticVideos` for drawn ones.

    A face is a frame: validation and prediction look at each once, in the order of decoding. Training takes every n-th
    frame of each video, from another one on in each epoch. Validation videos are whole ones held out. A test takes
    videos side by side (`VideoBatch`), so that what follows faces over time is measured too; and so does ``validate``,
    which chooses filters. Motion blur follows the nose.
    """

    nose: ClassVar[int]  # the landmark below the nose whose motion is that of the face
    every: int  # n
    trajectories: list[str] | None  # VIDEO/LANDMARK that a test draws; None is two of one video, which flicker most

    def setup(self, stage: str) -> None:
        """As of other data.

        Raises:
            ValueError: one sentence, for a trajectory of a video or a landmark that there is not.
        """
        super().setup(stage)
        if stage == "test":
            names = self.test_videos(range(len(self._whole_videos("test").videos())))[0]
            for each in self.trajectories or ():
                video, _, landmark = each.rpartition("/")
                if video not in names or landmark not in map(str, range(self.num_landmarks)):
                    raise ValueError(
                        f"data.init_args.trajectories has '{each}', expected one of the {len(names)} test videos and a "
                        f"landmark, such as {names[0]}/{self.num_landmarks - 1}"
                    )

    def chosen_trajectories(self) -> dict[str, list[int]]:
        """The landmarks of ``trajectories`` by video."""
        chosen: dict[str, list[int]] = {}
        for each in self.trajectories or ():
            video, _, landmark = each.rpartition("/")
            chosen.setdefault(video, []).append(int(landmark))
        return chosen

    @abstractmethod
    def load(self, split: str) -> VideoFaces:
        """The frames of the videos of ``train`` or ``test``."""

    @abstractmethod
    def reader(self, faces: VideoFaces, most: int) -> Read:
        """What gives the image of a row of these frames, which are read in the order of up to ``most`` videos."""

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of the frames that count."""
        frames = cast(VideoFaces, faces)
        scored = cast(VideoFaces, frames.select(frames.scored))
        # Twice those that are read in turn: the ones read last need not be the ones read next.
        dataset = self._frames(scored, frames.motion(self.nose)[frames.scored], most=2 * OPEN_VIDEOS)
        dataset.whole = frames
        return dataset

    def _frames(self, faces: VideoFaces, motion: Floats, most: int) -> FaceDataset:
        dataset = self.crops(faces, self.reader(faces, most))
        dataset.motion = motion
        return dataset

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented; an incomplete last batch is left out."""
        dataset = self._datasets["train"]
        sampler = ShuffledFrames(
            _videos(dataset), self.every, self.batch_size, self.num_workers, *self._ranks(), seed=self.seed
        )
        return self._shuffled(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Clean crops of the frames of videos held out; of ``validate``, the videos as `VideoBatch`."""
        trainer: Any = self.trainer
        if trainer is not None and trainer.state.fn == "validate":
            return self.video_dataloader(split="val")
        return self._in_sequence("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test videos as `VideoBatch`, of as many frames in all as ``batch_size`` says."""
        return self.video_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Clean crops of the test videos' frames."""
        return self._in_sequence("test")

    def video_dataloader(
        self, videos_per_batch: int | None = None, frames: int | None = None, split: str = "test"
    ) -> DataLoader[Any]:
        """Test or validation videos as `VideoBatch`, for trackers; see `VideoChunks`.

        Args:
            videos_per_batch: V; None is 8, or fewer where ``batch_size`` is smaller.
            frames: T; None is as many as make ``batch_size`` frames.
            split: ``test`` or ``val``.

        Raises:
            ValueError: there are no videos or frames in a batch.
        """
        side_by_side = min(8, self.batch_size) if videos_per_batch is None else videos_per_batch
        length = max(1, self.batch_size // max(1, side_by_side)) if frames is None else frames
        for name, value in (("videos_per_batch", side_by_side), ("frames", length)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        faces = self._whole_videos(split)
        dataset = self._frames(faces, faces.motion(self.nose), most=side_by_side)
        dataset.perturbation = self.perturbation if split == "test" else None
        chunks = VideoChunks(dataset, faces, side_by_side, length)
        sampler = GroupsInSequence(chunks, self.num_workers, *self._ranks())
        return self._loader(chunks, batch_size=None, sampler=sampler)

    def _whole_videos(self, split: str) -> VideoFaces:
        """Test or validation videos with the frames that do not count."""
        return cast(VideoFaces, self._datasets[split].whole)

    def test_videos(self, videos: Sequence[int]) -> tuple[list[str], NDArray[np.bool_]]:
        """Names and subsets (M, S) of these videos (M,) of a test's `VideoBatch`."""
        faces = self._whole_videos("test")
        whole = faces.videos()
        rows = [whole[video][0] for video in videos]
        return [str(faces.photograph[row]) for row in rows], faces.subsets[rows]

    def _in_sequence(self, split: str) -> DataLoader[Any]:
        dataset = self._datasets[split]
        sampler = FramesInSequence(_videos(dataset), self.batch_size, self.num_workers, *self._ranks())
        return self._loader(dataset, sampler=sampler)


def _videos(dataset: FaceDataset) -> list[Rows]:
    return cast(VideoFaces, dataset.faces).videos()


def checked_stride(every: int) -> int:
    """n, of which training takes every n-th frame.

    Raises:
        ValueError: it is less than 1.
    """
    if every < 1:
        raise ValueError(f"data.init_args.every is {every}, expected at least 1")
    return every
