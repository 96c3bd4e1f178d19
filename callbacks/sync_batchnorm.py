"""``--trainer.sync_batchnorm true``: batch norms whose statistics are of all processes' samples.

PyTorch's runs on GPUs alone; `AcrossProcesses` is the same on CPUs. Lightning's conversion would besides drop the
activation that timm's batch norms hold (of EfficientNets, MobileNets and others): timm's own keeps it.
"""

from typing import Any

import torch
import torch.distributed
from lightning.pytorch.plugins import TorchSyncBatchNorm
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_modules.processes import sum_over_processes


class SyncBatchNorm(TorchSyncBatchNorm):
    """Converts a network's batch norms where a training begins, and leaves them so: their evaluation is the same.

    Args:
        accelerator: of the trainer's options. The network is not on its device yet when it is converted.
    """

    def __init__(self, accelerator: Any) -> None:
        self.on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())

    def apply(self, model: nn.Module) -> nn.Module:
        """With PyTorch's own layers on GPUs."""
        if self.on_gpu:
            return convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        for path, module in list(model.named_modules()):
            if isinstance(module, _BatchNorm):
                model.set_submodule(path, AcrossProcesses(module))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """As it is."""
        return model


class AcrossProcesses(nn.BatchNorm2d):
    """A batch norm whose training statistics are of the samples of all processes, which may have unequally many.

    Args:
        norm: the batch norm that it takes the place of, with its very weights, and timm's with its activation.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers, self.training = norm._parameters, norm._buffers, norm.training
        if isinstance(norm, BatchNormAct2d):
            self.drop, self.act = norm.drop, norm.act

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, ...)."""
        found = self._across(x) if self.training and torch.distributed.is_initialized() else super().forward(x)
        return self.act(self.drop(found)) if hasattr(self, "act") else found

    def _across(self, x: Tensor) -> Tensor:
        """Normalised by mean and variance over the processes, through which gradients go as well."""
        axes, shape = [0, *range(2, x.ndim)], [-1, *[1] * (x.ndim - 2)]
        with torch.autocast(x.device.type, enabled=False):
            values = x if x.dtype == torch.float64 else x.float()
            sums = torch.cat([values.sum(axes), values.new_tensor([values.numel() / self.num_features])])
            *_, count = sums = sum_over_processes(sums)
            mean = sums[:-1] / count
            centred = values - mean.view(shape)
            variance = sum_over_processes(centred.square().sum(axes)) / count
            self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
            found = centred * (variance + self.eps).rsqrt().view(shape)
            if self.affine:
                found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow, the same on all processes."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
