"""Filters against formulas written out, and against scipy."""

import math

import numpy as np
import pytest
from scipy.signal import savgol_filter

from lightning_modules.video.filters import MovingAverage, OneEuro, SavitzkyGolay, candidates


@pytest.fixture
def walk():
    rng = np.random.default_rng(0)
    return 100 * rng.random((1, 5, 2)) + rng.normal(0, 1, (40, 1, 2)).cumsum(axis=0) + rng.normal(0, 1, (40, 5, 2))


@pytest.mark.parametrize("smoothing", [*candidates()][::7], ids=lambda f: f.title)
def test_a_whole_video_is_its_frames_one_after_the_other(walk, smoothing):
    step = smoothing.start(30.0)
    np.testing.assert_allclose(smoothing(walk, 30.0), [step(points) for points in walk], rtol=1e-12)


@pytest.mark.parametrize("smoothing", [*candidates()], ids=lambda f: f.title)
def test_the_future_is_not_looked_at_and_rest_is_left_alone(walk, smoothing):
    changed = walk.copy()
    changed[25:] += 10
    np.testing.assert_array_equal(smoothing(walk)[:25], smoothing(changed)[:25])
    assert (smoothing(walk)[25] != smoothing(changed)[25]).all()
    still = np.repeat(walk[:1], 40, axis=0)
    np.testing.assert_allclose(smoothing(still), still, rtol=1e-9)


def test_the_moving_average_by_its_formula(walk):
    said = [walk[0]]
    for points in walk[1:]:
        said.append(0.7 * points + 0.3 * said[-1])
    np.testing.assert_allclose(MovingAverage(0.3)(walk), said)
    np.testing.assert_array_equal(MovingAverage(0.0)(walk), walk)


@pytest.mark.parametrize(("window", "order"), [(5, 1), (7, 2), (9, 0)])
def test_savitzky_golay_ends_as_scipy_does(walk, window, order):
    """scipy fits the last frames of a video by one polynomial, whose last place is ours."""
    found = SavitzkyGolay(window, order)(walk)
    for last in range(window, len(walk) + 1):
        fitted = savgol_filter(walk[last - window : last], window, order, axis=0, mode="interp")
        np.testing.assert_allclose(found[last - 1], fitted[-1], rtol=1e-9)
    np.testing.assert_allclose(found[:order], walk[:order], atol=1e-9)  # as many points as a polynomial goes through


def test_savitzky_golay_follows_a_polynomial():
    time = np.arange(30.0).reshape(-1, 1, 1)
    line = np.concatenate([3 * time, 0.1 * time**2], axis=2)
    np.testing.assert_allclose(SavitzkyGolay(9, 2)(line), line, atol=1e-8)
    assert np.abs(SavitzkyGolay(9, 1)(line) - line)[-1, 0, 1] > 0.1


def test_one_euro_by_its_formula():
    """Casiez et al. 2012, algorithm 1, coordinate after coordinate, in lengths of the face."""
    rate, minimum, beta = 30.0, 1.5, 4.0
    rng = np.random.default_rng(1)
    walk = np.array([[0.0, 0.0], [90.0, 40.0]]) + rng.normal(0, 2, (20, 2, 2)).cumsum(axis=0)

    def alpha(cutoff):
        return 1 / (1 + rate / (2 * math.pi * cutoff))

    expected = np.empty_like(walk)
    for i in range(2):
        for axis in range(2):
            said, speed, before = walk[0, i, axis], 0.0, walk[0, i, axis]
            expected[0, i, axis] = said
            for t in range(1, 20):
                found = walk[t, i, axis]
                size = math.sqrt(abs(walk[t, 1, 0] - walk[t, 0, 0]) * abs(walk[t, 1, 1] - walk[t, 0, 1]))
                speed = alpha(1.0) * (found - before) / size * rate + (1 - alpha(1.0)) * speed
                share = alpha(minimum + beta * abs(speed))
                said, before = share * found + (1 - share) * said, found
                expected[t, i, axis] = said
    np.testing.assert_allclose(OneEuro(minimum, beta)(walk, rate), expected, rtol=1e-9)


def test_one_euro_means_the_same_at_any_resolution(walk):
    smoothing = OneEuro(1.0, 10.0)
    np.testing.assert_allclose(smoothing(8 * walk), 8 * smoothing(walk), rtol=1e-9)


def test_noise_is_smoothed_and_fast_motion_lags():
    rng = np.random.default_rng(0)
    still = rng.normal(0, 1, (200, 9, 2)) + 100 * rng.random((1, 9, 2))
    moving = still + 60 * np.sin(np.arange(200) / 4).reshape(-1, 1, 1)
    for smoothing in (MovingAverage(0.7), SavitzkyGolay(13, 1), OneEuro(1.0, 0.0)):
        assert smoothing(still)[50:].std(axis=0).mean() < 0.7 * still[50:].std(axis=0).mean()
        assert np.abs(smoothing(moving) - moving).mean() > 2
    slow, fast = (np.abs(OneEuro(1.0, beta)(moving) - moving).mean() for beta in (0.0, 30.0))
    assert fast < slow / 5


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MovingAverage(1.0), "weight of the moving average is 1.0, expected at least 0 and less than 1"),
        (lambda: SavitzkyGolay(3, 3), "order 3 over 3 frames: expected an order of at least 0 and less than"),
        (lambda: OneEuro(0.0), "cutoffs 0 and 1 Hz and beta 10: expected cutoffs above 0"),
    ],
)
def test_mistakes_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
