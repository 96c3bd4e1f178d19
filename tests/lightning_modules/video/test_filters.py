"""Filters against formulas written out, and against scipy."""

import numpy as np
import pytest
from scipy.signal import savgol_filter

from lightning_modules.video.filters import MovingAverage, OneEuro, SavitzkyGolay, candidates
from tests.lightning_modules.video.casiez import one_euro


@pytest.fixture
def walk():
    rng = np.random.default_rng(0)
    return 100 * rng.random((1, 5, 2)) + rng.normal(0, 1, (40, 1, 2)).cumsum(axis=0) + rng.normal(0, 1, (40, 5, 2))


@pytest.mark.parametrize("smoothing", [*candidates()][::7], ids=lambda f: f.title)
def test_a_whole_video_is_its_frames_one_after_the_other(walk, smoothing):
    step, times = smoothing.start(), np.cumsum(np.random.default_rng(1).uniform(0.01, 0.2, len(walk)))
    found = [step(points, time) for points, time in zip(walk, times, strict=True)]
    np.testing.assert_allclose(smoothing(walk, times), found, rtol=1e-12)


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


@pytest.mark.parametrize("uneven", [False, True])
def test_one_euro_by_its_formula(uneven):
    rng = np.random.default_rng(1)
    walk = np.array([[0.0, 0.0], [90.0, 40.0]]) + rng.normal(0, 2, (20, 2, 2)).cumsum(axis=0)
    times = 3 + (rng.choice([0.004, 1 / 30, 0.4], 20).cumsum() if uneven else np.arange(20) / 30)
    np.testing.assert_allclose(OneEuro(1.5, 4.0)(walk, times), one_euro(walk, times, 1.5, 4.0), rtol=1e-9)
    if not uneven:
        np.testing.assert_allclose(OneEuro(1.5, 4.0)(walk), one_euro(walk, times * 30 / 25, 1.5, 4.0), rtol=1e-9)


def test_one_euro_says_nothing_new_of_a_frame_at_the_same_time(walk):
    """Files have such frames, and the formula's rate is infinite there."""
    times = np.arange(40) / 25
    times[20:] -= 1 / 25
    assert times[20] == times[19]
    found = OneEuro(1.0, 10.0)(walk, times)
    np.testing.assert_array_equal(found[20], found[19])
    near = OneEuro(1.0, 10.0)(walk, times + 1e-9 * np.arange(40))
    np.testing.assert_allclose(found, near, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [MovingAverage(0.3), SavitzkyGolay(7, 1)], ids=lambda f: f.title)
def test_other_filters_count_frames(walk, smoothing):
    np.testing.assert_array_equal(smoothing(walk, np.arange(40.0) ** 2), smoothing(walk))


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
