"""Many videos at once: each has its own state, whatever company it is in."""

import pytest
import torch

from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.ldeq import LDEQ
from lightning_modules.video.tracking import Tracker
from tests.tiny import Tiny

RESTING = torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]])


class Counter(LandmarkModule):
    """Its state is how many frames a video has had, and where the crops said that their origin went."""

    def __init__(self):
        super().__init__(1)
        self.cold, self.warm = [], []

    def forward(self, image):
        raise AssertionError("tracking goes through track")

    def track(self, frame, state):
        (self.cold if state is None else self.warm).append(frame[:, 0, 0, 0].tolist())
        count = frame.new_zeros(len(frame), 3, dtype=torch.float32) if state is None else state
        state = count + torch.tensor([1.0, 0.0, 0.0])
        return LandmarkPrediction(state[:, None, :2], state[:, :1]), state

    def moved_state(self, state, move):
        return torch.cat([state[:, :1], move[..., 2]], dim=1)


def shown(*numbers):
    return torch.tensor(numbers, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def resting(count):
    return RESTING.expand(count, -1, -1)


def test_videos_begin_go_on_and_end_in_any_company():
    module = Counter()
    tracker = Tracker(module)
    steps = [([7], [1]), ([7, 5], [2, 1]), ([5, 9, 7], [2, 1, 3]), ([7], [4]), ([9, 5], [2, 3])]
    for videos, counts in steps:
        found = tracker(shown(*videos), resting(len(videos)), videos)
        assert found.landmarks[:, 0, 0].tolist() == counts
        assert found.heatmaps is None
    tracker.forget(5)
    tracker.forget(77)  # of which there is nothing
    assert tracker(shown(5, 9), resting(2), [5, 9]).landmarks[:, 0, 0].tolist() == [1, 3]
    assert module.cold == [[7], [5], [9], [5]]


def test_the_state_is_told_how_the_crop_moved():
    tracker = Tracker(Counter())
    crops = [RESTING, torch.tensor([[1.0, 0.0, 14.0], [0.0, 1.0, 20.0]])]
    tracker(shown(1, 2), torch.stack([crops[0], crops[0]]), [1, 2])
    found = tracker(shown(1, 2), torch.stack([crops[1], crops[0]]), [1, 2])
    # The origin of the new crop, pixel (14, 20) of the video, was at (2, 0) of the last one.
    assert found.landmarks[:, 0].tolist() == [[2.0, 2.0], [2.0, 0.0]]


def test_a_module_without_a_state_sees_each_frame_alone():
    torch.manual_seed(0)
    module = Tiny(5).eval()
    frames = torch.randint(0, 256, (4, 2, 3, 16, 16), dtype=torch.uint8)
    tracker = Tracker(module)
    for frame in frames:
        torch.testing.assert_close(tracker(frame, resting(2), [0, 1]).landmarks, module(frame).landmarks)


@pytest.fixture
def ldeq():
    torch.manual_seed(0)
    return LDEQ(num_landmarks=3, injection_width=8, width=8, width_step=4, depth=1).eval()


def test_ldeq_side_by_side_is_one_by_one(ldeq):
    """Also where the second video begins two frames later, and where crops move."""
    frames = torch.randint(0, 256, (5, 2, 3, 32, 32), dtype=torch.uint8)
    crops = RESTING + torch.randn(5, 2, 2, 3, generator=torch.Generator().manual_seed(0)) * 0.05
    with torch.inference_mode():
        together, alone = Tracker(ldeq), [Tracker(ldeq), Tracker(ldeq)]
        for t in range(5):
            videos = [1, 0] if t >= 2 else [0]
            found = together(frames[t, videos], crops[t, videos], videos)
            for row, video in enumerate(videos):
                single = alone[video](frames[t, [video]], crops[t, [video]], [video])
                torch.testing.assert_close(found.landmarks[row], single.landmarks[0], atol=1e-4, rtol=0)
                torch.testing.assert_close(found.heatmaps[row], single.heatmaps[0], atol=1e-4, rtol=0)


def test_the_first_frame_is_cold_and_later_ones_are_not(ldeq):
    frames, tracker = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8), Tracker(ldeq)
    with torch.inference_mode():
        first, second = (tracker(frame, resting(1), [3]).landmarks for frame in frames)
        torch.testing.assert_close(first, ldeq(frames[0]).landmarks)
        assert not torch.allclose(second, ldeq(frames[1]).landmarks, atol=1e-4)
