"""What every test needs: caches of its own, so that none reads or leaves files in the user's, and Ctrl-C."""

import gc
import signal

import pytest

LONG = ("test_jobs.py", "test_ddp.py", "test_configs.py", "test_profile.py", "test_killed.py", "test_runs.py")


def pytest_collection_modifyitems(items):
    """Long files come first: at the end one process would have the last of them, and the others nothing."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session", autouse=True)
def few_collections():
    """What imported libraries hold need not be looked through for garbage, again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """In the background shells start commands that ignore SIGINT, and so would all that tests start."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
