"""Differences between tests, with intervals."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from callbacks.report.bootstrap import differences


def table(nme, failed):
    return [
        {"index": float(i), "nme": n, "fr10_landmarks": f} for i, (n, f) in enumerate(zip(nme, failed, strict=True))
    ]


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    base = rng.gamma(4, 2, 300)
    return table(base, rng.random(300)), table(base + rng.normal(0.3, 1, 300), rng.random(300))


def test_the_interval_is_that_of_scipy(pair):
    base, other = pair
    found = differences(other[::-1], base)  # rows are in the order of their errors
    change = np.array([o["nme"] - b["nme"] for o, b in zip(other, base, strict=True)])
    theirs = bootstrap((change,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert found["nme"].mean == pytest.approx(change.mean())
    assert found["nme"][1:] == pytest.approx(theirs, abs=0.015)
    assert found["nme"].sure
    assert not found["fr10_landmarks"].sure
    failed = [(o["nme"] > 8) * 100.0 - (b["nme"] > 8) * 100.0 for o, b in zip(other, base, strict=True)]
    assert found["fr08"].mean == pytest.approx(np.mean(failed))
    assert found["fr08"].low < found["fr08"].mean < found["fr08"].high


def test_frames_of_a_video_are_drawn_together():
    """Twenty videos of fifty frames that err alike know as much as twenty faces; two faces of a photograph as one."""
    rng = np.random.default_rng(3)
    change = rng.normal(0.2, 1, 20)
    names = [f"a/video{i}.mp4#{frame}" for i in range(20) for frame in range(50)]
    base = [{"index": float(i), "nme": 5.0, "image": name} for i, name in enumerate(names)]
    other = [{**row, "nme": 5.0 + change[i // 50]} for i, row in enumerate(base)]
    found = differences(other, base)["nme"]
    theirs = bootstrap((change,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert found[1:] == pytest.approx(theirs, abs=0.05)
    alone = [[{**row, "image": f"{row['index']}.jpg"} for row in table] for table in (other, base)]
    apart = differences(*alone)["nme"]
    assert apart.high - apart.low < 0.25 * (found.high - found.low)


def test_the_same_test_does_not_differ(pair):
    assert set(differences(pair[0], pair[0]).values()) == {(0.0, 0.0, 0.0)}
    assert not differences(pair[0], pair[0])["nme"].sure


def test_other_faces_are_not_compared(pair):
    base, other = pair
    assert differences(other[1:], base) == {}
    assert differences([], []) == {}


def test_a_test_from_before_there_were_failures_by_face_has_its_nme(pair):
    base = [{"index": row["index"], "nme": row["nme"]} for row in pair[0]]
    assert set(differences(pair[1], base)) == {"nme", "fr08", "fr10"}
