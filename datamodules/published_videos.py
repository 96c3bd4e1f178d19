"""What the datamodules of published videos share: files of frames, which are decoded in sequence."""

from pathlib import Path
from typing import Any, cast

from datamodules.face_dataset import Read
from datamodules.faces import Faces
from datamodules.published_data import PublishedData
from datamodules.video_data import VideoData, checked_stride
from datamodules.video_faces import OpenVideos, VideoFaces


class PublishedVideos(VideoData, PublishedData):
    """A published dataset of videos whose frames are annotated; see `VideoData`.

    Frames are not cached: a pass decodes each video once, in sequence, and its decoded frames would take far more
    space.

    Args:
        root: folder of the dataset; each class says what is in it.
        every: of which training takes every n-th frame; 5 is PIPNet's on 300VW.
        box: see `PublishedData`.
        trajectories: landmarks whose movement a test writes and draws, with their video as the test's ``_by_video.csv``
            calls it: ``[541/54]``. None is two of one video, those that flicker most.
        options: see `LandmarkDataModule`; ``cache`` is none of them. Motion blur follows the nose.
    """

    def __init__(
        self,
        root: Path,
        every: int = 5,
        box: str | None = None,
        trajectories: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root, box, cache=None, **options)
        self.every, self.trajectories = checked_stride(every), trajectories

    def count(self, faces: Faces) -> int:
        """How many frames there are that count."""
        return int(cast(VideoFaces, faces).scored.sum())

    def reader(self, faces: VideoFaces, most: int) -> Read:
        """Decodes the videos, of which ``most`` stay open; refuses missing ones now."""
        faces.check_images()
        return OpenVideos(faces, most)
