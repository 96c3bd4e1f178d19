"""The contrastive loss against its formula, and shared out over processes. As a script: one process of the group."""

import math
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from lightning_modules.two_step import contrastive
from lightning_modules.two_step.contrastive import LogSumExp, contrastive_loss

POINTS, CHANNELS = 14, 6


def features(count=POINTS):
    generator = torch.Generator().manual_seed(0)
    one, noise = torch.randn(2, count, CHANNELS, dtype=torch.float64, generator=generator)
    known = torch.rand(count, generator=generator) < 0.7
    return one.requires_grad_(), (one.detach() + noise).requires_grad_(), known


def by_hand(one, other, temperature):
    """Equation 7, point after point, with the minus before both logarithms, averaged over both views."""
    total = 0.0
    for view, opposite in ((one, other), (other, one)):
        for k in range(len(view)):
            positive = math.exp(cosine_similarity(view[k], opposite[k], dim=0) / temperature)
            among = sum(math.exp(cosine_similarity(view[k], other, dim=0) / temperature) for other in opposite)
            among += sum(
                math.exp(cosine_similarity(view[k], view[i], dim=0) / temperature) for i in range(len(view)) if i != k
            )
            total -= math.log(positive / among)
    return total / 2 / len(one)


@pytest.mark.parametrize("rows", [512, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_its_formula(monkeypatch, rows, temperature):
    monkeypatch.setattr(contrastive, "ROWS", rows)
    one, other, _ = features()
    found = contrastive_loss(one, other, torch.ones(POINTS, dtype=torch.bool), temperature)
    assert found.item() == pytest.approx(by_hand(one.detach(), other.detach(), temperature), rel=1e-9)


@pytest.mark.parametrize("rows", [512, 5])
def test_its_gradient_is_that_of_differences(monkeypatch, rows):
    monkeypatch.setattr(contrastive, "ROWS", rows)
    one, other, known = features()
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, known, 0.3), (one, other))


def test_the_parts_are_those_of_torch():
    torch.manual_seed(0)
    rows, columns = (normalize(torch.randn(n, 5, dtype=torch.float64), dim=1).requires_grad_() for n in (7, 20))
    known, selves = torch.rand(20) < 0.8, torch.arange(7)
    found = LogSumExp.apply(rows, columns, known, selves, 0.1)
    matrix = (rows @ columns.T / 0.1).masked_fill(~known, -torch.inf)
    expected = matrix.scatter(1, selves.unsqueeze(1), -torch.inf).logsumexp(dim=1)
    torch.testing.assert_close(found, expected)
    slope = torch.randn(7, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(each, (rows, columns), slope) for each in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_unknown_points_are_as_if_they_were_not_there():
    one, other, known = features()
    found = contrastive_loss(one, other, known)
    slopes = torch.autograd.grad(found, (one, other))
    kept = contrastive_loss(one[known], other[known], known[known])
    torch.testing.assert_close(found, kept)
    for slope, alone in zip(slopes, torch.autograd.grad(kept, (one, other)), strict=True):
        torch.testing.assert_close(slope, alone)
        assert slope[~known].abs().max() == 0


@pytest.mark.parametrize("number", [0, 1])
def test_where_hardly_a_point_is_known(number):
    one, other, known = features()
    known[:] = torch.arange(POINTS) < number
    found = contrastive_loss(one, other, known)
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-12)  # a point alone finds itself
    assert one.grad.isfinite().all()
    assert one.grad.abs().max() < 1e-12


def test_less_precision_is_not_used():
    one, other, known = (each.float() if each.is_floating_point() else each for each in features())
    plain = contrastive_loss(one, other, known)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrastive_loss(one, other, known), plain)
    assert contrastive_loss(one.bfloat16(), other.bfloat16(), known).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one, other, known: (one[1:], other, known), "expected .points, channels. twice and .points,."),
        (lambda one, other, known: (one, other, known[1:]), "known .13,., expected"),
        (lambda one, other, known: (one, other, known, 0.0), "temperature is 0.0, expected more than 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        contrastive_loss(*change(*features()))


@pytest.mark.thorough
def test_two_processes_have_the_loss_and_gradient_of_the_whole_batch(tmp_path):
    """Each has half of the points, and as it happens not as many known ones."""
    one, other, known = features()
    assert known[: POINTS // 2].sum() != known[POINTS // 2 :].sum()
    whole = contrastive_loss(one, other, known)
    expected = torch.autograd.grad(whole, (one, other))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    ranks = [subprocess.Popen([sys.executable, __file__, str(tmp_path), str(r)], env=environment) for r in range(2)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert sum(each["loss"] for each in found).item() / 2 == pytest.approx(whole.item())
    for view in range(2):  # DistributedDataParallel takes the mean of the ranks' gradients
        slopes = torch.cat([each["slopes"][view] for each in found]) / 2
        torch.testing.assert_close(slopes, expected[view])


def main(folder, rank):
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/rendezvous", rank=int(rank), world_size=2, timeout=timedelta(seconds=100)
    )
    half = slice(0, POINTS // 2) if rank == "0" else slice(POINTS // 2, POINTS)
    one, other, known = (each.detach()[half] for each in features())
    loss = contrastive_loss(one.requires_grad_(), other.requires_grad_(), known)
    torch.save({"loss": loss.detach(), "slopes": torch.autograd.grad(loss, (one, other))}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
