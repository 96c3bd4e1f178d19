"""Where a workspace goes: to Weights & Biases, and to a file with its specification and which one there it is."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from callbacks.arguments import UsageError

SECONDS = 10  # to wait for the server to say who is logged in


def recall(workspace: Any, file: Path) -> None:
    """Let a workspace take the place of the one that a file of `write` tells of.

    Raises:
        UsageError: the file is none, or of another project or owner.
    """
    if not file.is_file():
        return
    try:
        told = json.loads(file.read_text())
        owner, project, name, number = (told[key] for key in ("entity", "project", "name", "id"))
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is no specification that dashboard has written; give another --out") from None
    if project != workspace.project or (workspace.entity and owner not in ("", workspace.entity)):
        place = f"{workspace.entity}/{workspace.project}".removeprefix("/")
        raise UsageError(f"{file} tells of a workspace of {owner}/{project}, not of {place}; give another --out")
    workspace.entity = workspace.entity or owner
    workspace._internal_name, workspace._internal_id = name, number


def write(workspace: Any, file: Path) -> None:
    """Write the specification as W&B keeps it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(workspace._to_model().model_dump(by_alias=True, exclude_none=True), indent=1))


def upload(workspace: Any) -> str:
    """Save a workspace; its address.

    Raises:
        UsageError: W&B refuses it, or does not answer.
    """
    wandb.setup(wandb.Settings(silent=True))  # the library prints an address too
    try:
        workspace.entity = workspace.entity or wandb.Api(timeout=SECONDS).default_entity
        workspace.save()
    except (wandb.Error, WandbApiFailedError) as error:
        hint = "; where it was deleted there, --out with another file makes a new one" if workspace._internal_id else ""
        raise UsageError(f"W&B has not taken the workspace: {' '.join(str(error).split())}{hint}") from error
    # The library's own address lacks what precedes the owner on W&B's own server
    address = urlparse(workspace.url)
    return f"{wandb.setup().settings.app_url}{address.path}?{address.query}"
