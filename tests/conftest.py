"""What every test needs: caches of its own, so that none reads or leaves files in the user's."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
