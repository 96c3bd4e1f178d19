"""PIPNet (Jin et al. 2021): module, network, targets, neighbours, losses. See README.md beside this file."""

from lightning_modules.pipnet.coordnet import CoordNet
from lightning_modules.pipnet.dann import DANN
from lightning_modules.pipnet.mapnet import MapNet
from lightning_modules.pipnet.module import PIPNet
from lightning_modules.pipnet.self_training import SelfTraining

__all__ = ["DANN", "CoordNet", "MapNet", "PIPNet", "SelfTraining"]
