"""Collapse of a landmark detector without labels: landmarks that coincide, or stick to the frame whatever the image.

Letters: B images, K landmarks. Points are (x, y) in pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TOGETHER = 0.02  # mean distance of two landmarks that coincide, in shares of the frame's side
STILL = 0.02  # standard deviation, along x and along y, of the place of one that sticks to the frame, likewise
FOLLOWED = 0.5  # share of its squared movement by which one that does not follow the image is off


class Collapsed(NamedTuple):
    """Landmarks by index."""

    coincident: list[int]  # those that are where one before them is
    stuck: list[int]  # those that hardly move, though the image does

    @property
    def all(self) -> set[int]:
        """Either."""
        return {*self.coincident, *self.stuck}


class Collapse:
    """What is seen of the landmarks in an epoch of training.

    Two landmarks coincide whose mean distance over the images is below `TOGETHER`. A landmark sticks to the frame if it
    neither follows the deformation (its squared error exceeds `FOLLOWED` of the squared movement) nor moves from image
    to image of a batch (by `STILL`): one that follows may stay in the middle of well-aligned faces, and one that is
    merely uncertain does move. From batch to batch all may move together, because the network learns; only of batches
    of one image nothing else is known.

    Args:
        count: K.
        side: of the frame in pixels.
        device: that the sums are kept on.
    """

    def __init__(self, count: int, side: int, device: torch.device) -> None:
        self.side = side
        # Of each landmark: images, those where it stays in the frame, sums of x, y, x² + y², movement² and error², of
        # squared distances from the batch's mean, and of their degrees of freedom
        self.sums = torch.zeros(9, count, dtype=torch.float64, device=device)
        self.apart = torch.zeros(count, count, dtype=torch.float64, device=device)

    @torch.no_grad()
    def put(self, here: Tensor, moved: Tensor, there: Tensor) -> None:
        """Landmarks (B, K, 2) in the images, where the deformation moves them to, and in the deformed images."""
        here, moved, there = (points.double() / self.side for points in (here, moved, there))
        inside = ((moved >= 0) & (moved <= 1)).all(dim=-1)
        movement, error = ((points - moved).square().sum(dim=-1) * inside for points in (here, there))
        x, y = here.unbind(dim=-1)
        within = (here - here.mean(dim=0)).square().sum(dim=-1)
        free = torch.full_like(x, 1 - 1 / len(x))
        each = [torch.ones_like(x), inside.double(), x, y, x.square() + y.square(), movement, error, within, free]
        self.sums += torch.stack(each).sum(dim=1)
        self.apart += torch.cdist(here, here).sum(dim=0)

    def found(self, add: Callable[[Tensor], Tensor]) -> Collapsed:
        """What has collapsed; ``add`` sums over the ranks."""
        images, seen, x, y, squares, movement, error, within, free = add(self.sums)
        images = images.clamp_min(1)
        together = add(self.apart) / images < TOGETHER
        before = together.tril(diagonal=-1).any(dim=1)
        overall = squares / images - (x / images).square() - (y / images).square()
        variance = torch.where(free > 0.5, within / free.clamp_min(0.5), overall)
        # One that is always moved out of the frame, as from its corner, cannot be seen to follow
        still = (variance < 2 * STILL**2) & ((error > FOLLOWED * movement) | (seen == 0))
        return Collapsed(*(flags.nonzero().flatten().tolist() for flags in (before, still)))


def advice(collapsed: Collapsed, count: int) -> list[str]:
    """Sentences for the log: of so many landmarks which have collapsed, and what to change."""
    sentences = []
    if collapsed.coincident:
        sentences.append(
            f"{_listed(collapsed.coincident, count)} coincide with another one: raise model.init_args.diversity or "
            "model.init_args.patch, or lower model.init_args.discovered"
        )
    if collapsed.stuck:
        sentences.append(
            f"{_listed(collapsed.stuck, count)} stick to the frame whatever the image: train step 1 longer "
            "(model.init_args.contrastive_epochs), give model.init_args.second larger moves (translation, rotation), "
            "or lower model.init_args.variance"
        )
    return sentences


def _listed(landmarks: list[int], count: int, most: int = 8) -> str:
    shown = ", ".join(map(str, landmarks[:most])) + (", ..." if len(landmarks) > most else "")
    return f"{len(landmarks)} of {count} landmarks ({shown})"
