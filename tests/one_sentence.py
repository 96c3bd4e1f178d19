"""How every mistake in a dataset has to be told."""

from contextlib import contextmanager

import pytest


@contextmanager
def one_sentence(*parts):
    """What is done here raises one line that has all these parts, such as the path of what is wrong."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        yield
    told = str(error.value)
    missing = [part for part in map(str, parts) if part not in told]
    assert not missing, f"{told!r} lacks {missing}"
    assert "\n" not in told, f"{told!r} has more than one line"
