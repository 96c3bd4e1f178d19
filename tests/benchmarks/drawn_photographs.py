"""Every reader on its own format, drawn, with images as large and as detailed as the real ones.

The writers of the tests draw small pictures. These are enlarged where they lie, and given the grain of a photograph
(about 1.5 bits a pixel at JPEG's quality 90, so that decoding costs what it does); the coordinates grow once the
reader has read them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from datamodules import aflw
from datamodules.aflw import AFLW
from datamodules.bbc_pose import BBCPose
from datamodules.cat_head import CatHead
from datamodules.celeba import MAFL, CelebA
from datamodules.cofw import COFW
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.menpo2d import Menpo2DSemifrontal
from datamodules.unlabeled import UnlabeledFaces
from datamodules.video_frames import VideoFrames
from datamodules.w300 import W300
from datamodules.w300vw import W300VW
from datamodules.wflw import WFLW
from datamodules.wflw_cropped import WFLWCropped
from datamodules.wflw_v import WFLWV
from tests.drawn_bbc import write_bbc
from tests.drawn_cats import write_cats
from tests.drawn_celeba import write_celeba
from tests.drawn_faces import write_csv, write_wflw, write_wflw_cropped
from tests.drawn_matlab import cofw_variables, write_aflw, write_matlab73
from tests.drawn_pts import write_menpo2d, write_w300
from tests.drawn_videos import write_video, write_w300vw, write_wflw_v

COUNT = 24  # faces
FRAMES = {"001": COUNT, "002": COUNT}  # of the videos of 300VW


@dataclass(frozen=True)
class Reader:
    """How to draw and open a dataset, and how many times as large as the drawing its images are.

    The drawn files of 300-W and of users are mostly PNG, the real ones mostly JPEG: ``jpeg`` puts that into them,
    whatever they are called, as Pillow goes by content. (A quarter of 300-W, LFPW, is PNG in truth, and slower.)
    """

    write: Callable[[Path], Any]
    open: Callable[..., Any]  # root, size and num_workers
    times: int = 1
    split: str = "train"
    jpeg: bool = False

    def dataset(self, root: Path, size: int = 256) -> Any:
        """Draw the dataset in ``root`` and open it by its reader: a `FaceDataset`."""
        root.mkdir(exist_ok=True)
        self.write(root)
        aflw.TRAINING_FACES = COUNT
        if self.times > 1:
            enlarge_files(root, self.times, self.jpeg)
        data = self.open(root=root, size=size, num_workers=0)
        faces = data.load(self.split)
        faces = replace(faces, **{k: self.times * (getattr(faces, k) + 0.5) - 0.5 for k in ("landmarks", "box")})
        dataset = data.dataset(faces)
        dataset.augmentation.pipeline(size)
        return dataset


def photograph(image: np.ndarray, times: int, rng: np.random.Generator) -> np.ndarray:
    """An image (H, W) or (H, W, 3) enlarged, with grain."""
    height, width = (times * side for side in image.shape[:2])
    large = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return (large + 3 * cv2.GaussianBlur(rng.normal(0, 30, large.shape), (0, 0), 1.5)).clip(0, 255).astype(np.uint8)


def enlarge_files(root: Path, times: int, jpeg: bool) -> None:
    """Every image and video below ``root`` anew."""
    rng = np.random.default_rng(0)
    for path in sorted(root.rglob("*.*")):
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as image:
                pixels = photograph(np.asarray(image.convert("RGB")), times, rng)
            Image.fromarray(pixels).save(path, "JPEG" if jpeg else None, quality=90)
        elif path.suffix in (".avi", ".mp4"):
            frames = _frames(path)
            codec, between = ("mpeg4", 0) if path.suffix == ".avi" else ("libx264", 2)
            # The same grain in each frame: of grain that changes, codecs leave little at a video's usual rate.
            grained = [photograph(frame, times, np.random.default_rng(0)) for frame in frames]
            write_video(path, grained, codec, between)


def _frames(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = VideoFrames(str(path), int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return [frames[i] for i in range(frames.count)]


def _write_cofw(root: Path) -> None:
    variables, rng = cofw_variables("Tr", COUNT)[0], np.random.default_rng(0)
    variables["IsTr"] = [photograph(image, 3, rng) for image in variables["IsTr"]]
    write_matlab73(root / "COFW_train_color.mat", variables)


READERS = {
    "WFLW": Reader(lambda root: write_wflw(root, COUNT), WFLW, 6),
    "WFLW, cropped": Reader(lambda root: write_wflw_cropped(root, COUNT), WFLWCropped),
    "300-W": Reader(write_w300, W300, 6, jpeg=True),
    "COFW": Reader(_write_cofw, COFW, 3),
    "AFLW": Reader(lambda root: write_aflw(root, 2 * COUNT), AFLW, 5),
    "Menpo2D": Reader(lambda root: write_menpo2d(root, COUNT), Menpo2DSemifrontal, 6),
    "300VW": Reader(lambda root: write_w300vw(root, FRAMES), W300VW, 6),
    "WFLW-V": Reader(lambda root: write_wflw_v(root, count=COUNT // 3), WFLWV, 6, "test"),
    "CelebA": Reader(write_celeba, CelebA),
    "MAFL": Reader(write_celeba, MAFL),
    "Cat Head": Reader(write_cats, CatHead, 4),
    "BBC Pose": Reader(write_bbc, BBCPose),
    "CSV": Reader(lambda root: write_csv(root, COUNT), lambda **o: CSVLandmarks(markup="wflw-98", **o), 6, jpeg=True),
    "unlabelled": Reader(lambda root: write_csv(root, COUNT), UnlabeledFaces, 3, jpeg=True),
}
