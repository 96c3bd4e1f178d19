"""``python cli.py prepare`` for tests."""

import pytest

from cli import main


def prepare(*words):
    """The command line in this process; the code it ends with."""
    with pytest.raises(SystemExit) as end:
        main(["prepare", *map(str, words)])
    return end.value.code
