"""Learning rates over a training."""

import math

import pytest

from lightning_modules.schedules import Cosine, Steps


@pytest.mark.parametrize("epochs", [60, 30, 120, 6])
def test_steps_are_the_papers_at_30_and_50_of_60_epochs(epochs):
    factors = [Steps()(epoch / epochs) for epoch in range(epochs)]
    expected = [1.0] * (epochs // 2) + [0.1] * (epochs // 3) + [0.01] * (epochs // 6)
    assert factors == pytest.approx(expected)


def test_steps_elsewhere():
    """The released code's MobileNets: 60 and 100 of 120 epochs are the same shares; these are others."""
    steps = Steps(first=0.25, second=0.5, factor=0.5)
    assert [steps(p) for p in (0.24, 0.25, 0.49, 0.5, 0.99)] == [1, 0.5, 0.5, 0.25, 0.25]


def test_a_share_that_is_a_rounding_error_too_low_steps_all_the_same():
    share = sum([0.1] * 3)  # 0.30000000000000004
    assert Steps(first=share)(0.3) == pytest.approx(0.1)


def test_cosine_rises_in_a_line_and_falls_to_zero():
    cosine = Cosine(warmup=0.2)
    assert [cosine(p) for p in (0, 0.1, 0.2)] == pytest.approx([0.04, 0.52, 1])
    assert cosine(0.6) == pytest.approx(0.5)
    assert cosine(0.4) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert cosine(1.0) == pytest.approx(0, abs=1e-12)
    assert Cosine(warmup=0)(0) == 1
