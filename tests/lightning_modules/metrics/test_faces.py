import pickle

import numpy as np
import pytest
import torch

from lightning_modules.metrics import (
    AreaUnderCurve,
    CumulativeErrorDistribution,
    FailureRate,
    LandmarkFailureRate,
    NormalizedMeanError,
    PerFaceMetric,
    PointVariance,
    face_metrics,
    face_tables,
)

SUBSETS = ("pose", "make-up")


def make_batch(rows, seed=0, count=101, points=7):
    """The given rows of a test set of ``count`` faces, as arguments of ``update``."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 256, (count, points, 2))
    pred = target + rng.normal(0, rng.gamma(2.0, 2.0, (count, 1, 1)), target.shape)
    norm, subsets = rng.uniform(40, 90, count), rng.random((count, len(SUBSETS))) < (0.3, 0.1)
    columns = (pred[rows], target[rows], norm[rows])
    return *(torch.tensor(c, dtype=torch.float32) for c in columns), torch.tensor(rows), torch.tensor(subsets[rows])


def brute_force(pred, target, norm, index, subsets):
    """What `face_metrics` should say of these faces, in float64 and one face at a time."""
    table = {}
    for name, member in {"": torch.ones(len(index)), **dict(zip(SUBSETS, subsets.T, strict=True))}.items():
        nme, single, variance = [], [], []
        for face in range(len(index)):
            if member[face]:
                offset = (pred[face].double() - target[face].double()).numpy()
                error = [np.hypot(*o) / norm[face].item() for o in offset]
                nme.append(np.mean(error))
                single += error
                variance.append(sum(np.var(100 * offset / norm[face].item(), axis=0)))
        suffix = f"/{name}" if name else ""
        table[f"nme{suffix}"] = 100 * sum(nme) / len(nme)
        table[f"fr10{suffix}"] = 100 * sum(value > 0.10 for value in nme) / len(nme)
        table[f"fr10_landmarks{suffix}"] = 100 * sum(value > 0.10 for value in single) / len(single)
        for at in (5, 8, 15, 20):
            table[f"fr{at:02}_landmarks{suffix}"] = 100 * sum(value > at / 100 for value in single) / len(single)
        table[f"fr08{suffix}"] = 100 * sum(value > 0.08 for value in nme) / len(nme)
        table[f"auc10{suffix}"] = sum(max(0.0, 1 - value / 0.10) for value in nme) / len(nme)
        table[f"point_var{suffix}"] = sum(variance) / len(variance)
    return table


def compute(metrics):
    return {name: value.item() for name, value in metrics.compute().items()}


def test_by_hand():
    target, norm = torch.zeros(3, 2, 2), torch.tensor([50.0, 50.0, 25.0])
    pred = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 15.0], [9.0, 12.0]], [[0.0, 0.0], [0.0, 0.0]]])
    index, subsets = torch.tensor([5, 3, 8]), torch.tensor([[True, False], [False, True], [True, False]])
    metrics = face_metrics(SUBSETS)
    metrics.update(pred, target, norm, index, subsets)
    assert compute(metrics) == pytest.approx(  # NME 5, 30 and 0 percent
        {
            # Differences in percent: (6, 8) and none; (0, 30) and (18, 24).
            **{"point_var": (25 + 90) / 3, "point_var/pose": 12.5, "point_var/make-up": 90.0},
            **{"nme": 35 / 3, "fr10": 100 / 3, "fr10_landmarks": 100 / 3, "auc10": 0.5},
            **{"nme/pose": 2.5, "fr10/pose": 0.0, "fr10_landmarks/pose": 0.0, "auc10/pose": 0.75},
            **{"nme/make-up": 30.0, "fr10/make-up": 100.0, "fr10_landmarks/make-up": 100.0, "auc10/make-up": 0.0},
        }
    )


def test_a_shift_of_all_landmarks_has_no_point_variance():
    target = torch.rand(6, 9, 2, generator=torch.Generator().manual_seed(0)) * 256
    metric = PointVariance()
    rows = (target, torch.full((6,), 60.0), torch.arange(6), torch.zeros(6, 0).bool())
    metric.update(target + torch.tensor([8.0, -3.0]), *rows)
    assert metric.compute().item() == pytest.approx(0.0, abs=1e-6)
    metric.reset()
    metric.update(target + torch.tensor([[8.0, -3.0]] * 8 + [[8.0, 6.0]]), *rows)  # one of nine is 15 % lower
    assert metric.compute().item() == pytest.approx(15**2 * 8 / 81, rel=1e-5)


def test_landmark_failure_rate_by_hand():
    pred = torch.tensor([[[6.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
    metric = LandmarkFailureRate(0.10)
    metric.update(pred, torch.zeros(2, 2, 2), torch.full((2,), 50.0), torch.arange(2), torch.zeros(2, 0).bool())
    assert metric.compute().item() == 25.0  # 12, 0, 0 and 8 percent; both faces' NME is below 10
    assert metric.threshold == 0.10


def test_cumulative_error_distribution_by_hand():
    pred = torch.tensor([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 0.0]], [[9.0, 12.0], [9.0, 12.0]]])
    metric = CumulativeErrorDistribution(0.10)
    rows = (torch.zeros(3, 2, 2), torch.full((3,), 40.0), torch.tensor([7, 0, 3]), torch.zeros(3, 0).bool())
    metric.update(pred, *rows)  # NME 2.5, 5 and 37.5 percent
    metric.update(pred, *rows)  # repeats
    threshold, share = metric.compute().T
    assert threshold.tolist() == pytest.approx(np.linspace(0, 0.10, 1001))
    third = 1 / 3
    assert share[[0, 249, 250, 499, 500, 1000]].tolist() == pytest.approx([0, 0, third, third, 2 * third, 2 * third])
    area = (share[1:] + share[:-1]).sum().item() / 2 / 1000
    whole = AreaUnderCurve(0.10)
    whole.update(pred, *rows)
    assert area == pytest.approx(whole.compute().item(), abs=1e-3)


def test_tables_by_hand():
    tables = face_tables()
    pred = torch.tensor([[[6.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 4.0]]])
    rows = (torch.zeros(2, 2, 2), torch.full((2,), 50.0), torch.tensor([4, 2]), torch.zeros(2, 0).bool())
    tables.update(pred, *rows)  # 12 and 2, 0 and 8 percent
    tables.update(pred, *rows)  # repeats
    found = tables.compute()
    assert found["landmarks"].tolist() == [[6.0, 50.0], [5.0, 0.0]]
    assert found["ced"][[0, 399, 400, 699, 700, 1000], 1].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert found["ced_landmarks"][[0, 199, 200, 799, 800, 1000], 1].tolist() == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_cumulative_error_distribution_of_a_subset():
    metric = CumulativeErrorDistribution(0.10, subset=0)
    pred = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])
    member = torch.tensor([[True], [False]])
    metric.update(pred, torch.zeros(2, 1, 2), torch.full((2,), 100.0), torch.arange(2), member)
    assert metric.compute()[:, 1].unique().tolist() == [0, 1]


def test_agrees_with_brute_force_whatever_the_batches():
    everyone = make_batch(np.arange(101))
    whole, batched = face_metrics(SUBSETS, failure_rates=True), face_metrics(SUBSETS, failure_rates=True)
    whole.update(*everyone)
    for rows in np.array_split(np.random.default_rng(3).permutation(101), 9):
        batched.update(*make_batch(rows))
    assert compute(whole) == pytest.approx(brute_force(*everyone), rel=1e-5)
    assert compute(batched) == compute(whole)  # to the last digit: rows are sorted before they are summed


def test_repeats_are_dropped():
    once, repeated = face_metrics(SUBSETS, failure_rates=True), face_metrics(SUBSETS, failure_rates=True)
    once.update(*make_batch(np.arange(101)))
    for rows in (np.arange(60), np.arange(101), np.array([0, 0, 0, 100, 100])):
        repeated.update(*make_batch(rows))
    assert compute(repeated) == compute(once)


def test_the_first_of_two_errors_of_a_sample_counts():
    metric = NormalizedMeanError()
    for offset, rows in ((5.0, [2, 1]), (20.0, [1, 0]), (40.0, [2, 2])):
        pred = torch.tensor([offset, 0.0]).expand(2, 1, 2)
        metric.update(pred, torch.zeros(2, 1, 2), torch.full((2,), 100.0), torch.tensor(rows), torch.zeros(2, 0).bool())
    assert metric.compute().item() == 10.0  # 20, 5 and 5 percent


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_an_empty_set_is_nan():
    assert all(np.isnan(value) for value in compute(face_metrics(SUBSETS, failure_rates=True)).values())
    metrics = face_metrics(SUBSETS, failure_rates=True)
    pred, target, norm, index, _ = make_batch(np.arange(4))
    metrics.update(pred, target, norm, index, torch.tensor([[True, False]] * 4))
    values = compute(metrics)
    assert values["nme/pose"] == values["nme"] > 0
    assert np.isnan(values["nme/make-up"])


def test_data_without_subsets():
    metrics = face_metrics(())
    *batch, _ = make_batch(np.arange(101))
    metrics.update(*batch, torch.zeros(101, 0).bool())
    expected = brute_force(*make_batch(np.arange(101)))
    assert compute(metrics) == pytest.approx(
        {key: expected[key] for key in ("nme", "fr10", "fr10_landmarks", "auc10", "point_var")}, rel=1e-5
    )


def test_errors_name_the_sample():
    pred, target, norm, index, subsets = make_batch(np.arange(10, 20))
    norm[3] = 0
    with pytest.raises(ValueError, match="sample 13: the normaliser is zero"):
        face_metrics(SUBSETS, failure_rates=True).update(pred, target, norm, index, subsets)


@pytest.mark.parametrize(
    ("index", "subsets", "sentence"),
    [
        (torch.arange(3), torch.zeros(4, 2), r"index has shape \(3,\) and subsets \(4, 2\), expected \(4,\)"),
        (torch.arange(4), torch.zeros(4), r"index has shape \(4,\) and subsets \(4,\), expected \(4,\)"),
        (torch.arange(4), torch.zeros(4, 1), "subset 1 is not among the 1 subsets of the batch"),
    ],
)
def test_columns_that_do_not_fit_are_refused(index, subsets, sentence):
    metric = NormalizedMeanError(subset=1)
    with pytest.raises(ValueError, match=sentence):
        metric.update(torch.zeros(4, 5, 2), torch.zeros(4, 5, 2), torch.ones(4), index, subsets.bool())
    assert metric.index == metric.error == metric.subsets == []


def test_a_collection_updates_its_rows_once(monkeypatch):
    updates = []
    original = PerFaceMetric.update
    monkeypatch.setattr(PerFaceMetric, "update", lambda self, *args: (updates.append(self), original(self, *args)))
    metrics = face_metrics(SUBSETS, failure_rates=True)
    for epoch in range(2):
        for rows in np.array_split(np.arange(101), 4):
            metrics.update(*make_batch(rows, seed=epoch))
        assert len(updates) == 2 * 4 * (epoch + 1)  # of the errors, and of the variances
        assert compute(metrics) == pytest.approx(brute_force(*make_batch(np.arange(101), seed=epoch)), rel=1e-5)
        metrics.reset()


def test_perfect_first_batch_does_not_tie_different_metrics():
    metrics = face_metrics(SUBSETS, failure_rates=True)
    _, target, norm, index, subsets = make_batch(np.arange(50))
    metrics.update(target, target, norm, index, subsets)
    metrics.update(*make_batch(np.arange(50, 101)))
    pred = torch.cat([target, make_batch(np.arange(50, 101))[0]])
    assert compute(metrics) == pytest.approx(brute_force(pred, *make_batch(np.arange(101))[1:]), rel=1e-5)


def test_more_faces_after_a_result():
    metrics = face_metrics(SUBSETS, failure_rates=True)
    metrics.update(*make_batch(np.arange(40)))
    assert compute(metrics) == pytest.approx(brute_force(*make_batch(np.arange(40))), rel=1e-5)
    metrics.update(*make_batch(np.arange(40, 101)))
    assert compute(metrics) == pytest.approx(brute_force(*make_batch(np.arange(101))), rel=1e-5)


def test_pickles_and_clones_keep_their_rows_to_themselves():
    metrics = face_metrics(SUBSETS, failure_rates=True)
    metrics.update(*make_batch(np.arange(40)))
    before = compute(metrics)
    copies = [pickle.loads(pickle.dumps(metrics)), metrics.clone()]
    metrics.update(*make_batch(np.arange(40, 80)))
    for copy in copies:
        assert compute(copy) == before
        copy.update(*make_batch(np.arange(40, 101)))
        assert compute(copy) == pytest.approx(brute_force(*make_batch(np.arange(101))), rel=1e-5)
    prefixed = metrics.clone(prefix="val/")
    assert compute(prefixed) == {f"val/{key}": value for key, value in compute(metrics).items()}


def test_rows_stay_out_of_checkpoints():
    metrics = face_metrics(SUBSETS, failure_rates=True)
    metrics.update(*make_batch(np.arange(40)))
    assert metrics.state_dict() == {}


@pytest.mark.parametrize(
    ("metric", "higher_is_better"),
    [
        (NormalizedMeanError, False),
        (PointVariance, False),
        (FailureRate, False),
        (LandmarkFailureRate, False),
        (AreaUnderCurve, True),
    ],
)
def test_what_torchmetrics_asks_of_a_metric(metric, higher_is_better):
    assert metric.higher_is_better is higher_is_better
    assert metric.full_state_update is False
    assert metric.is_differentiable is False


def test_value_of_one_batch_does_not_disturb_the_rows():
    metric = NormalizedMeanError()
    metric.update(*make_batch(np.arange(60)))
    batch = make_batch(np.arange(60, 101))
    assert metric(*batch).item() == pytest.approx(brute_force(*batch)["nme"], rel=1e-5)
    assert metric.compute().item() == pytest.approx(brute_force(*make_batch(np.arange(101)))["nme"], rel=1e-5)
