import pickle

import numpy as np
import pytest
import torch

from lightning_modules.metrics import (
    EquationFlicker,
    ErrorsByVideo,
    NormalizedMeanFlicker,
    normalized_mean_flicker,
    table_flicker,
    video_metrics,
)

SUBSETS = ("easy", "hard")
LENGTHS = {3: 9, 7: 5, 1: 1, 12: 14}


def make_videos(seed=0, points=6):
    """Of each video its prediction, target (T, N, 2), norm (T,) and subsets (2,)."""
    rng, videos = np.random.default_rng(seed), {}
    for number, length in LENGTHS.items():
        target = rng.uniform(0, 200, (1, points, 2)) + rng.normal(0, 3, (length, 1, 2)).cumsum(axis=0)
        target *= rng.uniform(0.9, 1.1, (length, 1, 1))
        pred = target + rng.normal(0, 4, target.shape)
        videos[number] = pred, target, rng.uniform(40, 90, length), np.array([number % 2 == 1, number > 5])
    return videos


def given(video, number, first=0, last=None):
    """Arguments of ``update`` for some frames of one video."""
    pred, target, norm, subsets = video
    rows = slice(first, last)
    frames = torch.arange(len(norm))[rows]
    floats = (torch.tensor(column[rows], dtype=torch.float32).unsqueeze(0) for column in (pred, target, norm))
    valid = torch.ones(1, len(frames), dtype=torch.bool)
    return *floats, torch.tensor([number]), frames.unsqueeze(0), valid, torch.tensor(subsets).unsqueeze(0)


def by_loops(pred, target, norm):
    """NME, NMF of table and equation, acceleration error and jitter of a video, landmark after landmark."""
    frames, points = pred.shape[:2]
    size = [np.sqrt(np.prod(target[n].max(axis=0) - target[n].min(axis=0))) for n in range(frames)]
    r = target - pred
    errors = [np.mean([np.hypot(*r[n, i]) for i in range(points)]) / norm[n] for n in range(frames)]
    squares, acceleration, jitter = [], [], []
    for n in range(frames):
        if n > 0:
            squares.append(np.mean([np.sum((r[n, i] - r[n - 1, i]) ** 2) / size[n] ** 2 for i in range(points)]))
        if n > 1:
            second = [np.hypot(*(r[n, i] - 2 * r[n - 1, i] + r[n - 2, i])) / size[n] for i in range(points)]
            acceleration.append(np.mean(second))
        if n > 2:
            p = pred[:, :]
            third = [p[n, i] - 3 * p[n - 1, i] + 3 * p[n - 2, i] - p[n - 3, i] for i in range(points)]
            jitter.append(np.mean([np.hypot(*t) / size[n] for t in third]))
    nan = float("nan")
    return [
        100 * np.mean(errors),
        25600 * np.sqrt(np.mean(squares)) if squares else nan,
        np.sqrt(np.sum(squares) / frames) if squares else nan,
        256 * np.mean(acceleration) if acceleration else nan,
        256 * np.mean(jitter) if jitter else nan,
    ]


def expected(videos):
    numbers = {number: by_loops(*video[:3]) for number, video in videos.items()}
    table = {}
    for column, name in enumerate(("nme", "nmf", "nmf_eq11", "acceleration_error", "jitter")):
        for subset, suffix in ((None, ""), (0, "/easy"), (1, "/hard")):
            members = [numbers[n][column] for n, video in videos.items() if subset is None or video[3][subset]]
            table[name + suffix] = np.nanmean(members)
    return table


def values(metrics):
    return {name: value.item() for name, value in metrics.compute().items()}


def test_two_points_by_hand():
    """A face of 30 x 40 pixels; the first point's error jumps by (3, 4), then stays."""
    target = torch.tensor([[0.0, 0.0], [30.0, 40.0]]).repeat(3, 1, 1)
    pred = target.clone()
    pred[1:, 0] = torch.tensor([3.0, 4.0])
    square = (25 / 2) / (30 * 40)
    assert float(normalized_mean_flicker(pred, target)) == pytest.approx((square / 3) ** 0.5)
    assert float(table_flicker(pred, target)) == pytest.approx(25600 * (square / 2) ** 0.5)
    assert float(table_flicker(pred, target)) == pytest.approx(
        25600 * (3 / 2) ** 0.5 * float(normalized_mean_flicker(pred, target))
    )
    metrics = video_metrics(())
    arguments = (torch.full((1, 3), 10.0), torch.tensor([0]), torch.arange(3).unsqueeze(0))
    metrics.update(pred[None], target[None], *arguments, torch.ones(1, 3).bool(), torch.zeros(1, 0).bool())
    found = values(metrics)
    assert found["nme"] == pytest.approx(100 * (0 + 0.25 + 0.25) / 3)
    assert found["acceleration_error"] == pytest.approx(256 * 2.5 / 1200**0.5)
    assert np.isnan(found["jitter"])


def test_whole_videos_and_chunks_are_what_loops_say():
    videos = make_videos()
    whole, chunks = video_metrics(SUBSETS), video_metrics(SUBSETS)
    for number, video in videos.items():
        whole.update(*given(video, number))
    for first in range(0, 15, 2):  # side by side, two frames at a time
        for number, video in videos.items():
            if first < len(video[2]):
                chunks.update(*given(video, number, first, first + 2))
    assert values(whole) == pytest.approx(expected(videos), nan_ok=True, rel=1e-4)
    assert values(chunks) == pytest.approx(values(whole), nan_ok=True, rel=1e-6)
    assert len(whole["nme"].key) == len(LENGTHS)  # rows are kept once


