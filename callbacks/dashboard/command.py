"""``python cli.py dashboard``: a workspace of Weights & Biases for the runs of a project."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from callbacks.arguments import UsageError, read_words
from callbacks.wandb_account import out_of_reach

OPTIONS = {
    "--entity": "a user or team of W&B, such as --entity my-lab",
    "--runs": "the folder of all runs, such as --runs runs",
    "--out": "a file, such as --out dashboard.json",
}
USAGE = """usage: python cli.py dashboard PROJECT [--entity NAME] [--runs FOLDER] [--out FILE]

Makes a workspace of Weights & Biases for the runs of a project: validation and its best values, losses, what each
method alone logs, and, of every test that these runs have had here, errors by subset, error curves, the worst faces
and the method's own tables and pictures, such as the flicker of videos. Made again, after further tests, it takes the
place of the one before, with whatever was changed in that by hand. Without an account or a network the specification
is written to FILE, and nothing is uploaded.

  PROJECT        of W&B, as in --wandb PROJECT; wandb.yaml says landmarks
  --entity NAME  whose project it is, a user's or a team's (default: WANDB_ENTITY, else your own)
  --runs FOLDER  the folder of all runs (default: runs)
  --out FILE     the specification, and which workspace it is (default: dashboard_PROJECT.json there)"""


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``dashboard``.

    Raises:
        UsageError: one sentence for a mistake, and where W&B refuses the workspace.
    """
    if not words or any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return
    project, options = _read(words)
    runs = Path(options.get("--runs", "runs"))
    out = Path(options.get("--out", runs / f"dashboard_{project}.json"))
    if out.suffix != ".json":
        raise UsageError(f"dashboard: --out is {out}, expected a file that ends in .json")

    from callbacks.dashboard.saving import recall, upload, write  # W&B takes a second to import
    from callbacks.dashboard.tested import read_tests
    from callbacks.dashboard.workspace import make_workspace

    why, tests = _why_offline(), read_tests(runs, project)
    workspace = make_workspace(project, options.get("--entity", os.environ.get("WANDB_ENTITY", "")), tests)
    recall(workspace, out)
    write(workspace, out)
    if why:
        print(
            f"dashboard: nothing was uploaded, because {why}; {out} has the specification; give the command again "
            "where W&B answers and you are logged in (wandb login)"
        )
    else:
        print(f"dashboard: {upload(workspace)}")
        write(workspace, out)  # now it has a number
    if not tests:
        print(
            f"No run of {project} in {runs} has been tested, so there are no sections on tests; give the command "
            "again after a test"
        )


def _why_offline() -> str | None:
    mode = os.environ.get("WANDB_MODE", "online")
    return out_of_reach() if mode == "online" else f"WANDB_MODE is {mode}"


def _read(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The project and the values of options."""
    projects, options = read_words("dashboard", words, OPTIONS)
    if len(projects) != 1 or not re.fullmatch(r"[^/\\#?%:]+", projects[0]):
        found = " ".join(projects) or "none"
        raise UsageError(
            f"dashboard takes one project of W&B, such as landmarks, without any of /\\#?%:, found {found}"
        )
    return projects[0], options
