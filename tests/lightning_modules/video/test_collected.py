"""Videos put together from chunks, and what filters make of them."""

import numpy as np
import pytest
import torch

from lightning_modules.video.collected import ALONE, CollectedVideos
from lightning_modules.video.filters import MovingAverage, OneEuro
from tests.lightning_modules.video.casiez import one_euro
from tests.tiny import Tiny

TICKS = [0, 1, 2, 12, 13, 14, 15, 40]  # 25ths of a second
CROP = torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]])


def chunk(found, first, count):
    """Frames of a video of eight, as a `VideoBatch` that is one frame too long at its end; the landmarks in them."""
    frame = torch.arange(first, first + count).unsqueeze(0)
    shown, place = frame < 8, frame.clamp_max(7)
    batch = {
        "landmarks": torch.zeros(1, count, *found.shape[1:]),
        "crop": CROP.expand(1, count, -1, -1),
        "norm": torch.ones(1, count),
        "video": torch.tensor([5]),
        "frame": frame,
        "seconds": torch.tensor(TICKS)[place] / 25.0,
        "shown": shown,
        "valid": shown,
    }
    return batch, found[place]


@pytest.fixture
def video():
    """Landmarks in crop pixels, and the video that is collected of them in three chunks."""
    found = torch.rand(8, 3, 2, generator=torch.Generator().manual_seed(0)) * 50
    collected = CollectedVideos(Tiny(3))
    for first in (0, 3, 6):
        collected.put(*chunk(found, first, 3))
    ((name, video),) = collected
    assert name == 5
    return found, video


def test_chunks_become_one_video(video):
    found, whole = video
    torch.testing.assert_close(whole.found[ALONE], 2 * found + torch.tensor([10.0, 20.0]))
    assert whole.frame.tolist() == list(range(8))
    torch.testing.assert_close(whole.seconds, torch.tensor(TICKS) / 25.0)


def test_filters_take_the_times_of_the_frames(video):
    _, whole = video
    points, filters = whole.found[ALONE].double().numpy(), [MovingAverage(0.3), OneEuro(1.0, 3.0)]
    expected = one_euro(points, np.array(TICKS) / 25, 1.0, 3.0)
    np.testing.assert_allclose(whole.by("One Euro 1 Hz, 3", filters), expected, rtol=1e-5)
    np.testing.assert_allclose(whole.by("EMA 0.3", filters), MovingAverage(0.3)(points), rtol=1e-5)
