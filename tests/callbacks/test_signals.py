"""Which process a signal stops, and how."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = "import os, signal, sys, time; from callbacks.signals import *; "


def python(script):
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_the_shells_status_even_if_sent_twice(signum, status):
    again = f"os.kill(os.getpid(), signal.{signum.name}); print('cleaned', flush=True)"
    script = f"try: print(flush=True); time.sleep(20)\nfinally: {again}"
    with python(f"{BEGIN}stop_on_signals()\n{script}") as process:
        process.stdout.readline()
        process.send_signal(signum)
        assert process.communicate(timeout=20)[0] == "cleaned\n"
    assert process.returncode == status


def test_an_ignored_signal_stays_ignored():
    ignore = "signal.signal(signal.SIGINT, signal.SIG_IGN); stop_on_signals(); "
    with python(f"{BEGIN}{ignore}os.kill(os.getpid(), signal.SIGINT); print('alive')") as process:
        assert process.communicate(timeout=20)[0] == "alive\n"
    assert process.returncode == 0


def test_a_forked_process_leaves_ctrl_c_to_its_parent_and_ends_by_sigterm():
    child = "os.kill(os.getpid(), signal.SIGINT); print('alive', flush=True); os.kill(os.getpid(), signal.SIGTERM)"
    script = f"{BEGIN}stop_on_signals(); pid = os.fork()\nif not pid: {child}; print('still alive', flush=True)"
    with python(f"{script}\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))") as process:
        assert process.communicate(timeout=20)[0] == "alive\n143\n"
