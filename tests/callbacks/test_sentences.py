"""Which errors are sentences for the user, and which keep their traceback."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from callbacks.arguments import UsageError
from callbacks.sentences import one_sentence
from callbacks.signals import Stopped


def on_purpose(error=ValueError):
    raise error("faces.csv: line 3 is short")


def by_a_builtin_function():
    return int("three")


def by_a_library():
    return torch.load("no such file")


class Faulty(Dataset):
    def __init__(self, fault):
        self.fault = fault

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.fault()


def by_a_worker(fault):
    loader = iter(DataLoader(Faulty(fault), num_workers=1))
    try:
        return list(loader)
    finally:
        loader._shutdown_workers()  # left to the garbage collector, it waits five seconds for its worker


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def chained():
    try:
        int("three")
    except ValueError as error:
        raise ValueError("faces.csv: line 3 is\nno number") from error


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        (on_purpose, 1, "faces.csv: line 3 is short"),
        (lambda: on_purpose(UsageError), 2, "faces.csv: line 3 is short"),
        (lambda: on_purpose(FileNotFoundError), 1, "faces.csv: line 3 is short"),
        (by_a_library, 1, "no such file: No such file or directory"),
        (lambda: by_a_worker(on_purpose), 1, "faces.csv: line 3 is short"),
        (lambda: by_a_worker(chained), 1, "faces.csv: line 3 is\nno number"),
    ],
)
def test_an_error_of_use_is_a_sentence(fault, code, sentence, capsys):
    with pytest.raises(SystemExit) as end, one_sentence():
        fault()
    assert end.value.code == code
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_a_killed_worker_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as end, one_sentence():
        by_a_worker(killed)
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert error.startswith("error: a process that loads data was killed (")
    assert error.endswith("docker run --shm-size)\n")


def test_a_signal_is_a_sentence_and_its_status(capsys):
    with pytest.raises(SystemExit) as end, one_sentence():
        raise Stopped(signal.SIGTERM)
    assert (end.value.code, capsys.readouterr().err) == (143, "stopped by SIGTERM\n")


@pytest.mark.parametrize(
    "fault",
    [
        by_a_builtin_function,
        lambda: on_purpose(TypeError),
        lambda: torch.nn.Linear(2, 2)(torch.zeros(3)),
        lambda: by_a_worker(by_a_builtin_function),
        lambda: by_a_worker(lambda: on_purpose(KeyError)),
    ],
)
def test_an_error_of_the_program_is_not(fault):
    with pytest.raises((ValueError, TypeError, RuntimeError, KeyError)), one_sentence():
        fault()
