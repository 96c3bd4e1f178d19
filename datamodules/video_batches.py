"""Videos side by side in chunks of consecutive frames, as trackers take them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler

from datamodules.batch import VideoBatch
from datamodules.face_dataset import FaceDataset
from datamodules.video_faces import VideoFaces
from datamodules.video_order import Rows, balanced, woven


class VideoChunks(Dataset[dict[str, Any]]):
    """V videos at a time, T frames of each an item: first a group's first frames, then its next ones, to its end.

    Groups are of videos of similar length. Where one ends before the others of its group, its last frame is repeated
    and not ``shown``; not ``valid`` either, as is a frame that does not count in the evaluation. The
    ``index`` of a frame is that of the evaluation of single frames, -1 where it is not valid.

    Args:
        dataset: crops of all frames of the videos.
        faces: the same rows.
        videos_per_batch: V; the last group may have fewer.
        frames: T.
    """

    def __init__(self, dataset: FaceDataset, faces: VideoFaces, videos_per_batch: int, frames: int) -> None:
        self.dataset, self.faces, self.frames = dataset, faces, frames
        self.videos = faces.videos()
        self.index = np.where(faces.scored, np.cumsum(faces.scored) - 1, -1)
        order = sorted(range(len(self.videos)), key=lambda video: -len(self.videos[video]))
        self.groups = [order[i : i + videos_per_batch] for i in range(0, len(order), videos_per_batch)]
        self.chunks = [  # group, first frame
            (group, first)
            for group, videos in enumerate(self.groups)
            for first in range(0, max(len(self.videos[video]) for video in videos), frames)
        ]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, item: int) -> dict[str, Any]:
        group, first = self.chunks[item]
        videos = self.groups[group]
        rows = [[self._row(self.videos[video], first + t) for t in range(self.frames)] for video in videos]
        shown = np.array([[first + t < len(self.videos[video]) for t in range(self.frames)] for video in videos])
        found = shown & self.faces.scored[rows]
        samples = [[self.dataset[row] for row in of_video] for of_video in rows]
        columns = {key: torch.stack([torch.stack([s[key] for s in line]) for line in samples]) for key in samples[0][0]}
        columns |= {
            "subsets": columns["subsets"][:, 0],
            "index": torch.from_numpy(np.where(found, self.index[rows], -1)),
            "video": torch.tensor(videos),
            "frame": torch.arange(first, first + self.frames).expand(len(videos), -1),
            "seconds": torch.from_numpy(np.stack([self.faces.seconds(np.array(of_video)) for of_video in rows])),
            "start": torch.full((len(videos),), first == 0),
            "end": torch.tensor([len(self.videos[video]) <= first + self.frames for video in videos]),
            "shown": torch.from_numpy(shown),
            "valid": torch.from_numpy(found),
        }
        batch: VideoBatch = {key: columns[key] for key in VideoBatch.__annotations__}  # type: ignore[assignment]
        return dict(batch)

    @staticmethod
    def _row(video: Rows, frame: int) -> int:
        return int(video[min(frame, len(video) - 1)])


class GroupsInSequence(DistributedSampler[Any]):
    """Every chunk, those of a group in order; the ranks share out the groups of videos.

    The loader hands item i to its process i % W, so the list is woven from W streams of whole groups, one a process:
    each decodes its videos in sequence. Where a stream ends before the others, processes change streams, and decode
    forward to where they are. Every rank has an item: one without a group gets the first chunk again, which the
    metrics drop as a repeat.

    Args:
        chunks: the dataset.
        workers: loading processes of the rank, W.
        ranks: how many there are.
        rank: which this is.
    """

    def __init__(self, chunks: VideoChunks, workers: int, ranks: int, rank: int) -> None:
        super().__init__(chunks, num_replicas=ranks, rank=rank, shuffle=False)
        of_group: list[list[int]] = [[] for _ in chunks.groups]
        for item, (group, _) in enumerate(chunks.chunks):
            of_group[group].append(item)
        share = balanced([len(items) for items in of_group], ranks)[rank]
        mine = [of_group[group] for group in share] or [of_group[0][:1]]
        streams = balanced([len(items) for items in mine], max(1, workers))
        self.items = woven([np.concatenate([mine[i] for i in places]) for places in streams if places], 1).tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
