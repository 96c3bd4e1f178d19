"""What datamodules of annotated videos share: frames are decoded in sequence, in training and in evaluation."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, cast

from torch.utils.data import DataLoader

from datamodules.crop import Floats
from datamodules.face_dataset import FaceDataset
from datamodules.faces import Faces
from datamodules.published_data import PublishedData
from datamodules.video_batches import GroupsInSequence, VideoChunks
from datamodules.video_faces import OpenVideos, VideoFaces
from datamodules.video_order import OPEN_VIDEOS, FramesInSequence, Rows, ShuffledFrames


class VideoData(PublishedData):
    """A published dataset of videos whose frames are annotated.

    A face is a frame: test, validation and prediction look at each once, in the order of decoding. Training takes
    every n-th frame of each video, from another one on in each epoch. Validation videos are whole ones held out.
    `video_dataloader` gives the test videos to trackers. Frames are not cached: a pass decodes each video once, in
    sequence, and its decoded frames would take far more space.

    Args:
        root: folder of the dataset; each class says what is in it.
        every: n; 5 is PIPNet's on 300VW.
        box: see `PublishedData`.
        options: see `LandmarkDataModule`; ``cache`` is none of them. Motion blur follows the nose.
    """

    nose: ClassVar[int]  # the landmark below the nose whose motion is that of the face

    def __init__(self, root: Path, every: int = 5, box: str | None = None, **options: Any) -> None:
        super().__init__(root, box, cache=None, **options)
        if every < 1:
            raise ValueError(f"data.init_args.every is {every}, expected at least 1")
        self.every = every

    @abstractmethod
    def load(self, split: str) -> VideoFaces:
        """The frames of the videos of ``train`` or ``test``."""

    def count(self, faces: Faces) -> int:
        """How many frames there are that count."""
        return int(cast(VideoFaces, faces).scored.sum())

    def dataset(self, faces: Faces) -> FaceDataset:
        """Crops of the frames that count."""
        frames = cast(VideoFaces, faces)
        scored = cast(VideoFaces, frames.select(frames.scored))
        # Twice those that are read in turn: the ones read last need not be the ones read next.
        return self._frames(scored, frames.motion(self.nose)[frames.scored], most=2 * OPEN_VIDEOS)

    def _frames(self, faces: VideoFaces, motion: Floats, most: int) -> FaceDataset:
        faces.check_images()
        dataset = self.crops(faces, OpenVideos(faces, most))
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
        """Clean crops of the frames of videos held out."""
        return self._in_sequence("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Clean crops of the test videos' frames."""
        return self._in_sequence("test")

    def video_dataloader(self, videos_per_batch: int = 4, frames: int = 16) -> DataLoader[Any]:
        """The test videos as `VideoBatch`, for trackers; see `VideoChunks`.

        Raises:
            ValueError: there are no videos or frames in a batch.
        """
        for name, value in (("videos_per_batch", videos_per_batch), ("frames", frames)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        faces = self.load("test")
        dataset = self._frames(faces, faces.motion(self.nose), most=videos_per_batch)
        dataset.perturbation = self.perturbation
        chunks = VideoChunks(dataset, faces, videos_per_batch, frames)
        return self._loader(chunks, batch_size=None, sampler=GroupsInSequence(chunks, *self._ranks()))

    def _in_sequence(self, split: str) -> DataLoader[Any]:
        dataset = self._datasets[split]
        sampler = FramesInSequence(_videos(dataset), self.batch_size, self.num_workers, *self._ranks())
        return self._loader(dataset, sampler=sampler)


def _videos(dataset: FaceDataset) -> list[Rows]:
    return cast(VideoFaces, dataset.faces).videos()
