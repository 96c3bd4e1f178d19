"""LDEQ (Micaelli et al. 2023): module, network, solvers, implicit gradient. See README.md beside this file."""

from lightning_modules.ldeq.module import LDEQ

__all__ = ["LDEQ"]
