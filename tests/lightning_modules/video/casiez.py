"""The One Euro filter as Casiez et al. 2012 print it, number after number: a reference for frames at any times."""

import math

import numpy as np


class LowPass:
    """Algorithm 2: of one number."""

    def __init__(self):
        self.last = None

    def __call__(self, found, alpha):
        self.last = found if self.last is None else alpha * found + (1 - alpha) * self.last
        return self.last


def alpha(rate, cutoff):
    tau, te = 1 / (2 * math.pi * cutoff), 1 / rate
    return 1 / (1 + tau / te)


def one_euro(points, times, minimum, beta):
    """Algorithm 1, of each coordinate of landmarks (T, N, 2); the rate is by the time since the frame before.

    Speeds are in faces a second, of each frame's own size.
    """
    said = np.empty_like(points)
    low, high = points.min(axis=1), points.max(axis=1)
    sizes = np.sqrt((high - low).prod(axis=1))
    for i in range(points.shape[1]):
        for axis in range(2):
            places, speeds, before = LowPass(), LowPass(), None
            for t, time in enumerate(times):
                number = points[t, i, axis]
                rate = 1 / (time - times[t - 1]) if t else 1.0
                change = 0.0 if before is None else (number - before) / sizes[t] * rate
                speed, before = speeds(change, alpha(rate, 1.0)), number
                said[t, i, axis] = places(number, alpha(rate, minimum + beta * abs(speed)))
    return said
