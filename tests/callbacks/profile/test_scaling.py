"""The formulas, against values made by hand."""

import pytest

from callbacks.profile import scaling


def test_a_line_is_found_again():
    assert scaling.line([1, 10, 1000], [5, 23, 2003]) == pytest.approx((3, 2))


def test_a_long_time_that_is_off_leaves_the_latency_alone():
    """Absolute errors would put it at minus a million."""
    intercept, slope = scaling.line([0.0, 1e6, 1e7], [1.0, 2e6, 2.2e7])
    assert intercept == pytest.approx(1, abs=0.1)
    assert slope == pytest.approx(2.1, rel=0.01)


def test_a_ring_of_four():
    """Each hands on three quarters of 100 MB twice, 150 MB at 1 GB/s, in six messages."""
    assert scaling.ring_bytes(100e6, 4) == 150e6
    assert scaling.ring_seconds(100e6, 4, 0.001, 1e9) == pytest.approx(0.156)
    assert scaling.ring_seconds(100e6, 1, 0.001, 1e9) == 0


def test_the_link_of_a_ring():
    points = [(size, scaling.ring_seconds(size, 8, 5e-6, 3e9)) for size in (1e3, 1e6, 1e9)]
    latency, bandwidth = scaling.link_of_ring(scaling.line(*zip(*points, strict=True)), 8)
    assert latency == pytest.approx(5e-6)
    assert bandwidth == pytest.approx(3e9)


def test_messages_of_no_size():
    assert scaling.tree_seconds(3, 1, 1e-5) == 0
    assert scaling.tree_seconds(3, 8, 1e-5) == pytest.approx(9e-5)
    assert scaling.tree_seconds(3, 9, 1e-5) == pytest.approx(12e-5)


def test_what_overlap_leaves():
    assert scaling.exposed_seconds(0.010, 0.012, 0.5) == pytest.approx(0.004)
    assert scaling.exposed_seconds(0.005, 0.012, 0.5) == 0


def test_memory_of_a_batch():
    """2 GB of weights and the like, 1 GB of a step, 0.1 GB a sample; at twice the side four times that."""
    assert scaling.memory_bytes(2e9, 1e9, 1e8, 10) == pytest.approx(4e9)
    assert scaling.memory_bytes(2e9, 1e9, 1e8, 10, sides=2) == pytest.approx(7e9)
    assert scaling.largest_batch(7.05e9, 2e9, 1e9, 1e8) == 40
    assert scaling.largest_batch(7.05e9, 2e9, 1e9, 1e8, sides=2) == 10
    assert scaling.largest_batch(1e9, 2e9, 1e9, 1e8) == 0


def test_a_gpu_computes_or_waits_for_its_host():
    assert scaling.gpu_seconds(4e12, 40e12, 1000, 1e-5) == pytest.approx(0.1)
    assert scaling.gpu_seconds(4e10, 40e12, 1000, 1e-5) == pytest.approx(0.01)


@pytest.mark.parametrize(("workers", "starved"), [(3, True), (4, False)])
def test_when_a_loader_starves_a_gpu(workers, starved):
    """16 samples in 20 ms are 800 a second; a worker has 200."""
    assert scaling.workers_needed(16, 0.02, 200) == 4
    step = scaling.step_seconds(0.02, scaling.loading_seconds(16, workers, 200), workers)
    assert (step > 0.02) == starved
    assert scaling.step_seconds(0.02, scaling.loading_seconds(16, 0, 200), 0) == pytest.approx(0.02 + 0.08)
