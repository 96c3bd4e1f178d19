"""Two-step landmark discovery (Rahaman et al. 2021, arXiv:2104.02925): landmarks without labels."""

from lightning_modules.two_step.appearance import Appearance
from lightning_modules.two_step.deformations import RandomDeformation
from lightning_modules.two_step.module import Discovery
from lightning_modules.two_step.probe import Ridge

__all__ = ["Appearance", "Discovery", "RandomDeformation", "Ridge"]
