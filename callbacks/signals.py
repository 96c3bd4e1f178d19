"""Ctrl-C, and the SIGTERM that Slurm, docker and timeout send, as an exception. Imports nothing slow."""

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """A signal ended the command, with the shell's exit status for it: 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        signum: of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.sentence = f"stopped by {signal.Signals(signum).name}"


def stop_on_signals() -> None:
    """Raise `Stopped` in this process when it gets one of the signals."""
    process = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked process has inherited this handler
            if signum == signal.SIGTERM:
                os._exit(128 + signum)
            return  # Ctrl-C reaches every process of a terminal: the first one ends the others
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # timeout and Slurm send theirs twice; what follows is short
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would raise for workers that got the signal too
        raise Stopped(signum)

    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup and shells ignore one for background commands
            signal.signal(signum, stop)
