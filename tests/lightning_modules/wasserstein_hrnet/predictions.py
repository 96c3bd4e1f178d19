"""Heatmaps of every kind that a network makes on its way."""

import torch

from lightning_modules.heatmaps import render

KINDS = ("noise", "near", "double", "peaked", "astray", "one-hot", "uniform")


def heatmaps(kind, centres, height=64, width=64, seed=0):
    """Heatmaps (P, h, w) before softmax, for points (P, 2) in cells."""
    generator = torch.Generator().manual_seed(seed)
    count = len(centres)
    side = torch.tensor([width, height]).to(centres) - 1

    def anywhere():
        return torch.rand(count, 2, generator=generator).to(centres) * side

    def noise(strength):
        return strength * torch.randn(count, height, width, generator=generator).to(centres)

    if kind == "noise":
        return noise(1.0)
    if kind == "near":
        moved = centres + torch.randn(count, 2, generator=generator).to(centres)
        return 10 * render(moved, 1.5, width, height) + noise(0.3)
    if kind == "double":
        return 9 * render(anywhere(), 2.0, width, height) + 8 * render(anywhere(), 1.5, width, height) + noise(0.3)
    if kind == "peaked":
        return 30 * render(centres, 1.0, width, height) + noise(0.3)
    if kind == "astray":
        return 20 * render(anywhere(), 1.5, width, height) + noise(0.3)
    if kind == "one-hot":
        return 1e4 * render(anywhere().round(), 0.2, width, height)
    return torch.zeros(count, height, width).to(centres)


def distributions(kind, centres, height=64, width=64, seed=0):
    """Their softmax."""
    return heatmaps(kind, centres, height, width, seed).flatten(1).softmax(dim=1).view(-1, height, width)
