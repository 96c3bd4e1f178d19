"""WFLW-V (Micaelli et al. 2023, arXiv:2304.00600): 1,000 videos of faces, whose frames many models marked together."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

import numpy as np

from datamodules.annotation_table import read_list
from datamodules.crop import Floats
from datamodules.faces import Faces
from datamodules.markup import WFLW_98
from datamodules.published_videos import PublishedVideos
from datamodules.video_faces import VideoFaces

SUBSETS = ("easy", "hard")
AGAIN = "get the file again"


class WFLWV(PublishedVideos):
    """WFLW-V as LDEQ's authors publish it, a test set: 500 easy and 500 hard videos of 4 to 6 seconds.

    The landmarks are what 45 models found together (appendix A); landmarks and boxes are in OpenCV's pixels, which
    begin at 0. Every landmark is given, so ``visible`` is False only outside the crop. Videos that are not listed are
    not read, so shorter lists make a part of the set.

    ``provided-1.2`` is LDEQ's crop but for its rounding: its code adds half a pixel to the box's corners and cuts them
    to whole numbers, and takes a centre that is whole too. The two crops are less than a pixel of the video apart.

    Args:
        root: folder that holds ``videos`` (ID.mp4), ``landmarks`` and ``bboxes`` (ID.npy), and the two lists of LDEQ's
            code, ``easy_video_IDs.txt`` and ``hard_video_IDs.txt``.
        and the rest: see `PublishedVideos`.
    """

    annotated = WFLW_98
    published: ClassVar[Mapping[str, int]] = {"test": 1000}
    counted = "videos"
    may_differ = "videos that are gone from YouTube are taken off the lists"
    holds = "videos, landmarks, bboxes, easy_video_IDs.txt and hard_video_IDs.txt"
    prepared_as = "wflw_v"
    usual_box = "provided-1.2"
    subset_names = SUBSETS
    nose = 57  # its base, between the nostrils: landmark 33 of iBUG's 68

    @property
    def title(self) -> str:
        """As the paper writes it."""
        return "WFLW-V"

    def count(self, faces: Faces) -> int:
        """How many videos there are; how many frames is not published."""
        return len(cast(VideoFaces, faces).videos())

    def load(self, split: str) -> VideoFaces:
        """Read the labels of the listed videos; see `Faces` for what else is refused.

        Raises:
            FileNotFoundError, ValueError: one sentence naming the file, for a list or labels that are missing, damaged
                or do not fit each other; or for training faces, which there are none of.
        """
        if split != "test":
            raise ValueError(
                "WFLW-V has test videos only; train on WFLW (data.class_path datamodules.wflw.WFLW) and test the run "
                "with --config data/wflw_v.yaml"
            )
        subset = _listed(self.root, self.remedy)
        landmarks, boxes = zip(*(_labels(self.root, video) for video in subset), strict=True)
        length = np.array([len(points) for points in landmarks])
        names = np.repeat(list(subset), length)
        frame = np.concatenate([np.arange(count) for count in length])
        pairs = zip(names.tolist(), (frame + 1).tolist(), strict=True)
        return VideoFaces(
            source=self.root,
            line=np.zeros(len(names), np.int64),
            image=np.array([f"{self.root}/videos/{video}.mp4#{number}" for video, number in pairs]),
            landmarks=np.concatenate(landmarks),
            visible=np.ones((len(names), WFLW_98.num_landmarks), bool),
            box=np.concatenate(boxes),
            subsets=np.repeat([[of == name for name in SUBSETS] for of in subset.values()], length, axis=0),
            photograph=names,
            frame=frame,
            length=np.repeat(length, length),
            scored=np.ones(len(names), bool),
        )


def _listed(root: Path, remedy: str) -> dict[str, str]:
    """The subset of each video of the two lists."""
    subset: dict[str, str] = {}
    for name in SUBSETS:
        table = read_list(root / f"{name}_video_IDs.txt", ["video"], remedy)
        for line, video in zip(table.line, table.text("video"), strict=True):
            if video in subset:
                raise ValueError(
                    f"{table.path}: line {line} lists {video} again, expected each video once in {SUBSETS[0]} or "
                    f"{SUBSETS[1]}; {AGAIN}"
                )
            subset[video] = name
    return subset


def _labels(root: Path, video: str) -> tuple[Floats, Floats]:
    """The landmarks (n, 98, 2) and boxes (n, 4) of a video's frames; further columns of boxes are left out."""
    points_file, box_file = (root / f"{folder}/{video}.npy" for folder in ("landmarks", "bboxes"))
    points, box = _numbers(points_file), _numbers(box_file)
    if points.ndim != 3 or points.shape[1:] != (WFLW_98.num_landmarks, 2) or not len(points):
        raise ValueError(f"{points_file}: holds an array {points.shape}, expected (frames, 98, 2); {AGAIN}")
    if box.ndim != 2 or box.shape[1] < 4:
        raise ValueError(f"{box_file}: holds an array {box.shape}, expected (frames, 4 or more); {AGAIN}")
    if len(points) != len(box):
        raise ValueError(f"{points_file}: has {len(points)} frames, but {box_file} has {len(box)}; {AGAIN}")
    return points, box[:, :4]


def _numbers(path: Path) -> Floats:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} not found, expected labels of a listed video; get it, or take the video off its list"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: not a whole .npy file of numbers ({' '.join(str(error).split())}); {AGAIN}"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: holds no numbers, expected a .npy file of them; {AGAIN}")
    return values.astype(np.float64)
