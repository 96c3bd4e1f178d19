"""A real Slurm of several nodes on this machine, for tests: its own munge, controller and node daemons.

It needs root and Debian's packages slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins and munge; no systemd, no
cgroups, no accounting. Everything it writes is in one folder.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "squeue")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


def why_not() -> str:
    """Why there can be no cluster here; nothing where there can."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        return (
            f"Slurm is not installed ({', '.join(missing)} missing): apt-get install slurmctld slurmd slurm-client "
            "slurm-wlm-basic-plugins munge"
        )
    return "" if os.geteuid() == 0 else "Slurm's daemons need root here"


class Cluster:
    """Nodes n1, n2, ... with two CPUs each, all of them this machine.

    What is queued again waits until credentials have expired, which is set to seconds here, not two minutes.

    Args:
        folder: of its files; short, for sockets have names of at most 107 letters.
        nodes: how many.
    """

    def __init__(self, folder: Path, nodes: int = 2) -> None:
        self.folder, self.nodes = folder, nodes
        self.conf = folder / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Bring it up.

        Raises:
            RuntimeError: it does not come up, with what its daemons say.
        """
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True)
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        options = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munge.pid"}
        options |= {"log-file": self.folder / "log/munge", "seed-file": self.folder / "munge.seed"}
        # --force: it warns of folders that others may write to, rather than refuse them
        self._daemon("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in options.items()))
        self._until(lambda: (self.folder / "munge.socket").exists(), 20)
        self._daemon("slurmctld", "-D", "-c", "-f", str(self.conf))
        for number in range(1, self.nodes + 1):
            self._daemon("slurmd", "-D", "-N", f"n{number}", "-f", str(self.conf))
        self._until(lambda: len(self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split()) == self.nodes, 60)

    def _configure(self) -> None:
        ports = [_free_port() for _ in range(self.nodes + 1)]
        host = socket.gethostname().partition(".")[0]
        lines = f"""
            ClusterName=tested
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={ports[0]}
            SlurmUser=root
            SlurmdUser=root
            AuthType=auth/munge
            AuthInfo=socket={self.folder}/munge.socket,cred_expire=5
            CredType=cred/munge
            StateSaveLocation={self.folder}/state
            SlurmdSpoolDir={self.folder}/spool/%n
            SlurmctldPidFile={self.folder}/slurmctld.pid
            SlurmdPidFile={self.folder}/slurmd.%n.pid
            SlurmctldLogFile={self.folder}/log/slurmctld
            SlurmdLogFile={self.folder}/log/slurmd.%n
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/none
            AccountingStorageType=accounting_storage/none
            MpiDefault=none
            SwitchType=switch/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU
            SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=1
            SlurmdParameters=config_overrides
            ReturnToService=2
            KillWait=5
            MinJobAge=3600
            """
        nodes = [
            f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[i]} CPUs=2 State=UNKNOWN"
            for i in range(1, self.nodes + 1)
        ]
        partition = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO"
        content = [line.strip() for line in lines.strip().splitlines()]
        self.conf.write_text("\n".join([*content, *nodes, partition]) + "\n")
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")

    def _daemon(self, *words: str) -> None:
        log = (self.folder / "log" / f"{words[0]}.{len(self.processes)}.out").open("wb")
        self.processes.append(
            subprocess.Popen(words, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        )

    def _until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                logs = [f"{path.name}: {path.read_text()[-500:]}" for path in (self.folder / "log").iterdir()]
                raise RuntimeError("\n".join(["the cluster does not come up", *logs]))
            time.sleep(0.2)

    def stop(self) -> None:
        """Cancel what runs and take it down."""
        self.run("scancel", "--user=root", "--signal=KILL")
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()

    def run(self, *words: str, **options: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, env={**self.environment, **options}, capture_output=True, text=True, check=False)
        return done.stdout

    def state(self, job: str) -> dict[str, str]:
        """What scontrol says of a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "show", "job", job)))

    def wait(self, job: str, states: tuple[str, ...] = ENDED, seconds: float = 240) -> str:
        """The state of a job once it is one of these.

        Raises:
            AssertionError: it does not come to that in time.
        """
        deadline = time.monotonic() + seconds
        while (state := self.state(job).get("JobState", "UNKNOWN")) not in states:
            if time.monotonic() > deadline:
                raise AssertionError(f"job {job} is {state}: {self.run('scontrol', 'show', 'job', job)}")
            time.sleep(0.3)
        return state


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
