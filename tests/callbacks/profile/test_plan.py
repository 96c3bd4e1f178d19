"""What is derived, from figures that are easy to reckon with."""

import pytest

from callbacks.arguments import UsageError
from callbacks.profile.assumptions import Assumptions, read_assumptions
from callbacks.profile.plan import derive
from callbacks.profile.timer import BACKWARD, FORWARD, OPTIMISER, REST, TRANSFER, WAIT


def timing(**parts):
    """A summary of steps of 100 ms, of which 20 wait for data."""
    usual = {WAIT: 0.02, TRANSFER: 0, FORWARD: 0.03, BACKWARD: 0.04, OPTIMISER: 0.005, REST: 0.005, **parts}
    return {"steps": 4, "step": sum(usual.values()), "parts": usual}


def phase(name="training", epoch=0, **changes):
    memory = {"weights": 4e8, "gradients": 4e8, "optimiser": 8e8, "buckets": 0}
    memory["batches"] = [[4, 1e9], [8, 1.8e9], [16, 3.4e9]]
    usual = {"name": name, "epoch": epoch, "parts": timing(), "flops": 4e11, "operations": 500, "memory": memory}
    return {**usual, **changes}


def figures(*phases, **run):
    usual = {"batch": 16, "accumulated": 1, "size": 256, "workers": 4, "on_gpu": False, "processes": 1}
    usual |= {"samples_an_epoch": 16_000, "epochs": 30}
    return {
        "run": {**usual, **run},
        "phases": list(phases or [phase()]),
        "loader": {"cores": 2, "rates": {"0": 120.0, "1": 100.0, "2": 190.0}},
        "communication": {
            "gradient_bytes": 400e6,
            "buffer_bytes": 0,
            "short_messages": 3,
            "processes": 2,
            "seconds": [[1e3, 1e-4 + 1e-6], [1e8, 1e-4 + 1e-1]],
        },
    }


def row_of(derived, gpus):
    return next(row for row in derived["scaling"] if row["gpus"] == gpus)


def test_many_gpus_by_hand():
    """10 ms by 40 TFLOP/s, 5.7 of them backward; 64 GPUs sum 400 MB at 25 GB/s in 31.5 ms, and 1.26 of latency."""
    derived = derive(figures(), Assumptions())
    assert derived["gpu"]["step"] == pytest.approx(0.01)
    assert derived["gpu"]["backward"] == pytest.approx(0.01 * 4 / 7)
    eight, all_of_them = row_of(derived, 8), row_of(derived, 64)
    assert eight["communication"] == pytest.approx(14 * 1e-5 + 700e6 / 200e9)
    assert eight["exposed"] == pytest.approx(14 * 1e-5 + 700e6 / 200e9 - 0.02 / 7)
    assert all_of_them["sent"] == pytest.approx(787.5e6)
    assert all_of_them["communication"] == pytest.approx(126e-5 + 0.0315)
    fed = 0.01 + 126e-5 + 0.0315 - 0.02 / 7 + 3 * 6 * 1e-5
    assert all_of_them["fed"] == pytest.approx(fed)
    assert all_of_them["efficiency_fed"] == pytest.approx(0.01 / fed)
    assert all_of_them["step"] == pytest.approx(fed)  # longer than the loader's 40 ms
    assert row_of(derived, 1)["step"] == pytest.approx(0.04)
    assert row_of(derived, 1)["efficiency"] == pytest.approx(0.25)
    assert row_of(derived, 1)["hours_fed"] == pytest.approx(30 * 1000 * 0.01 / 3600)


def test_the_loader_by_hand():
    loader = derive(figures(), Assumptions())["loader"]
    assert (loader["asked"], loader["delivered"]) == pytest.approx((1600, 400))
    assert loader["workers_needed"] == 16
    alone = row_of(derive(figures(workers=0), Assumptions()), 1)
    assert alone["step"] == pytest.approx(0.01 + 16 / 120)  # nothing loads beside the step


