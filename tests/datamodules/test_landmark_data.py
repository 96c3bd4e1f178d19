import sys

import pytest

from datamodules.landmark_data import begin_loading


@pytest.fixture
def told(monkeypatch):
    errors = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: errors.append(error))
    begin_loading(0)
    return errors


@pytest.mark.parametrize("kind", [ConnectionResetError, BrokenPipeError, EOFError])
def test_a_loading_process_says_nothing_of_a_training_that_ended(told, kind):
    sys.excepthook(kind, kind(), None)
    assert not told


def test_a_loading_process_tells_other_errors(told):
    error = ValueError("another")
    sys.excepthook(ValueError, error, None)
    assert told == [error]
