"""Learning rates over a training."""

import math

import pytest

from lightning_modules.schedules import Cosine, Steps
from tests.one_sentence import one_sentence


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Steps(0.9, 0.1),
            "has steps at 0.9 and 0.1, expected shares of the epochs, 0 to 1, one after the other",
        ),
        (lambda: Steps(second=1.5), "has steps at 0.5 and 1.5, expected shares"),
        (lambda: Steps(first=math.nan), "has steps at nan and"),
        (lambda: Steps(factor=-1), "factor is -1, expected more than 0"),
        (lambda: Steps(factor=math.inf), "factor is inf, expected more than 0"),
        (lambda: Cosine(-0.5), "warmup is -0.5, expected a share of the epochs, at least 0 and below 1"),
        (lambda: Cosine(2.0), "warmup is 2.0, expected a share"),
        (lambda: Cosine(1), "warmup is 1, expected a share"),
    ],
)
def test_bad_options_are_one_sentence(make, words):
    with one_sentence(words):
        make()


def test_cosine_rises_in_a_line_and_falls_to_zero():
    cosine = Cosine(warmup=0.2)
    assert [cosine(p) for p in (0, 0.1, 0.2)] == pytest.approx([0.04, 0.52, 1])
    assert cosine(0.6) == pytest.approx(0.5)
    assert cosine(0.4) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert cosine(1.0) == pytest.approx(0, abs=1e-12)
    assert Cosine(warmup=0)(0) == 1
