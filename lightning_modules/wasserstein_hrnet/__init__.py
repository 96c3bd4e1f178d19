"""Wasserstein-HRNet (Yan et al. 2021): loss, decodings, networks. See README.md beside this file."""

from lightning_modules.wasserstein_hrnet.decoding import Barycentre, Bilinear, QuarterOffset
from lightning_modules.wasserstein_hrnet.losses import HeatmapL2, JensenShannon, SoftArgmax, Wasserstein
from lightning_modules.wasserstein_hrnet.module import CPN, HRNet, SimpleBaselines, StackedHourglass

__all__ = [
    "CPN",
    "Barycentre",
    "Bilinear",
    "HRNet",
    "HeatmapL2",
    "JensenShannon",
    "QuarterOffset",
    "SimpleBaselines",
    "SoftArgmax",
    "StackedHourglass",
    "Wasserstein",
]
