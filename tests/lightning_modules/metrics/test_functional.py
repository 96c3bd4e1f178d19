import numpy as np
import pytest
import torch
from scipy.integrate import simpson

from datamodules.bbc_pose import BBCPose
from datamodules.radius import Radius
from lightning_modules.metrics import (
    accuracy_within,
    area_under_curve,
    cumulative_error_distribution,
    failure_rate,
    normalized_mean_error,
    point_errors,
    point_variance,
)


def field_auc(nme: np.ndarray, threshold: float, step: float = 1e-4) -> float:
    """AUC as LDEQ's and PIPNet's code computes it, from NME as fractions."""
    x = np.arange(0, threshold + step, step)[: round(threshold / step) + 1]  # at 0.05 their grid has a point too many
    share = np.array([np.count_nonzero(nme <= value) for value in x]) / len(nme)
    return simpson(share, x=x) / threshold


@pytest.fixture
def nme():
    """NME in percent of as many faces as WFLW's test set, a few per cent of them above 10."""
    return torch.from_numpy(np.random.default_rng(0).gamma(3.0, 1.6, 2500).astype(np.float32))


def test_errors_by_hand():
    pred = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[10.0, 10.0], [10.0, 22.0]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[10.0, 10.0], [15.0, 10.0]]])
    norm = torch.tensor([50.0, 26.0])
    assert point_errors(pred, target, norm).tolist() == [[10.0, 0.0], [0.0, 50.0]]  # distances 5 0, 0 13
    assert normalized_mean_error(pred, target, norm).tolist() == [5.0, 25.0]


def test_point_variance_by_hand():
    target = torch.tensor([[[5.0, 7.0], [20.0, 30.0]]]).expand(4, 2, 2)
    difference = torch.tensor(
        [
            [[0.0, 0.0], [0.0, 0.0]],
            [[3.0, -4.0], [3.0, -4.0]],  # all alike
            [[1.0, 0.0], [-1.0, 0.0]],  # 2 % of the normaliser to either side
            [[3.0, 4.0], [0.0, 0.0]],  # 6 and 8 %: half of each from their mean
        ]
    )
    found = point_variance(target + difference, target, torch.full((4,), 50.0))
    assert found.tolist() == pytest.approx([0.0, 0.0, 4.0, 3.0**2 + 4.0**2])


def test_point_variance_is_that_of_numpy_in_x_plus_in_y():
    rng = np.random.default_rng(2)
    pred, target, norm = rng.normal(120, 40, (9, 68, 2)), rng.normal(120, 40, (9, 68, 2)), rng.uniform(40, 90, 9)
    expected = [np.var(100 * d[:, 0]) + np.var(100 * d[:, 1]) for d in (pred - target) / norm[:, None, None]]
    found = point_variance(*map(torch.from_numpy, (pred, target, norm)))
    assert found.tolist() == pytest.approx(expected)


