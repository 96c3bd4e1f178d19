"""Modules that find a face in every crop, as networks do, and detectors of squares."""

import numpy as np
import torch

from datamodules.crop import BOX_CONVENTIONS
from lightning_modules.video.following import Follower
from tests.lightning_modules.video.squares import Corners, boxes

USUAL = 1.2  # side of the crop in sides of the face in it, as training had it


def usual_face(size, moved=0.0, grown=1.0):
    """Corners (4, 2) of a face where training's crops have it; moved to the right in sides, and grown."""
    unit = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    return (size - 1) / 2 + size / USUAL * (grown * unit / 2 + torch.tensor([moved, 0]))


class Stubborn(Corners):
    """Finds squares; in crops that are cut otherwise than training's, or empty ones, it says the usual face.

    Confidence counts the frames that there was a state before this one.

    Args:
        scale: factor by which a square may be larger or smaller than the usual face.
    """

    def __init__(self, scale=1.35):
        super().__init__()
        self.scale = scale
        self.sides = []  # of the squares in crops, in sides of the usual face

    def forward(self, image):
        found = super().forward(image)
        usual = usual_face(image.shape[-1])
        for points, crop in zip(found.landmarks, image, strict=True):
            side = float((points[2] - points[0]).max() / (usual[2] - usual[0]).max())
            self.sides.append(side)
            off = (points.mean(dim=0) - usual.mean(dim=0)).abs().max() / image.shape[-1]
            if not crop.any() or not 1 / self.scale < side < self.scale or off > 0.25:
                points[:] = usual
        return found

    def track(self, frame, state):
        found = self(frame)
        state = torch.zeros(len(frame), 1) if state is None else state + 1
        return found._replace(confidence=state.expand(found.confidence.shape)), state


class Says(Corners):
    """Says the same of every crop after the first ``right`` ones, of which it finds the squares."""

    def __init__(self, right=0, **face):
        super().__init__()
        self.right, self.face = right, face

    def forward(self, image):
        found = super().forward(image)
        if self.calls <= self.right:
            return found
        return found._replace(landmarks=usual_face(image.shape[-1], **self.face).expand_as(found.landmarks))


class Eye:
    """A detector that sees the faces it is told to; ``looks`` are its calls."""

    def __init__(self, *faces):
        self.faces, self.looks = faces, 0

    def __call__(self, image):
        self.looks += 1
        return boxes(*self.faces)


def bright(image):
    """Detects the bright square, if there is one."""
    y, x = np.nonzero(image.mean(axis=2) > 127)
    return boxes((x.min(), y.min(), x.max(), y.max())) if len(x) else boxes()


def at(x, y=40, side=40):
    return (x, y, x + side, y + side)


def stubborn(detector=None, smoothing=None, module=None):
    chosen = module or Stubborn()
    return Follower(chosen.eval(), BOX_CONVENTIONS["landmarks-1.2"], 64, smoothing, detector=detector)


def followed(follower, pictures, every=10):
    """The faces of each of these pictures, of which every n-th comes with detections."""
    return [follower(image, bright(image) if t % every == 0 else None) for t, image in enumerate(pictures)]


def identities(frames):
    return [[face.identity for face in faces] for faces in frames]
