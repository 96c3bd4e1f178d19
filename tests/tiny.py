"""The smallest method, for tests of what surrounds methods."""

import torch
from torch import Tensor, nn

from datamodules.batch import LandmarkBatch
from lightning_modules.base import LandmarkModule, LandmarkPrediction


class Tiny(LandmarkModule):
    """L1 regression from 4 x 4 mean colours; it drops features at random, so that training draws random numbers."""

    def __init__(
        self, num_landmarks: int, width: int = 8, lr: float = 1e-2, schedule: str = "none", explode_at: int = -1
    ) -> None:
        super().__init__(num_landmarks)
        self.save_hyperparameters()
        self.lr, self.schedule, self.explode_at = lr, schedule, explode_at
        self.net = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(48, width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, 2 * num_landmarks),
        )

    def forward(self, image: Tensor) -> LandmarkPrediction:
        points = (self.net(image.float() / 255).sigmoid() * image.shape[-1]).unflatten(-1, (self.num_landmarks, 2))
        return LandmarkPrediction(points, torch.ones_like(points[..., 0]))

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        loss = (self(batch["image"]).landmarks - batch["landmarks"]).abs().mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        if self.global_step == self.explode_at:
            loss = loss * float("nan")
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedulers = {
            "lambda": lambda: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
            "one-cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps),
        }
        if self.schedule == "none":
            return optimizer
        scheduler = {"scheduler": schedulers[self.schedule](), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
