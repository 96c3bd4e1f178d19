"""Pseudo-labels: the landmarks that a network finds in faces without annotation, over all ranks."""

from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor

from lightning_modules.pipnet.module import PIPNet


class PseudoLabels(NamedTuple):
    """Of all U faces without annotation."""

    landmarks: Tensor  # (U, N, 2) in pixels of the original images
    confidence: Tensor  # (U, N)
    side: Tensor  # (U,) of the clean crops, in those pixels

    def figures(self, before: Tensor) -> dict[str, float]:
        """What is logged of them; ``before`` are the landmarks (U, N, 2) of the last round, NaN where it had none."""
        told = {"pseudo/confidence": float(self.confidence.mean())}
        told["pseudo/confidence_low"] = float(self.confidence.mean(dim=1).quantile(0.1))  # of faces
        moved = (self.landmarks - before).norm(dim=-1) / self.side.unsqueeze(-1)
        if not moved.isnan().any():
            told["pseudo/moved"] = float(100 * moved.mean())
        return told


@torch.no_grad()
def find(module: PIPNet, data: Any) -> PseudoLabels:
    """Each rank looks at its share of the unlabelled faces of a `Mixture` in clean crops, and gets them all."""
    trainer: Any = module.trainer
    labelled = data.mixed.num_labelled
    module.eval()
    if trainer.world_size > 1:
        # Without a validation since the last step ranks have running means of their own; those of rank 0 are saved.
        for buffer in module.network.buffers():
            torch.distributed.broadcast(buffer, 0)
    found = torch.zeros(len(data.mixed) - labelled, module.num_landmarks + 1, 3, device=module.device)
    for batch in data.unlabelled_dataloader():
        batch = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.val_step_context():
            prediction = module.predict_step(batch, 0)
        row = batch["index"] - labelled
        found[row, :-1, :2] = prediction["landmarks"].float()
        found[row, :-1, 2] = prediction["confidence"].float()
        found[row, -1, 0] = data.size * batch["crop"][..., :2].det().abs().sqrt()
    module.train()
    found = trainer.strategy.reduce(found, reduce_op="sum").cpu()  # the other ranks have nothing but zeros there
    return PseudoLabels(found[:, :-1, :2], found[:, :-1, 2], found[:, -1, 0])
