"""PIPNet's losses (Jin et al. 2021, Eq. 1 to 6), by sample and task. Letters: B faces, N landmarks, C neighbours.

A sample is taught by one task: that of the stride of the network, which has score and offsets, or that of a
coarser map, which has a score alone (section 3.3). Means are over all numbers that are taught, as in the released
code, so that a batch with few annotated faces counts as much as one with many; the batch is that of all processes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from lightning_modules.pipnet.network import PIPNetwork
from lightning_modules.pipnet.targets import encode, one_hot_scores
from lightning_modules.processes import mean_count

# Weight of the offsets beside a score weight of 10 (section 4.1.2 gives a tenth of it to x and y together as a mean
# over both; the released code, which made the tables, adds the means over x and over y: these are its weights).
OFFSET_WEIGHT: Mapping[int, float] = {16: 0.2, 32: 1.0, 64: 1.25, 128: 2.5}
SCORE_WEIGHT = 10.0


@dataclass(frozen=True)
class Losses:
    """The three losses of a batch, unweighted."""

    score: Tensor  # squared error of the cells' scores
    own: Tensor  # absolute error of x plus that of y, in cells
    neighbours: Tensor  # the same of the neighbours


def losses(
    network: PIPNetwork, features: Tensor, landmarks: Tensor, neighbours: Tensor, task: Tensor, coarsest: int
) -> Losses:
    """Losses of features (B, F, h, w) against landmarks (B, N, 2) in input pixels, those that are not finite left out.

    Args:
        network: whose head is taught.
        features: of its `PIPNetwork.features`.
        landmarks: true or pseudo-labels; NaN where there is none.
        neighbours: (N, C).
        task: (B,) the stride at which each sample is taught: the network's own, or that times a power of 2.
        coarsest: the largest of them, so that nobody has to ask the device.
    """
    known = landmarks.isfinite().all(dim=-1)  # (B, N)
    landmarks = torch.where(known.unsqueeze(-1), landmarks, 0.0)
    height, width = features.shape[-2:]
    taught = known & (task == network.stride).unsqueeze(-1)
    targets = encode(landmarks, neighbours, network.stride, width, height)
    offsets = network.offsets(features, targets.cell)
    both = taught.unsqueeze(-1) & known[:, neighbours]  # a neighbour that is not known teaches nothing
    scores, cells = _score_errors(network, features, landmarks, known, task, coarsest)
    # Sums over x and y by counts of landmarks: the errors along both are added
    own = (offsets[:, :, 0] - targets.own).abs() * taught.unsqueeze(-1)
    others = (offsets[:, :, 1:] - targets.neighbours).abs() * both.unsqueeze(-1)
    counts = mean_count(
        torch.stack([cells, taught.sum(), both.sum()])
    )  # errors of x and of y are added: not counted apart
    return Losses(scores / counts[0], own.sum() / counts[1], others.sum() / counts[2])


def _score_errors(
    network: PIPNetwork, features: Tensor, landmarks: Tensor, known: Tensor, task: Tensor, coarsest: int
) -> tuple[Tensor, Tensor]:
    """Sum of squared errors over all cells of all maps that are taught, whatever their resolution, and their number.

    Coarser maps come from the features' 2x2 maxima and the same score layer. The paper says that layers are added; its
    code, which made the tables, adds none.
    """
    errors, count = features.new_zeros((), dtype=torch.float32), features.new_zeros((), dtype=torch.float32)
    stride = network.stride
    none = torch.empty(landmarks.shape[1], 0, dtype=torch.int64, device=landmarks.device)
    while True:
        height, width = features.shape[-2:]
        cell = encode(landmarks, none, stride, width, height).cell
        error = (network.scores(features) - one_hot_scores(cell, width, height)).square().sum(dim=(-2, -1))
        taught = known & (task == stride).unsqueeze(-1)
        errors = errors + (error * taught).sum()
        count = count + taught.sum() * height * width
        if stride >= coarsest:
            return errors, count
        features, stride = max_pool2d(features, 2), stride * 2
