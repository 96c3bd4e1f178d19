"""The contrastive loss of features at points (Rahaman et al. 2021, Eq. 7), without a matrix of all similarities.

Letters: M points of all images and ranks, R of them this rank's, D channels.
"""

from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize

from lightning_modules.heatmaps import precise
from lightning_modules.processes import rank_and_size, sum_over_processes

ROWS = 512  # of similarities that are held at once


def contrastive_loss(one: Tensor, other: Tensor, known: Tensor, temperature: float = 0.1) -> Tensor:
    """How badly features of a point in two views find each other among those of all points in both, in nats.

    It is NT-Xent, of each view's points and averaged over both; the paper adds the two. Its Eq. 7 has the minus before
    the first logarithm alone, which must be before both. Similarities are cosines. On several ranks, which must have
    as many points, a point is compared with those of all, and the mean of the ranks' losses and gradients is that of
    the whole batch.

    Args:
        one: (R, D) features in the first view.
        other: (R, D) of the same points in the second.
        known: (R,) which points are in both views; the others are left out, as negatives too.
        temperature: that similarities are divided by.

    Returns:
        The mean over all known points; 0 where there is none.

    Raises:
        ValueError: shapes that do not fit, or a temperature that is not above 0.
    """
    if one.shape != other.shape or one.ndim != 2 or known.shape != one.shape[:1]:
        raise ValueError(
            f"features have shapes {tuple(one.shape)} and {tuple(other.shape)} and known {tuple(known.shape)}, "
            "expected (points, channels) twice and (points,)"
        )
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0")
    with torch.autocast(one.device.type, enabled=False):
        views = [normalize(precise(view), dim=1) for view in (one, other)]
        rank, everything, everywhere = _gathered(torch.stack(views), known)
        own, total = torch.cat(views), len(everywhere)
        positives = (views[0] * views[1]).sum(dim=1) / temperature
        # Where each of this rank's points is among all: it is not compared with itself
        places = torch.arange(len(known), device=known.device) + rank * len(known)
        selves = torch.cat([places, places + total])
        among = LogSumExp.apply(own, everything, torch.cat([everywhere, everywhere]), selves, temperature)
        loss = (among.view(2, -1) - positives).mean(dim=0)
        a_rank = everywhere.sum() * (len(known) / total)  # known points, in the mean over the ranks
        return torch.where(known, loss, 0.0).sum() / a_rank.clamp_min(1e-6)


def _gathered(views: Tensor, known: Tensor) -> tuple[int, Tensor, Tensor]:
    """This rank, features (2 M, D) of both views on all ranks, and which points (M,) are known."""
    rank, ranks = rank_and_size()
    if ranks == 1:
        return 0, views.flatten(0, 1), known
    features = views.new_zeros(ranks, *views.shape)
    features[rank] = views
    features = sum_over_processes(features)  # a gathering, through which gradients go
    flags = [torch.empty_like(known) for _ in range(ranks)]
    torch.distributed.all_gather(flags, known.contiguous())
    return rank, features.movedim(0, 1).flatten(0, 2), torch.cat(flags)


class LogSumExp(Function):
    """log sum exp of similarities of rows with columns, `ROWS` rows at a time, which are computed again backwards."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, known: Tensor, selves: Tensor, temperature: float) -> Tensor:
        """(R,) of rows (R, D) with the known of columns (C, D), but for column ``selves`` (R,)."""
        found = torch.cat(
            [
                _similarities(part, columns, known, own, temperature).logsumexp(dim=1)
                for part, own in zip(torch.split(rows, ROWS), torch.split(selves, ROWS), strict=True)
            ]
        )
        ctx.save_for_backward(rows, columns, known, selves, found)
        ctx.temperature = temperature
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Softmax times what the other side is."""
        rows, columns, known, selves, found = ctx.saved_tensors
        of_rows, of_columns = [], torch.zeros_like(columns)
        parts = zip(*(torch.split(each, ROWS) for each in (rows, selves, found, slope)), strict=True)
        for part, own, lse, gradient in parts:
            lse = lse.clamp_min(torch.finfo(lse.dtype).min)  # of no known column it is - inf
            share = (_similarities(part, columns, known, own, ctx.temperature) - lse.unsqueeze(1)).exp()
            share *= (gradient / ctx.temperature).unsqueeze(1)
            of_rows.append(share @ columns)
            of_columns += share.T @ part
        return torch.cat(of_rows), of_columns, None, None, None


def _similarities(rows: Tensor, columns: Tensor, known: Tensor, selves: Tensor, temperature: float) -> Tensor:
    found = (rows @ columns.T).div_(temperature).masked_fill_(~known, -torch.inf)
    return found.scatter_(1, selves.unsqueeze(1), -torch.inf)
