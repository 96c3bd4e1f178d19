"""Images as networks with ImageNet weights expect them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of red, green and blue


class Normalization(nn.Module):
    """Images (B, 3, H, W) in [0, 255] less their mean, in standard deviations.

    Args:
        mean: of red, green and blue in [0, 1].
        std: standard deviations of these.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for key, value in {"mean": mean, "std": std}.items():
            self.register_buffer(key, 255 * torch.tensor(value).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        return (image.to(self.mean.dtype) - self.mean) / self.std
