import shutil

import pytest

from tests.reported_run import make_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """``runs/tried``, fitted and tested, and ``runs/fitted``."""
    return make_runs(tmp_path_factory.mktemp("report"))


@pytest.fixture
def tried(runs, tmp_path):
    """A copy of the first, to change."""
    return shutil.copytree(runs / "tried", tmp_path / "runs/tried")
