"""What signals do to this process. Imports nothing slow.

- Ctrl-C, and the SIGTERM that Slurm, docker and timeout send, become an exception.
- SIGUSR1, which Slurm sends before a job's time is over, asks a training to save and end, to be queued again.
"""

import os
import signal
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 75  # exit status of a training that was saved to be continued: EX_TEMPFAIL of sysexits.h, "try again"


class Stopped(SystemExit):
    """A signal ended the command, with the shell's exit status for it: 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        signum: of the signal.
        saved: whether a training was saved where it stood.
    """

    def __init__(self, signum: int, saved: bool = False) -> None:
        super().__init__(AGAIN if signum == signal.SIGUSR1 else 128 + signum)
        self.saved, self.sentence = saved, f"stopped by {signal.Signals(signum).name}"


@dataclass
class Request:
    """That a training be saved and ended."""

    signum: int = 0  # of the signal that asked; 0 while none has
    possible: bool = False  # whether a training is going on that looks here


REQUEST = Request()


def stop_on_signals() -> None:
    """Raise `Stopped` in this process when it gets one of the signals, or note it as `REQUEST`.

    A job of Slurm that is preempted or cancelled gets SIGTERM, and is killed half a minute later (KillWait): time
    enough to save a training. Elsewhere whoever sends it waits for the end.
    """
    process, on_slurm = os.getpid(), "SLURM_JOB_ID" in os.environ

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked process has inherited this handler
            if signum == signal.SIGTERM:
                os._exit(128 + signum)
            return  # Ctrl-C reaches every process of a terminal: the first one ends the others
        if on_slurm and signum == signal.SIGTERM and REQUEST.possible and not REQUEST.signum:
            REQUEST.signum = signum
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # timeout and Slurm send theirs twice; what follows is short
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would raise for workers that got the signal too
        raise Stopped(signum)

    def ask(signum: int, frame: FrameType | None) -> None:
        REQUEST.signum = REQUEST.signum or signum

    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup and shells ignore one for background commands
            signal.signal(signum, stop)
    signal.signal(signal.SIGUSR1, ask)
