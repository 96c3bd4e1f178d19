"""A reader that goes before the end, such as ``head``, ends a command quietly."""

import os
import subprocess
import sys

import pytest

from tests.experiment import QUIET, ROOT
from tests.reported_run import STEM

BEGIN = "import sys; from callbacks.sentences import one_sentence\nwith one_sentence(): "


def piped(words, lines=0, buffered=False, errors=False, cwd=ROOT):
    """Exit status and standard error of a process whose reader goes after so many lines, as ``head`` does."""
    read, write = os.pipe()
    reader = os.fdopen(read)
    if not lines:
        reader.close()
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    outputs = {"stdout": write, "stderr": write if errors else subprocess.PIPE}
    with subprocess.Popen([sys.executable, *words], cwd=cwd, env=environment, text=True, **outputs) as process:
        os.close(write)
        for _ in range(lines):
            reader.readline()
        reader.close()
        told = process.communicate(timeout=120)[1]
    return process.returncode, told


@pytest.mark.parametrize(
    ("buffered", "script", "status"),
    [
        (True, "print('x')", 0),  # written at the end
        (False, "print('x')", 141),
        (True, "print('x'); sys.exit(3)", 3),
        (True, "print('x', flush=True)", 141),
    ],
)
def test_it_ends_without_a_word(buffered, script, status):
    assert piped(["-c", BEGIN + script], buffered=buffered) == (status, "")


def test_standard_error_may_be_closed_too():
    assert piped(["-c", BEGIN + "print('x', file=sys.stderr, flush=True)"], errors=True)[0] == 141


def test_another_broken_pipe_is_an_error_of_the_program():
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + "raise BrokenPipeError(32, 'Broken pipe')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("lines", [0, *(pytest.param(lines, marks=pytest.mark.thorough) for lines in (1, 6, 40))])
def test_a_test_leaves_its_report(tried, lines):
    (tried / "report.html").unlink()
    (tried / f"{STEM}.json").unlink()
    words = [str(ROOT / "cli.py"), "test", "--name", "tried", *QUIET]
    status, told = piped(words, lines, cwd=tried.parents[1])
    assert status == 0, told
    assert "report" not in told
    assert "Traceback" not in told
    assert (tried / "report.html").is_file()
    assert (tried / f"{STEM}.json").is_file()
