"""What a trainer takes from the job of Slurm that it is in."""

import os
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from callbacks.arguments import UsageError


def job_size() -> dict[str, int]:
    """``num_nodes`` and ``devices`` of the step that srun has started this process in; nothing elsewhere.

    Raises:
        UsageError: nodes have different numbers of processes.
    """
    if "SLURM_STEP_NUM_TASKS" not in os.environ:
        return {}
    tasks, nodes = (int(os.environ[key]) for key in ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"))
    if tasks % nodes:
        raise UsageError(f"srun started {tasks} processes on {nodes} nodes, expected as many on each; set both")
    return {"num_nodes": nodes, "devices": tasks // nodes}


def job_plugins() -> list[Any]:
    """How processes find each other in a job of Slurm; nothing elsewhere.

    Signals are left to `SaveOnSignal`: Lightning's own handler saves in the middle of whatever is going on. A process
    that srun has not started is alone, though its job may have place for others, and starts others itself.
    """
    if "SLURM_STEP_NUM_TASKS" in os.environ:
        return [SLURMEnvironment(auto_requeue=False)]
    return [LightningEnvironment()] if "SLURM_JOB_ID" in os.environ else []
