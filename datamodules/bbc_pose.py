"""BBC Pose (Charles et al., BMVC 2013): 20 videos of signers with seven joints of the upper body."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats, landmark_box
from datamodules.faces import Faces
from datamodules.markup import BBC_7
from datamodules.matlab_files import read_matlab
from datamodules.published_data import PublishedData
from datamodules.radius import Radius

VIDEOS = {"train": range(1, 11), "val": range(11, 16), "test": range(16, 21)}
FIELDS = ("type", "train_frames", "train_joints", "test_frames", "test_joints")  # of the toolkit's struct of videos
LOOSE = 60  # pixels that a training box has beyond the joints on each side
SIDE = 300  # of the box of validation and test, in pixels


class BBCPose(PublishedData):
    """BBC Pose: head, wrists, elbows and shoulders (the signer's right one first) in frames of 20 videos.

    As Dundar et al. 2020 (arXiv:2001.09518) read it: to train, the frames of videos 1 to 10 with the joints that a
    tracker found; to test, the 1,000 frames of videos 16 to 20 that people marked (``code/results.mat``). We validate
    on the 1,000 frames of videos 11 to 15 that people marked (``test_frames`` of ``code/bbcpose.mat``), so
    ``validation_fraction`` has no effect. Rahaman et al. 2021 fit their regression on these, Dundar et al. on the
    training frames. The files count pixels from 1.

    The provided boxes come from the true joints, as theirs do: the joints' box and 60 pixels around it to train, 300 x
    300 pixels about its middle to validate and test. They cut boxes off at the frame's edge and stretch them to a
    square; ours stay square, black beyond the edge. NME is in percent of the crop's side; tables have the share of
    joints within 6 pixels, which is read in two ways, and ``test`` tells both (``radii``): its toolkit means pixels of
    a frame of half the size, so 12 of the frame; Rahaman et al. 2021 write of images of 128 x 128, so 6/128 of the
    crop's side, which is 14 of the frame where the crop has 300. The second is the looser one.

    Args:
        root: folder that holds the videos, ``1/<frame>.jpg`` to ``20/<frame>.jpg``, and the toolkit's ``code``.
        and the rest: see `PublishedData`.
    """

    annotated = BBC_7
    usual_box = "provided-1.0"
    usual_normalizer = "crop-size"
    radii = (Radius(12), Radius(6, side=128))
    published: ClassVar[Mapping[str, int | None]] = {"train": None, "val": 1000, "test": 1000}
    holds = "code/bbcpose.mat, code/results.mat and the videos 1 to 20"
    prepared_as = "bbc_pose"

    @property
    def title(self) -> str:
        """As the authors write it."""
        return "BBC Pose"

    def fit_faces(self) -> tuple[Faces, Faces]:
        """The training and the validation videos."""
        return self.load("train"), self.load("val")

    def load(self, split: str) -> Faces:
        """Read the annotation of a split's videos; see `Faces` for what else is refused."""
        if split == "test":
            source = self.root / "code/results.mat"
            video, frame, joints = _test_frames(source, self.remedy)
        else:
            source = self.root / "code/bbcpose.mat"
            video, frame, joints = _video_frames(source, split, self.remedy)
        box = landmark_box(joints)
        middle = (box[:, :2] + box[:, 2:]) / 2
        if split == "train":
            box = box + np.array([-LOOSE, -LOOSE, LOOSE, LOOSE])
        else:
            box = np.concatenate([middle - SIDE / 2, middle + SIDE / 2], axis=1)
        return Faces(
            source=source,
            line=np.zeros(len(video), int),
            image=np.array([f"{self.root}/{v}/{f}.jpg" for v, f in zip(video.tolist(), frame.tolist(), strict=True)]),
            landmarks=joints,
            visible=np.ones((len(video), BBC_7.num_landmarks), bool),
            box=box,
            subsets=np.zeros((len(video), 0), bool),
            photograph=video.astype(str),
        )


def _video_frames(path: Path, split: str, remedy: str) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Video (M,), frame (M,) and joints (M, 7, 2) of the training or validation videos.

    The struct has 92 elements, of which those from the 21st on are the videos of Extended BBC Pose.
    """
    videos = read_matlab(path, ["bbcpose"], remedy).variables["bbcpose"].ravel()
    missing = [field for field in FIELDS if field not in (videos.dtype.names or ())]
    if missing or len(videos) < VIDEOS["test"][-1]:
        found = f"no field {missing[0]}" if missing else f"{len(videos)} videos"
        raise ValueError(
            f"{path}: bbcpose has {found}, expected 20 or more videos with {', '.join(FIELDS)}; get it again"
        )
    marked = "train" if split == "train" else "test"  # people marked the frames that are called test
    numbers, frames, joints = [], [], []
    for number in VIDEOS[split]:
        video, where = videos[number - 1], f"{path}: video {number}"
        if (kind := "".join(np.ravel(video["type"]).astype(str))) != split:
            raise ValueError(f"{where} is of type '{kind}', expected '{split}'; get it again")
        frame, joint = _joints(where, video[f"{marked}_frames"], video[f"{marked}_joints"])
        numbers.append(np.full(len(frame), number))
        frames.append(frame)
        joints.append(joint)
    return np.concatenate(numbers), np.concatenate(frames), np.concatenate(joints)


def _test_frames(path: Path, remedy: str) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Video (M,), frame (M,) and joints (M, 7, 2) of the test."""
    results = read_matlab(path, ["results"], remedy).variables["results"]
    names = results.dtype.names or ()
    if results.size != 1 or len(names) < 3 or names[0] != "gt":
        raise ValueError(
            f"{path}: results is no struct whose first fields are gt, the frames and their videos; get it again"
        )
    # Frames and videos by their place, as in Dundar et al.'s loader: it does not tell what the fields are called.
    truth, frames, videos = (results.ravel()[0][name] for name in names[:3])
    frame, joints = _joints(f"{path}: results", frames, truth)
    video = _whole(f"{path}: results", "videos", videos)
    if len(video) != len(frame):
        raise ValueError(
            f"{path}: results has {len(video)} videos for {len(frame)} frames, expected as many; get it again"
        )
    for other in np.setdiff1d(video, VIDEOS["test"]):
        raise ValueError(f"{path}: results has a frame of video {other}, expected videos 16 to 20; get it again")
    return video, frame, joints


def _joints(where: str, frames: Any, joints: Any) -> tuple[NDArray[np.int64], Floats]:
    """Frame (M,) and joints (M, 7, 2), counted from 0, of an array (2, 7, M), counted from 1."""
    frame, joints = _whole(where, "frames", frames), np.asarray(joints)
    if joints.ndim == 2 and len(frame) == 1:
        joints = joints[:, :, None]  # MATLAB drops a last axis of one
    if joints.dtype.kind not in "uif" or joints.shape != (2, BBC_7.num_landmarks, len(frame)):
        found = " x ".join(map(str, joints.shape))
        raise ValueError(f"{where} has {found} values of joints, expected 2 x 7 x {len(frame)} numbers; get it again")
    return frame, joints.transpose(2, 1, 0).astype(float) - 1


def _whole(where: str, what: str, values: Any) -> NDArray[np.int64]:
    """Whole numbers of at least 1 as a vector (M,)."""
    numbers = np.asarray(values).ravel()
    if not numbers.size or numbers.dtype.kind not in "uif" or (numbers < 1).any() or (numbers % 1 != 0).any():
        raise ValueError(f"{where} has {what} that are not one or more whole numbers from 1 on; get it again")
    return numbers.astype(np.int64)