def test_point_variance_is_what_a_common_shift_leaves_of_the_mean_square():
    rng = torch.Generator().manual_seed(3)
    pred, target = (torch.rand(5, 29, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    norm = torch.rand(5, generator=rng, dtype=torch.float64) + 0.5
    shift = 100 * (pred - target).mean(dim=1) / norm.unsqueeze(-1)
    square = point_errors(pred, target, norm).square().mean(dim=1)
    variance = point_variance(pred, target, norm)
    torch.testing.assert_close(variance + shift.square().sum(dim=-1), square)
    torch.testing.assert_close(point_variance(pred + torch.tensor([7.0, -9.0]), target, norm), variance)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    torch.testing.assert_close(point_variance(pred @ turn.T, target @ turn.T, norm), variance)
    torch.testing.assert_close(point_variance(3 * pred, 3 * target, 3 * norm), variance)


def test_point_variance_refuses_what_errors_refuse():
    points, norm = torch.zeros(2, 5, 2), torch.tensor([50.0, 0.0])
    with pytest.raises(ValueError, match=r"^sample 9: the normaliser is zero or missing"):
        point_variance(points, points, norm, torch.tensor([7, 9]))
    with pytest.raises(ValueError, match=r"prediction has shape \(2, 5, 2\) and target \(2, 4, 2\)"):
        point_variance(points, points[:, :4], norm)


def test_error_does_not_depend_on_the_unit_of_length():
    rng = torch.Generator().manual_seed(0)
    pred, target = torch.rand(4, 9, 2, generator=rng), torch.rand(4, 9, 2, generator=rng)
    norm = torch.rand(4, generator=rng) + 0.5
    small, large = (
        normalized_mean_error(pred, target, norm),
        normalized_mean_error(256 * pred, 256 * target, 256 * norm),
    )
    torch.testing.assert_close(small, large)


def test_half_precision_predictions_are_compared_in_single_precision():
    target = torch.full((1, 1, 2), 200.25)  # bfloat16 holds whole numbers up to 256
    error = point_errors(torch.full((1, 1, 2), 200.0, dtype=torch.bfloat16), target, torch.tensor([25.0]))
    assert error.dtype == torch.float32
    assert error.item() == pytest.approx(2**0.5)


@pytest.mark.parametrize("missing", [0.0, -1.0, float("nan"), float("inf")])
def test_a_missing_normaliser_names_the_sample(missing):
    points, norm = torch.zeros(3, 5, 2), torch.tensor([50.0, missing, 50.0])
    with pytest.raises(ValueError, match=r"^sample 42: the normaliser is zero or missing"):
        point_errors(points, points, norm, torch.tensor([7, 42, 9]))
    with pytest.raises(ValueError, match=r"^face 1 of the batch: the normaliser is zero or missing"):
        point_errors(points, points, norm)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_coordinates_that_are_not_finite_name_the_sample(value):
    good, norm, index = torch.zeros(3, 5, 2), torch.full((3,), 50.0), torch.tensor([7, 42, 9])
    bad = good.clone()
    bad[2, 4, 1] = value
    with pytest.raises(ValueError, match=r"^sample 9: a predicted landmark is not finite"):
        point_errors(bad, good, norm, index)
    with pytest.raises(ValueError, match=r"^sample 9: an annotated landmark is not finite"):
        point_errors(good, bad, norm, index)


@pytest.mark.parametrize(
    ("pred", "target", "norm", "sentence"),
    [
        ((2, 5, 2), (2, 4, 2), (2,), r"prediction has shape \(2, 5, 2\) and target \(2, 4, 2\)"),
        ((2, 5, 2), (1, 5, 2), (2,), r"target \(1, 5, 2\)"),
        ((2, 5, 3), (2, 5, 3), (2,), r"expected the same \(faces, landmarks, 2\)"),
        ((5, 2), (5, 2), (5,), r"expected the same \(faces, landmarks, 2\)"),
        ((2, 5, 2), (2, 5, 2), (1,), r"norm has shape \(1,\), expected \(2,\)"),
        ((2, 5, 2), (2, 5, 2), (2, 1), r"norm has shape \(2, 1\), expected \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(pred, target, norm, sentence):
    with pytest.raises(ValueError, match=sentence):
        point_errors(torch.zeros(pred), torch.zeros(target), torch.ones(norm))


def test_failure_is_strictly_above_the_threshold():
    nme = torch.tensor([2.0, 8.0, 10.0, 10.01])
    assert failure_rate(nme, 0.10).item() == 25.0
    assert failure_rate(nme, 0.08).item() == 50.0


def test_landmark_wise_failure_counts_points():
    errors = torch.tensor([[1.0, 11.0, 1.0, 1.0], [20.0, 30.0, 9.0, 10.0]])  # means 3.5 and 17.25
    assert failure_rate(errors, 0.10).item() == 37.5  # 3 of 8 points
    assert failure_rate(errors.mean(dim=-1), 0.10).item() == 50.0


@pytest.mark.parametrize(("threshold", "points"), [(0.10, 1001), (0.08, 801), (0.05, 501)])
def test_cumulative_error_distribution_counts_as_the_field_does(nme, threshold, points):
    x, y = cumulative_error_distribution(nme, threshold)
    np.testing.assert_allclose(x, np.arange(points) * 1e-4, atol=1e-8)
    fraction = nme.double().numpy() / 100
    # float32 rounds the grid: a face within 1e-7 of a grid point may fall on either side of it.
    least = [np.count_nonzero(fraction <= value - 1e-7) / len(nme) for value in np.arange(points) * 1e-4]
    most = [np.count_nonzero(fraction <= value + 1e-7) / len(nme) for value in np.arange(points) * 1e-4]
    assert (np.array(least) - 1e-6 <= y.numpy()).all()
    assert (y.numpy() <= np.array(most) + 1e-6).all()
    assert failure_rate(nme, threshold).item() == pytest.approx(100 * (1 - y[-1].item()), abs=1e-4)


def test_cumulative_error_distribution_by_hand():
    x, y = cumulative_error_distribution(torch.tensor([4.0, 0.0, 10.0, 11.0]), threshold=0.10, step=0.02)
    assert x.tolist() == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08, 0.10])
    assert y.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75]  # a face on a grid point is counted there


def test_area_by_hand():
    assert area_under_curve(torch.tensor([0.0, 2.5, 10.0, 400.0]), 0.10).item() == pytest.approx((1 + 0.75) / 4)


@pytest.mark.parametrize("threshold", [0.10, 0.08, 0.05])
def test_exact_area_agrees_with_the_field(nme, threshold):
    assert area_under_curve(nme, threshold).item() == pytest.approx(
        field_auc(nme.double().numpy() / 100, threshold), abs=1e-4
    )


def test_field_area_of_one_face_is_off_by_less_than_its_step():
    for nme in np.random.default_rng(1).uniform(0, 10, 20):
        exact = area_under_curve(torch.tensor([nme]), 0.10).item()
        assert exact == pytest.approx(field_auc(np.array([nme / 100]), 0.10), abs=1e-3)


def test_no_faces_give_nan():
    empty = torch.empty(0)
    assert failure_rate(empty).isnan()
    assert area_under_curve(empty).isnan()
    assert cumulative_error_distribution(empty)[1].isnan().all()


def toolkit_accuracy(pred, truth):
    """The evaluation of BBC Pose's toolkit: arrays (2, N, M) of the frame, counted from 1; shares (N,) in percent."""
    pred, truth = 0.5 * (pred - 1) + 1, 0.5 * (truth - 1) + 1
    return 100 * (np.sqrt(((pred - truth) ** 2).sum(axis=0)) <= 6).mean(axis=1)


def frame_points(points, crop):
    """Input pixels (M, N, 2) as pixels (2, N, M) of the frame, counted from 1."""
    linear, offset = crop[:, None, :, :2], crop[:, None, :, 2]
    return ((linear @ points[..., None]).squeeze(-1) + offset + 1).permute(2, 1, 0).double().numpy()


def test_two_readings_of_six_pixels():
    """A crop of 300 pixels seen at 128: 12 pixels of the frame are 5.12 of the crop, which the other reading passes."""
    crop = torch.tensor([[[300 / 128, 0.0, 40.0], [0.0, 300 / 128, 20.0]]]).expand(4, 2, 3)
    target = torch.full((4, 2, 2), 60.0)
    distances = torch.tensor([[0.0, 5.1], [5.13, 5.13], [5.9, 6.1], [5.0, 40.0]])
    pred = target + distances.unsqueeze(-1) * torch.tensor([0.6, -0.8])
    frame, share = BBCPose.radii
    radius = frame.in_input(crop, 128)
    assert radius.tolist() == pytest.approx([5.12] * 4)
    assert accuracy_within(point_errors(pred, target, radius)).tolist() == [50.0, 25.0]
    radius = share.in_input(crop, 128)
    assert radius.tolist() == [6.0] * 4
    assert share.in_input(crop, 256).tolist() == [12.0] * 4
    assert accuracy_within(point_errors(pred, target, radius)).tolist() == [100.0, 50.0]
    assert accuracy_within(torch.tensor([[100.0], [100.1]])).tolist() == [50.0]  # at most the radius


def test_accuracy_in_the_frame_is_that_of_the_toolkit():
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(50, generator=generator) * 2 + 1
    angle = torch.rand(50, generator=generator)  # a crop may be turned
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).reshape(50, 2, 2)
    crop = torch.cat([turn * scale[:, None, None], torch.rand(50, 2, 1, generator=generator) * 90], dim=-1)
    target = torch.rand(50, 7, 2, generator=generator) * 128
    pred = target + torch.randn(50, 7, 2, generator=generator) * 5
    found = accuracy_within(point_errors(pred, target, Radius(12).in_input(crop, 128)))
    expected = toolkit_accuracy(frame_points(pred, crop), frame_points(target, crop))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert 5 < expected.mean() < 95
