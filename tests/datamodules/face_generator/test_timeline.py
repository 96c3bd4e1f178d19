from itertools import pairwise

import numpy as np
import pytest

from datamodules.face_generator.timeline import BEFORE, Wander, episodes, levels, limited, smooth_step

RANGES = {"gap": (0.3, 0.9), "rise": (0.1, 0.2), "hold": (0.0, 0.5), "fall": (0.2, 0.3)}


def drawn(end, seed=0):
    return episodes(np.random.default_rng(seed), end, **RANGES)


def test_a_random_motion_keeps_to_its_band_and_size():
    time = np.arange(0, 400, 0.04)
    path = Wander(np.random.default_rng(0), 3, 0.5, 2.0)(time)
    np.testing.assert_allclose(path.std(axis=0), 1, atol=0.05)
    power = np.abs(np.fft.rfft(path * np.hanning(len(time))[:, None], axis=0)) ** 2
    frequency = np.fft.rfftfreq(len(time), 0.04)
    within = (frequency > 0.45) & (frequency < 2.05)
    assert (power[within].sum(axis=0) > 0.999 * power.sum(axis=0)).all()
    assert np.abs(np.corrcoef(path.T) - np.eye(3)).max() < 0.3


def test_episodes_follow_each_other_and_are_as_long_as_asked():
    found = drawn(30.0)
    assert found[0].start < 0.9 - BEFORE
    assert found[-1].stop > 30
    for last, episode in pairwise(found):
        assert 0.3 <= episode.start - last.stop <= 0.9
        assert 0.1 <= episode.rise <= 0.2
        assert 0 <= episode.hold <= 0.5
        assert 0.2 <= episode.fall <= 0.3


def test_a_shorter_time_has_the_first_of_the_episodes():
    few, many = drawn(5.0), drawn(20.0)
    assert len(few) < len(many)
    for one, other in zip(few, many, strict=False):
        assert (one.start, one.rise, one.hold, one.fall) == (other.start, other.rise, other.hold, other.fall)
        np.testing.assert_array_equal(one.draws, other.draws)


def test_an_episode_comes_stays_and_goes():
    found = drawn(5.0)
    one = found[8]
    half, full = one.start + one.rise / 2, one.start + one.rise + one.hold / 2
    at = np.array([one.start, half, full, one.stop - one.fall / 2, one.stop])
    np.testing.assert_allclose(one.level(at), [0, 0.5, 1, 0.5, 0], atol=1e-9)
    np.testing.assert_allclose(levels(found, at), one.level(at), atol=1e-9)


def test_a_step_begins_and_ends_at_rest():
    t = np.linspace(-0.5, 1.5, 2001)
    step = smooth_step(t)
    assert (step[0], step[-1]) == (0, 1)
    assert step[1000] == pytest.approx(0.5)
    assert (np.diff(step) >= 0).all()
    assert np.abs(np.diff(step, 2)).max() < 10 * 0.001**2


def test_a_limit_holds_large_values_and_leaves_small_ones():
    value = np.linspace(-200, 200, 4001)
    held = limited(value, 40.0)
    assert np.abs(held).max() < 40
    assert (np.diff(held) > 0).all()
    small = np.abs(value) < 10
    np.testing.assert_allclose(held[small], value[small], atol=0.02)
