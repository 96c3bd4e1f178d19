"""The losses against plain loops, with every kind of sample that a batch may have."""

import pytest
import torch

from lightning_modules.pipnet.losses import OFFSET_WEIGHT, SCORE_WEIGHT, losses
from lightning_modules.pipnet.network import PIPNetwork
from tests.lightning_modules.pipnet.released import ReleasedHead, released_losses, rows_of, take_head

N, C, SIDE = 5, 2, 256  # maps of 8 x 8, 4 x 4 and 2 x 2 cells
NEIGHBOURS = torch.tensor([[1, 2], [0, 4], [0, 3], [4, 2], [3, 1]])


@pytest.fixture(scope="module")
def heads():
    torch.manual_seed(0)
    ours = PIPNetwork("test_resnet", N, C, 32).double()
    released = ReleasedHead(ours.channels, N, C).double()
    take_head(ours, released)
    return ours, released


def batch(faces=6):
    """Features and landmarks, some of which are beyond the image and some unknown."""
    torch.manual_seed(3)
    landmarks = SIDE * (1.4 * torch.rand(faces, N, 2) - 0.2)
    landmarks[0, 3] = torch.nan
    landmarks[1, :2] = torch.nan
    landmarks[2, 4, 0] = torch.inf
    landmarks[3] = torch.nan
    return torch.randn(faces, 96, 8, 8, dtype=torch.float64, requires_grad=True), landmarks


def parts(head, features, landmarks, task):
    head.zero_grad()
    return losses(head, features, landmarks, NEIGHBOURS, torch.tensor(task), max(task))


@pytest.mark.parametrize(
    "task",
    [[32] * 6, [32, 64, 128, 64, 32, 128], [128] * 5 + [32], [64, 64, 64, 32, 32, 32]],
    ids=["full", "three", "coarse", "two"],
)
def test_they_and_their_gradients_are_those_of_plain_loops(heads, task):
    """As the released code of self-training does it: scores of all resolutions pooled into one mean."""
    ours, released = heads
    features, landmarks = batch()
    found = parts(ours, features, landmarks, task)
    (10 * found.score + found.own + found.neighbours).backward()
    gradient = features.grad

    features, _ = batch()
    released.zero_grad()
    shares = torch.where(landmarks.isfinite(), (landmarks + 0.5) / SIDE, torch.nan)
    halvings = [{32: 0, 64: 1, 128: 2}[stride] for stride in task]
    score, own, near = released_losses(released, features, shares, NEIGHBOURS, halvings)
    assert found.score.item() == pytest.approx(score.item(), rel=1e-6)
    assert found.own.item() == pytest.approx(own.item(), rel=1e-6)
    assert found.neighbours.item() == pytest.approx(near.item(), rel=1e-6)
    (10 * score + own + near).backward()
    torch.testing.assert_close(gradient, features.grad, rtol=1e-5, atol=1e-9)
    for name in ("weight", "bias"):
        rows = rows_of([getattr(layer, name).grad.squeeze() for layer in released.layers])
        for layer, expected in zip((ours.score, ours.offset), rows, strict=True):
            torch.testing.assert_close(getattr(layer, name).grad, expected, rtol=1e-5, atol=1e-9)


def test_the_papers_weights_by_stride():
    """Section 4.1.2 gives 0.02, 0.1, 0.125 and 0.25 beside a score weight of 1."""
    shares = {stride: weight / SCORE_WEIGHT for stride, weight in OFFSET_WEIGHT.items()}
    assert shares == pytest.approx({16: 0.02, 32: 0.1, 64: 0.125, 128: 0.25})


def test_coarse_samples_teach_no_offsets(heads):
    ours, _ = heads
    features, landmarks = batch()
    found = parts(ours, features, landmarks, [64, 128] * 3)
    assert found.own.item() == found.neighbours.item() == 0
    (found.score + found.own + found.neighbours).backward()
    assert ours.offset.weight.grad.abs().max() == 0
    assert ours.score.weight.grad.abs().max() > 0


def test_an_unknown_landmark_teaches_nothing(heads):
    """Neither its score, nor its offsets, nor what others say of it: the other faces alone give the same."""
    ours, _ = heads
    features, landmarks = batch()
    landmarks = landmarks.nan_to_num(10.0, posinf=10.0)
    alone = parts(ours, features[:3], landmarks[:3], [32] * 3)
    more = torch.cat([landmarks[:3], torch.full_like(landmarks[3:], torch.nan)])
    together = parts(ours, features, more, [32] * 6)
    for one, other in zip(vars(alone).values(), vars(together).values(), strict=True):
        torch.testing.assert_close(one, other)
    landmarks[0, 2] = torch.nan
    one_less = parts(ours, features[:1], landmarks[:1], [32])
    one_less.neighbours.backward()
    rows = ours.offset.weight.grad.view(N, 1 + C, -1)[:, 1:].abs().amax(dim=2)  # of each landmark's neighbours
    expected = [[float(i != 2 and j != 2) for j in NEIGHBOURS[i].tolist()] for i in range(N)]
    assert (rows > 0).float().tolist() == expected


@pytest.mark.parametrize("task", [[32] * 6, [32, 128] * 3])
def test_a_batch_in_which_nothing_is_known_costs_nothing(heads, task):
    ours, _ = heads
    features, landmarks = batch()
    found = parts(ours, features, torch.full_like(landmarks, torch.nan), task)
    loss = found.score + found.own + found.neighbours
    assert loss.item() == 0
    loss.backward()
    assert features.grad.abs().max() == 0
    assert ours.score.weight.grad.abs().max() == ours.offset.weight.grad.abs().max() == 0


def test_without_neighbours_they_cost_nothing():
    torch.manual_seed(0)
    ours = PIPNetwork("test_resnet", N, 0, 32).double()
    features, landmarks = batch()
    none = torch.empty(N, 0, dtype=torch.int64)
    found = losses(ours, features, landmarks, none, torch.full((6,), 32), 32)
    assert found.neighbours.item() == 0
    assert found.own.item() > 0
