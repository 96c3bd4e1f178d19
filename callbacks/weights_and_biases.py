"""Weights & Biases beside metrics.csv: online for who is logged in, offline for everyone else, never a prompt."""

import netrc
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from lightning.pytorch.loggers import WandbLogger

from callbacks.run_folder import RunFolder, note

SECONDS = 3.0  # to wait for the server; W&B itself would wait for a minute and a half


def wandb_logger(run: RunFolder, project: str, settings: Mapping[str, Any]) -> WandbLogger:
    """A logger that continues the W&B run of this name; its files are in the run's folder.

    Args:
        run: the run's folder.
        project: W&B's project.
        settings: the resolved config.
    """
    run.path.mkdir(parents=True, exist_ok=True)  # W&B would write to the temporary folder otherwise
    return WandbLogger(
        project=project,
        name=run.name,
        id=os.environ.get("WANDB_RUN_ID") or re.sub(r"[^\w.-]", "-", run.name),  # a sweep has chosen one
        save_dir=run.path.absolute(),  # W&B's own process may have begun in another folder
        resume="allow",
        mode=wandb_mode(),
        config=dict(settings),
        allow_val_change=True,
    )


def wandb_mode() -> str:
    """``WANDB_MODE`` if set; else online where a key and the server are found, else offline."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    server = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if not _logged_in(server.hostname or ""):
        return "offline"
    if not _reachable(server.hostname or "", server.port or (443 if server.scheme == "https" else 80)):
        note(f"W&B: {server.hostname} does not answer; logging offline, upload later with wandb sync")
        return "offline"
    return "online"


def _logged_in(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _reachable(host: str, port: int) -> bool:
    if getproxies():
        return True  # the way out is the proxy's, which a plain connection says nothing about
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError:
        return False
    return True
