"""What detectors on a backbone of timm have in common: how a training begins, and its optimiser."""

import math
from typing import Any

import torch
from torch import nn

from lightning_modules.backbones.folded import folded
from lightning_modules.backbones.timm_models import PACKAGED
from lightning_modules.base import LandmarkModule
from lightning_modules.schedules import Schedule, Steps


class BackboneDetector(LandmarkModule):
    """A detection head on a backbone of timm, trained by Adam; a subclass makes the ``network``.

    Test and prediction are by a copy of the network that is folded (see `folded`): the same landmarks but for rounding,
    faster. Elsewhere call `fold` once the weights are in place; ``module.detector.backbone.compile()`` after it gains
    some more on CPUs, needs a C++ compiler, and takes a minute (a compiled head is slower than one that is not).

    Args:
        num_landmarks: N, e.g. 98 on WFLW.
        pretrained: begin with ImageNet weights, as the papers do. They come with a package for
            ``tf_efficientnet_lite0``, and are fetched once from the network for others.
        lr: Adam's peak learning rate, for the global batch (it is not rescaled with the number of GPUs).
        weight_decay: Adam's (L2); PIPNet's code has 5e-4 where it does not begin with ImageNet weights.
        schedule: of the learning rate.

    Raises:
        ValueError: for a negative learning rate or weight decay.
    """

    network: Any  # has the ``usual_side`` of images, and checks theirs; its ``backbone`` is a model of timm's

    def __init__(
        self,
        num_landmarks: int,
        pretrained: bool = True,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        schedule: Schedule = Steps(),
    ) -> None:
        super().__init__(num_landmarks)
        self.save_hyperparameters()  # those of the subclass too
        for key, value in {"lr": lr, "weight_decay": weight_decay}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"model.init_args.{key} is {value}, expected a number of at least 0")
        self.pretrained, self.schedule = pretrained, schedule
        self.lr, self.weight_decay = lr, weight_decay
        self._folded: list[nn.Module] = []  # a list keeps it out of checkpoints and optimisers

    def setup(self, stage: str) -> None:
        """Check the size of the data's images; and as `LandmarkModule`."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.network.check_sides(data.size, data.size)
        super().setup(stage)
        self.unfold()  # a copy that was made by hand would be validated in place of what is trained

    @property
    def detector(self) -> nn.Module:
        """The network, or its folded copy where there is one."""
        return self._folded[0] if self._folded and not self.training else self.network

    def fold(self) -> None:
        """From now on detect by a folded copy of the network.

        Training, a trainer, other weights (`load_state_dict`), another device or type end it.
        """
        side = self.network.usual_side
        self._folded = [folded(self.network, torch.zeros(1, 3, side, side, dtype=torch.uint8, device=self.device))]

    def unfold(self) -> None:
        """Detect by the network itself again."""
        self._folded = []

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Unfold; and as `LandmarkModule`."""
        self.unfold()
        return super().load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:  # another device or type
        self.unfold()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def on_test_start(self) -> None:
        """Fold."""
        super().on_test_start()
        self.fold()

    def on_test_end(self) -> None:
        """Unfold: the weights may change from here on."""
        self.unfold()

    def on_predict_start(self) -> None:
        """Fold."""
        super().on_predict_start()
        self.fold()

    def on_predict_end(self) -> None:
        """Unfold: the weights may change from here on."""
        self.unfold()

    def configure_optimizers(self) -> Any:
        """Adam, whose learning rate is a function of the epoch alone; and ImageNet weights where a training begins.

        Here it is known whether a checkpoint was loaded, which has weights of its own, and there is no run yet that
        weights which cannot be had would leave behind.
        """
        if (self.trainer.max_epochs or -1) < 0:
            raise ValueError(
                f"trainer.max_epochs is {self.trainer.max_epochs}, expected a number: the learning rate is scheduled "
                "over all epochs"
            )
        if self.pretrained and not self.trainer.ckpt_path:
            self.load_imagenet()
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def load_imagenet(self) -> None:
        """Give the backbone ImageNet weights."""
        name = self.network.backbone.name
        if name not in PACKAGED:  # a machine without a network is silent for a minute before it gives up
            self.print(f"ImageNet weights of {name}: from timm's cache, or fetched")
        self.network.backbone.load_imagenet()

    def on_train_start(self) -> None:
        """Set the epoch's learning rate: a checkpoint has that of a training of the length it was made in."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * self.learning_rate_factor(self.current_epoch)

    def learning_rate_factor(self, epoch: int) -> float:
        """What the learning rate of an epoch is multiplied by."""
        return self.schedule(epoch / max(1, self.trainer.max_epochs or 1))
