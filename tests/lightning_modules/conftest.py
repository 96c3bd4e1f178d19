import pytest

from lightning_modules.base import LandmarkModule


@pytest.fixture
def silent(monkeypatch):
    """Modules outside a trainer cannot log."""
    monkeypatch.setattr(LandmarkModule, "log", lambda self, *args, **kwargs: None)
    monkeypatch.setattr(LandmarkModule, "log_dict", lambda self, *args, **kwargs: None)
