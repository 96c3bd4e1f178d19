"""Squares in place of faces: a module that finds the corners of what is bright in a crop."""

import numpy as np
import torch

from lightning_modules.base import LandmarkModule, LandmarkPrediction


class Corners(LandmarkModule):
    """Four landmarks: corners of the bright pixels' box; where nothing is bright, those of the whole crop."""

    def __init__(self, num_landmarks=4):
        super().__init__(num_landmarks)
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        bright = image.float().mean(dim=1) > 127
        points = []
        for mask in bright:
            y, x = mask.nonzero().T if mask.any() else torch.tensor([[0, len(mask) - 1], [0, len(mask) - 1]])
            left, right, top, bottom = (float(v) for v in (x.min(), x.max(), y.min(), y.max()))
            points.append([[left, top], [right, top], [right, bottom], [left, bottom]])
        landmarks = torch.tensor(points, device=image.device)
        return LandmarkPrediction(landmarks, torch.full(landmarks.shape[:2], 0.5))


class Loose(Corners):
    """As if trained on a dataset's rectangles, half a face larger at each edge."""

    def __init__(self, num_landmarks=4):
        super().__init__(num_landmarks)
        self.box_margins, self.trained_box = [0.5, 0.5, 0.5, 0.5], "provided-1.2"


def picture(*boxes, width=200, height=160):
    """Bright boxes (x0, y0, x1, y1), ends included, on a dark picture (H, W, 3)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = 255
    return image


def boxes(*each):
    return np.array(each, float).reshape(-1, 4)
