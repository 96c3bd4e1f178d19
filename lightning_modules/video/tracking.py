"""Any module over videos, with what it carries from frame to frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:  # it uses this room itself
    from lightning_modules.base import LandmarkPrediction


class Tracker:
    """Calls a module's ``track`` frame after frame, and keeps the state of each video.

    Videos may begin and end at any time, and be given side by side in any company: a video that was not there in the
    call before goes on where it was. A video that has no state yet is begun cold.

    Args:
        module: whose ``track`` is called: a `LandmarkModule`, or what its ``recurrences`` hold.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self._states: dict[int, tuple[Tensor, Tensor]] = {}  # of each video a row of the state, and the crop (2, 3)

    def forget(self, video: int) -> None:
        """Let a video begin cold the next time: at its start, or where its face was lost."""
        self._states.pop(video, None)

    def __call__(self, frame: Tensor, crop: Tensor, videos: Sequence[int]) -> "LandmarkPrediction":
        """What is found in the next frame of each of V videos.

        Args:
            frame: (V, 3, H, W) uint8 crops.
            crop: (V, 2, 3) from crop pixels to pixels of the video; where it moves, the state is moved along.
            videos: (V,) the identity of each.
        """
        known = torch.tensor([video in self._states for video in videos])
        found: list[Any] = [self._part(frame, crop, videos, rows) for rows in (_where(~known), _where(known)) if rows]
        if len(found) == 1:
            return found[0]
        order = torch.argsort(torch.tensor([*_where(~known), *_where(known)])).to(frame.device)
        columns, prediction = zip(*found, strict=True), type(found[0])
        return prediction(*(None if column[0] is None else torch.cat(column)[order] for column in columns))

    def _part(self, frame: Tensor, crop: Tensor, videos: Sequence[int], rows: list[int]) -> "LandmarkPrediction":
        """Some of the videos, of all of which there is a state, or of none."""
        if len(rows) < len(videos):
            frame, crop = frame[rows], crop[rows]
        names = [videos[row] for row in rows]
        state: Any = self.module.init_state()
        if names[0] in self._states:
            state, before = (torch.stack(column) for column in zip(*(self._states[n] for n in names), strict=True))
            if not torch.equal(before, crop):
                state = self.module.moved_state(state, _from_crop_to_crop(crop, before))
        prediction, state = self.module.track(frame, state)
        if isinstance(state, Tensor):
            self._states |= {name: (state[row], crop[row]) for row, name in enumerate(names)}
        return prediction


def _where(flags: Tensor) -> list[int]:
    return [int(row) for row in flags.nonzero().flatten()]


def _from_crop_to_crop(crop: Tensor, before: Tensor) -> Tensor:
    """The affines (V, 2, 3) between pixels of the crops, whose own lead to pixels of the video.

    A sum of products, as in `in_image`.
    """
    inverse = torch.linalg.inv(before[..., :2])
    shifted = torch.cat([crop[..., :2], crop[..., 2:] - before[..., 2:]], dim=-1)
    return (inverse.unsqueeze(-1) * shifted.unsqueeze(-3)).sum(dim=-2)


def in_image(points: Tensor, crop: Tensor) -> Tensor:
    """Points (..., N, 2) of crops (..., 2, 3) in pixels of the image or video.

    A sum of products: autocast would round a matrix product to bfloat16, many pixels of a large photograph.
    """
    linear, offset = crop[..., :2].unsqueeze(-3), crop[..., 2].unsqueeze(-2)
    return (linear * points.unsqueeze(-2)).sum(dim=-1) + offset
