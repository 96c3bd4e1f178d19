"""The batches that methods see: the only thing a module knows of data.

Landmarks are (x, y) in pixels of the network's input; the *centre* of the top-left pixel is (0, 0).
Letters: B faces, N landmarks, S subsets, V videos, T consecutive frames, H x W input pixels.
"""

from typing import Any, TypedDict, cast

from torch import Tensor


class LandmarkBatch(TypedDict):
    """B annotated faces."""

    image: Tensor  # (B, 3, H, W) uint8 RGB; the network normalises it, so the host copies a quarter of the bytes
    landmarks: Tensor  # (B, N, 2) float32; a point outside the crop keeps its true coordinates
    visible: Tensor  # (B, N) bool; False where occluded, outside the crop or not annotated
    norm: Tensor  # (B,) float32, the distance NME divides by, in input pixels
    index: Tensor  # (B,) int64, the sample's identity within its split
    crop: Tensor  # (B, 2, 3) float32, affine from crop pixels to pixels of the original image
    subsets: Tensor  # (B, S) bool; S is 0 where a dataset has no subsets


class MixedBatch(LandmarkBatch):
    """B faces of a mixture.

    Of those that are not labelled, norm is NaN. Their landmarks are NaN, and nothing is visible, until they have
    pseudo-labels (`Mixture.pseudo_label`): then landmarks and visible are of these.
    """

    labelled: Tensor  # (B,) bool


class VideoBatch(TypedDict):
    """T consecutive frames of V videos."""

    image: Tensor  # (V, T, 3, H, W) uint8
    landmarks: Tensor  # (V, T, N, 2) float32
    visible: Tensor  # (V, T, N) bool
    norm: Tensor  # (V, T) float32
    index: Tensor  # (V, T) int64
    crop: Tensor  # (V, T, 2, 3) float32
    subsets: Tensor  # (V, S) bool
    video: Tensor  # (V,) int64
    frame: Tensor  # (V, T) int64
    seconds: Tensor  # (V, T) float64, since the video's first frame
    start: Tensor  # (V,) bool, True where a video begins, so that carried state is reset
    end: Tensor  # (V,) bool, True where no frame of it is left
    shown: Tensor  # (V, T) bool, False on the padding of shorter videos
    valid: Tensor  # (V, T) bool, False there and on frames that no evaluation counts


class UnlabeledBatch(TypedDict):
    """B faces without annotation."""

    image: Tensor  # (B, 3, H, W) uint8
    index: Tensor  # (B,) int64
    crop: Tensor  # (B, 2, 3) float32


def counted_frames(batch: VideoBatch) -> LandmarkBatch:
    """The frames that count as faces, in the order of the videos."""
    valid: Any = batch["valid"]
    frames: Any = {key: batch[key][valid] for key in ("image", "landmarks", "visible", "norm", "index", "crop")}
    frames["subsets"] = batch["subsets"].unsqueeze(1).expand(-1, valid.shape[1], -1)[valid]
    return cast(LandmarkBatch, frames)
