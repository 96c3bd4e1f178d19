"""What happens in the course of a video: random functions of time, in seconds, and episodes that come and go.

All are drawn in the order of time, so what happens before an instant does not depend on when the video ends.
"""

from dataclasses import dataclass

import numpy as np

from datamodules.crop import Floats

WAVES = 12  # of which a random motion is the sum
BEFORE = 6.0  # seconds before a video begins from which on episodes are drawn: some have begun when it does


class Wander:
    """Smooth random motion of mean 0 and standard deviation 1: a sum of waves whose frequencies fill a band.

    Args:
        rng: draws the waves.
        columns: how many motions, independent of each other.
        low, high: the band in Hz; slower waves are larger, as those of a body are.
    """

    def __init__(self, rng: np.random.Generator, columns: int, low: float, high: float) -> None:
        share = (np.arange(WAVES) + rng.random((columns, WAVES))) / WAVES
        self._speed = 2 * np.pi * low * (high / low) ** share  # (C, WAVES)
        self._phase = rng.uniform(0, 2 * np.pi, (columns, WAVES))
        size = rng.uniform(0.5, 1.5, (columns, WAVES)) / np.sqrt(self._speed)
        self._size = size * np.sqrt(2 / (size**2).sum(axis=1, keepdims=True))

    def __call__(self, time: Floats) -> Floats:
        """Where it is (T, C) at times (T,)."""
        return (self._size * np.sin(self._speed * time[:, None, None] + self._phase)).sum(axis=-1)


def smooth_step(value: Floats) -> Floats:
    """0 up to 0, 1 from 1; between, the way of a movement of least jerk (Flash and Hogan 1985)."""
    t = np.clip(value, 0, 1)
    return t**3 * (10 - 15 * t + 6 * t**2)


def limited(value: Floats, most: float | Floats) -> Floats:
    """Values (...) held within ``most`` on both sides; small ones hardly change, and none jumps."""
    return value / (1 + (value / most) ** 4) ** 0.25


@dataclass(frozen=True)
class Episode:
    """Something that comes, stays and goes: its beginning and how long each takes, in seconds.

    ``draws`` (6,) are random numbers from 0 to 1 for what it is.
    """

    start: float
    rise: float
    hold: float
    fall: float
    draws: Floats

    @property
    def stop(self) -> float:
        """When it is over."""
        return self.start + self.rise + self.hold + self.fall

    def come(self, time: Floats) -> Floats:
        """How far it has come (T,), from 0 to 1, at times (T,)."""
        return smooth_step((time - self.start) / self.rise)

    def gone(self, time: Floats) -> Floats:
        """How far it has gone again (T,), from 0 to 1."""
        return smooth_step((time - self.stop + self.fall) / self.fall)

    def level(self, time: Floats) -> Floats:
        """How much of it there is (T,), from 0 to 1."""
        return self.come(time) - self.gone(time)


Range = tuple[float, float]


def episodes(rng: np.random.Generator, end: float, gap: Range, rise: Range, hold: Range, fall: Range) -> list[Episode]:
    """Episodes one after another up to ``end`` in seconds; the pauses before them and their parts are from ranges.

    How many numbers are drawn depends on ``end``, so they are the last that are drawn from ``rng``.
    """
    found, clock = [], -BEFORE
    low, high = np.array([gap, rise, hold, fall]).T
    while clock < end:
        draws = rng.random(10)
        pause, come, stay, go = (low + (high - low) * draws[:4]).tolist()
        found.append(Episode(clock + pause, come, stay, go, draws[4:]))
        clock = found[-1].stop
    return found


def levels(of: list[Episode], time: Floats) -> Floats:
    """How much there is (T,) of any of the episodes."""
    return np.sum([episode.level(time) for episode in of], axis=0)
