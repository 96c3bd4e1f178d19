"""LDEQ with gradients accumulated over parts of a batch."""

import pytest
import torch

from lightning_modules.ldeq import LDEQ
from lightning_modules.ldeq.implicit import Implicit, Unrolled
from lightning_modules.ldeq.solvers import Anderson

WAYS = {"implicit": Implicit(Anderson(6)), "unrolled": Unrolled(3)}
FACES = 4


class TrainingLoss(torch.nn.Module):
    """The loss of a training step."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        options = {"injection_width": 16, "width": 16, "width_step": 4, "depth": 2, "early_epochs": 0}
        self.module = LDEQ(5, gradient=WAYS[way], **options).double().eval()  # batch norms with fixed statistics

    def forward(self, image, target):
        states = self.module.equilibrium(image, epoch=0).states
        return sum((self.module.decode(z) - target).square().mean() for z in states)


def faces():
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (FACES, 3, 64, 64), dtype=torch.uint8, generator=generator)
    return image, 64 * torch.rand(FACES, 5, 2, dtype=torch.float64, generator=generator)


def gradient(network):
    return torch.cat([p.grad.flatten() for p in network.parameters()])


@pytest.mark.parametrize("way", WAYS)
def test_accumulated_halves_equal_the_whole_batch(way):
    whole, parts = TrainingLoss(way), TrainingLoss(way)
    image, target = faces()
    whole(image, target).backward()
    for half in (slice(0, 2), slice(2, 4)):
        (parts(image[half], target[half]) / 2).backward()
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-9, atol=1e-12)
