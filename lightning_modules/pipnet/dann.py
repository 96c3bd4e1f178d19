"""PIPNet with a domain classifier that its features are to mislead: a baseline of its paper (Table 7).

The paper says no more than "domain adversarial neural networks (Ganin and Lempitsky 2015; Ganin et al. 2016)"; the
place of the classifier, its width and its strength are ours.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from datamodules.batch import LandmarkBatch, MixedBatch
from lightning_modules.pipnet.module import PIPNet
from lightning_modules.processes import mean_count


class DANN(PIPNet):
    """Domain-adversarial training on a `Mixture` of faces with labels and others.

    Labelled faces teach the landmarks. A classifier learns from all faces to tell the labelled from the others by the
    features that the head sees, averaged over the map; its gradient is reversed on its way to the features, so that
    they forget what tells the two apart. Its loss is the mean of the labelled faces' mean and the others', so that both
    count as much where batches are not half and half, as Ganin and Lempitsky's are; set ``ratio`` to 1 for these.

    Args:
        num_landmarks: N.
        domain_width: of the classifier's hidden layer.
        strength: factor of the reversed gradient at the end of training; it grows from 0 as Ganin and Lempitsky's does.
        options: see `PIPNet`.

    Raises:
        ValueError: a width below 1, a negative strength.
    """

    takes_unlabelled = True

    def __init__(self, num_landmarks: int, domain_width: int = 1024, strength: float = 1.0, **options: Any) -> None:
        super().__init__(num_landmarks, **options)
        if domain_width < 1:
            raise ValueError(f"model.init_args.domain_width is {domain_width}, expected at least 1")
        if not 0 <= strength < math.inf:
            raise ValueError(f"model.init_args.strength is {strength}, expected a number of at least 0")
        self.strength = strength
        self.domain = nn.Sequential(
            nn.Linear(self.network.channels, domain_width), nn.ReLU(), nn.Linear(domain_width, 1)
        )

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Losses of the labelled faces' landmarks, and of telling the domains apart."""
        mixed: MixedBatch = batch  # type: ignore[assignment]
        stride = self.network.stride
        features = self.network.features(batch["image"])
        loss = self.loss(features, batch["landmarks"], torch.full_like(batch["index"], stride), stride)
        reversal = self.strength * reversal_at(self._share_done(batch_idx))
        domain = self._domain_loss(features, mixed["labelled"], reversal)
        self.log("train/reversal", reversal, on_step=False, on_epoch=True, sync_dist=True)
        return loss + domain

    def _share_done(self, batch_idx: int) -> float:
        done = self.current_epoch + batch_idx / self.trainer.num_training_batches
        return done / max(1, self.trainer.max_epochs or 1)

    def _domain_loss(self, features: Tensor, labelled: Tensor, reversal: float) -> Tensor:
        pooled = Reversed.apply(features.mean(dim=(2, 3)), reversal)
        logit = self.domain(pooled).squeeze(1).float()  # of being labelled
        error = binary_cross_entropy_with_logits(logit, labelled.float(), reduction="none")
        domains = torch.stack([labelled, ~labelled])
        loss = ((error * domains).sum(dim=1) / mean_count(domains.sum(dim=1))).mean()
        told = {"train/domain": loss, "train/domain_accuracy": ((logit > 0) == labelled).float().mean()}
        self.log_dict(told, on_step=False, on_epoch=True, sync_dist=True)
        return loss


def reversal_at(p: float) -> float:
    """The factor of the reversed gradient where a share ``p`` of the training is done: from 0 to about 1."""
    return 2 / (1 + math.exp(-10 * p)) - 1


class Reversed(torch.autograd.Function):
    """Itself forward; backward, the gradient times a negative factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        """``x``."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The reversed gradient."""
        return -ctx.factor * gradient, None