def test_memory_by_hand():
    memory = derive(figures(), Assumptions())["memory"]
    assert (memory["static"], memory["fixed"], memory["each"]) == pytest.approx((1.6e9, 2e8, 2e8))
    assert memory["check"]["by_line"] == pytest.approx(memory["check"]["measured"]) == pytest.approx(2.6e9)
    by_batch = {row["batch"]: row["bytes"] for row in memory["by_batch"]}
    assert by_batch[32] == pytest.approx({128: 3.4e9, 256: 8.2e9, 384: 16.2e9, 512: 27.4e9})
    largest = {row["gb"]: row["batch"][256] for row in memory["largest"]}
    assert largest[16] == 71


def test_a_measured_gpu_is_not_calculated():
    """Of whole steps, which do not wait for their parts; a host that is too slow is in them."""
    whole = {**timing(**{FORWARD: 0.02}), "step": 0.09}
    derived = derive(figures(phase(whole=whole), on_gpu=True), Assumptions())
    assert derived["gpu"]["step"] == pytest.approx(0.07)
    assert derived["gpu"]["how"] == "measured"
    faster = derive(figures(phase(whole=whole), on_gpu=True), Assumptions(speedup=2.0))
    assert faster["gpu"]["step"] == pytest.approx(0.035)
    assert "assumed" in faster["gpu"]["how"]


def test_a_small_step_waits_for_its_host():
    derived = derive(figures(phase(flops=4e9)), Assumptions())
    assert derived["gpu"]["step"] == pytest.approx(500 * 1e-5)
    assert "500 operations" in derived["gpu"]["how"]


def test_what_was_exchanged_while_measuring_does_not_count_twice():
    """8 of 40 ms backward were the exchange's."""
    silent = timing(**{BACKWARD: 0.032})
    measured = figures(phase(silent=silent), processes=2)
    derived = derive(measured, Assumptions(speedup=1.0))
    assert derived["gpu"]["step"] == pytest.approx(0.072)
    assert derived["gpu"]["backward"] == pytest.approx(0.032)


def test_phases_have_their_own_epochs():
    """Ten of 10 ms and twenty of 30 ms, of 1,000 steps."""
    derived = derive(figures(phase("early"), phase("late", 10, flops=12e11)), Assumptions())
    assert derived["gpu"]["name"] == "late"
    assert row_of(derived, 1)["hours_fed"] == pytest.approx((10 * 1000 * 0.01 + 20 * 1000 * 0.03) / 3600)


def test_counted_messages_stand_before_those_that_are_known_of():
    measured = figures()
    rows = [("all_reduce", 100_000_000, 1.0), ("broadcast", 1, 1.0), ("all_reduce", 1, 0.1)]
    keys = ("operation", "elements", "a_step")
    measured["communication"]["collectives"] = [dict(zip(keys, row, strict=True)) for row in rows]
    assert derive(measured, Assumptions())["gpu"]["short_messages"] == pytest.approx(1.1)


def test_the_measured_link():
    assert derive(figures(), Assumptions())["link"] == pytest.approx({"latency": 5e-5, "bandwidth": 1e9})


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ({"--network-gb": "-1"}, "--network-gb is '-1', expected a number from 0.001 on"),
        ({"--overlap": "2"}, "--overlap is '2', expected a number from 0 to 1"),
        ({"--gpus-per-node": "1.5"}, "--gpus-per-node is '1.5', expected a whole number from 1 on"),
        ({"--tflops": "nan"}, "--tflops is 'nan'"),
        ({"--speedup": "inf"}, "--speedup is 'inf'"),
    ],
)
def test_an_assumption_out_of_range_is_a_sentence(typed, part):
    with pytest.raises(UsageError) as error:
        read_assumptions(typed)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_assumptions_as_typed():
    assert read_assumptions({"--gpus-per-node": "4", "--overlap": "0"}) == Assumptions(gpus_per_node=4, overlap=0)
