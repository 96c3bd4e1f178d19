"""Filters that smooth the landmarks of a video after they were found; they look at no image.

Letters: T frames, N landmarks. Points are (x, y) in pixels of the video: in those of a crop that moves with the face a
filter would smooth the crop's motion too. Frames need not come at an even rate: a filter whose parameters are in Hz
goes by each frame's own time.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, savgol_coeffs

Points = NDArray[np.float64]
Times = NDArray[np.float64]
Step = Callable[[Points, float], Points]
RATE = 25.0  # frames a second, where nobody says when they are


@dataclass(frozen=True)
class Filter(ABC):
    """Smooths landmarks as they come: what it says of a frame depends on this frame and those before it."""

    @abstractmethod
    def start(self) -> Step:
        """Begin a video: a function of the points (N, 2) of its next frame and of that frame's time in seconds."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Name with parameters."""

    def __call__(self, points: Points, seconds: Times | None = None) -> Points:
        """The points (T, N, 2) of a whole video, smoothed frame after frame; its times (T,), or an even `RATE`."""
        step, times = self.start(), np.arange(len(points)) / RATE if seconds is None else seconds
        return np.stack([step(frame, float(time)) for frame, time in zip(points, times, strict=True)])


@dataclass(frozen=True)
class MovingAverage(Filter):
    """Exponential moving average: (1 - weight) times what is found and weight times what was said a frame ago.

    Micaelli et al. 2023 (arXiv:2304.00600, Appendix C) do not say which of the two their weight multiplies; they take
    a larger one for the network that flickers more, so it is the past.

    Raises:
        ValueError: the weight is not from 0 up to but without 1.
    """

    weight: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1:
            raise ValueError(f"weight of the moving average is {self.weight}, expected at least 0 and less than 1")

    @property
    def title(self) -> str:
        """As in the paper."""
        return f"EMA {self.weight:g}"

    def start(self) -> Step:
        """See `Filter`; the first frame is said as it is found."""
        said: list[Points] = []

        def step(points: Points, seconds: float) -> Points:
            said[:] = [(1 - self.weight) * points + self.weight * (said[0] if said else points)]
            return said[0]

        return step

    def __call__(self, points: Points, seconds: Times | None = None) -> Points:
        """As `Filter`, at once."""
        smoothed, _ = lfilter([1 - self.weight], [1, -self.weight], points, axis=0, zi=self.weight * points[:1])
        return np.asarray(smoothed)


@dataclass(frozen=True)
class SavitzkyGolay(Filter):
    """The end of the polynomial that fits the last frames best (Savitzky & Golay 1964).

    The usual filter takes the polynomial's middle, and so needs frames that are still to come; this one is told at
    once, as the other filters are. Until there are ``window`` frames it fits those that there are.

    Raises:
        ValueError: the window has not more frames than the order, which is at least 0.
    """

    window: int = 7
    order: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.order < self.window:
            raise ValueError(
                f"Savitzky-Golay of order {self.order} over {self.window} frames: expected an order of at least 0 and "
                "less than the frames"
            )

    @property
    def title(self) -> str:
        """With frames and order."""
        return f"Savitzky-Golay {self.window}, {self.order}"

    def start(self) -> Step:
        """See `Filter`."""
        last: list[Points] = []

        def step(points: Points, seconds: float) -> Points:
            last[:] = [*last, points][-self.window :]
            return np.tensordot(_end_weights(len(last), min(self.order, len(last) - 1)), np.stack(last), 1)

        return step


@cache
def _end_weights(window: int, order: int) -> NDArray[np.float64]:
    """Weights of the last frames (window,) whose sum is the end of their polynomial."""
    return np.asarray(savgol_coeffs(window, order, pos=window - 1, use="dot"))


@dataclass(frozen=True)
class OneEuro(Filter):
    """A low-pass filter that lets faster motion through (Casiez et al. 2012): its cutoff is minimum + beta * speed.

    Speeds are in faces a second, a face being the square root of the area of the landmarks' box, so that parameters
    mean the same at any resolution.

    Args:
        minimum: cutoff in Hz of what does not move.
        beta: how many Hz a speed of one face a second adds.
        speed_cutoff: in Hz, of the speed itself; the paper's.

    Raises:
        ValueError: a cutoff is not above 0, or beta is below it.
    """

    minimum: float = 1.0
    beta: float = 10.0
    speed_cutoff: float = 1.0

    def __post_init__(self) -> None:
        if not (self.minimum > 0 and self.speed_cutoff > 0 and self.beta >= 0):
            raise ValueError(
                f"One Euro with cutoffs {self.minimum:g} and {self.speed_cutoff:g} Hz and beta {self.beta:g}: expected "
                "cutoffs above 0 and a beta of at least 0"
            )

    @property
    def title(self) -> str:
        """With its two parameters."""
        return f"One Euro {self.minimum:g} Hz, {self.beta:g}"

    def start(self) -> Step:
        """See `Filter`."""
        said: list[Any] = []  # points and speeds of the frame before, the points found in it, and its time

        def step(points: Points, seconds: float) -> Points:
            if not said:
                said[:] = [points, np.zeros_like(points), points, seconds]
                return points
            before, speed, found, time = said
            passed = max(seconds - time, 0.0)

            def gain(cutoff: float | Points) -> Points:
                """A second's share of what is new; of a frame it is this times ``passed``, which may be 0."""
                turn = 2 * math.pi * np.asarray(cutoff)
                return turn / (1 + turn * passed)

            face = math.sqrt(float(np.prod(np.ptp(points, axis=0)))) or 1.0
            speed = speed + gain(self.speed_cutoff) * ((points - found) / face - passed * speed)
            smoothed = before + passed * gain(self.minimum + self.beta * np.abs(speed)) * (points - before)
            said[:] = [smoothed, speed, points, seconds]
            return smoothed

        return step


def candidates() -> Iterator[Filter]:
    """All filters that are tried on validation videos; the averages are the paper's (Appendix C)."""
    weights = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    yield from (MovingAverage(weight) for weight in weights)
    yield from (SavitzkyGolay(window, order) for window in (3, 5, 7, 9, 13, 17) for order in (1, 2))
    yield from (OneEuro(minimum, beta) for minimum in (0.5, 1, 2, 4, 8) for beta in (0, 1, 3, 10, 30, 100))