def test_videos_side_by_side_and_padding():
    """The shorter one's last frame is repeated and not valid."""
    videos = {number: video for number, video in make_videos().items() if number in (3, 7)}
    metrics = video_metrics(SUBSETS)
    columns = [[], [], [], [], [], [], []]
    for number, video in videos.items():
        arguments = list(given(video, number))
        missing = 9 - arguments[2].shape[1]
        for i in (0, 1, 2):
            last = arguments[i][:, -1:]
            arguments[i] = torch.cat([arguments[i], last.expand(-1, missing, *last.shape[2:])], dim=1)
        arguments[4] = torch.arange(9).unsqueeze(0)
        arguments[5] = arguments[4] < 9 - missing
        for column, value in zip(columns, arguments, strict=True):
            column.append(value)
    metrics.update(*(torch.cat(column) for column in columns))
    assert values(metrics) == pytest.approx(expected(videos), nan_ok=True, rel=1e-4)


def test_no_difference_is_taken_across_a_frame_that_does_not_count():
    video = make_videos()[12]
    arguments = list(given(video, 12))
    arguments[5][0, 6] = False
    arguments[0][0, 6] = torch.nan  # nobody looks at it
    parts = [tuple(column[rows] for column in video[:3]) for rows in (slice(0, 6), slice(7, 14))]
    numbers = [by_loops(*part) for part in parts]
    metric = NormalizedMeanFlicker()
    metric.update(*arguments)
    squares = [(5, numbers[0][1] ** 2), (6, numbers[1][1] ** 2)]
    assert float(metric.compute()) == pytest.approx((sum(n * s for n, s in squares) / 11) ** 0.5, rel=1e-5)
    equation = EquationFlicker()
    equation.update(*arguments)
    assert float(equation.compute()) == pytest.approx(float(metric.compute()) / 25600 * (11 / 13) ** 0.5, rel=1e-5)


def test_a_chunk_that_does_not_follow_begins_anew():
    video = make_videos()[12]
    metric = NormalizedMeanFlicker()
    metric.update(*given(video, 12, 0, 5))
    metric.update(*given(video, 12, 8, 14))
    parts = [by_loops(*(column[rows] for column in video[:3]))[1] for rows in (slice(0, 5), slice(8, 14))]
    assert float(metric.compute()) == pytest.approx(((4 * parts[0] ** 2 + 5 * parts[1] ** 2) / 9) ** 0.5, rel=1e-5)


def test_repeats_change_nothing_and_reset_forgets():
    videos = make_videos()
    metrics = video_metrics(SUBSETS)
    for _ in range(2):
        for number, video in videos.items():
            metrics.update(*given(video, number))
    assert values(metrics) == pytest.approx(expected(videos), nan_ok=True, rel=1e-4)
    metrics.reset()
    assert np.isnan(list(values(metrics).values())).all()
    metrics.update(*given(videos[12], 12, 3, 5))
    alone = [column[3:5] for column in videos[12][:3]]
    assert values(metrics)["nmf"] == pytest.approx(by_loops(*alone)[1], rel=1e-4)


def test_a_constant_error_does_not_flicker_but_a_lagging_filter_does():
    target = torch.rand(1, 6, 2).expand(20, -1, -1) * 100 + torch.arange(20.0).square().view(-1, 1, 1)
    assert float(table_flicker(target + 5, target)) == pytest.approx(0, abs=1e-1)
    assert float(table_flicker(target.roll(1, dims=0)[1:], target[1:])) > 100


def test_rows_by_video():
    videos, metric = make_videos(), ErrorsByVideo()
    for number, video in videos.items():
        metric.update(*given(video, number))
    table = metric.compute()
    assert table[:, 0].tolist() == sorted(LENGTHS)
    for row in table.tolist():
        assert row[1:] == pytest.approx(by_loops(*videos[int(row[0])][:3]), nan_ok=True, rel=1e-4)


def test_metrics_are_pickled_with_what_they_have_seen():
    video, metric = make_videos()[12], NormalizedMeanFlicker()
    metric.update(*given(video, 12, 0, 6))
    other = pickle.loads(pickle.dumps(metric))
    for each in (metric, other):
        each.update(*given(video, 12, 6))
    assert float(other.compute()) == float(metric.compute()) == pytest.approx(by_loops(*video[:3])[1], rel=1e-4)
    assert metric.state_dict() == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a[0].__setitem__((0, 4, 0), torch.nan), "video 12, sample 4: a predicted landmark is not finite"),
        (lambda a: a[1].__setitem__((0, 2, 0), torch.inf), "video 12, sample 2: an annotated landmark is not finite"),
        (lambda a: a[2].__setitem__((0, 3), 0.0), "video 12, sample 3: the normaliser is zero"),
        (lambda a: a[4].__setitem__((0, 5), 9), "video 12: frames .* do not follow each other"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, sentence):
    arguments = given(make_videos()[12], 12)
    change(arguments)
    with pytest.raises(ValueError, match=sentence):
        NormalizedMeanFlicker().update(*arguments)
