"""The batch script of a training: configs/slurm/train.sbatch with its lines filled in."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from callbacks.arguments import CONFIGS

TEMPLATE = CONFIGS / "slurm" / "train.sbatch"
LINE = re.compile(r"^#SBATCH --([\w-]+)(?:=.*)?$")


def batch_script(options: Mapping[str, str | None], words: Sequence[str], python: str, cli: Path) -> str:
    """The script with these options of sbatch and this command line.

    Args:
        options: by name, without dashes; None is an option without a value. Those of the template that are not named
            stay as they are.
        words: of ``fit``.
        python: the interpreter.
        cli: ``cli.py``.
    """
    lines = TEMPLATE.read_text().splitlines()
    told = [place for place, line in enumerate(lines) if LINE.match(line)]
    there = {found[1] for line in lines if (found := LINE.match(line))}
    for place in told:
        name = LINE.match(lines[place])[1]  # type: ignore[index]
        if name in options:
            lines[place] = _line(name, options[name])
    lines[told[-1] + 1 : told[-1] + 1] = [_line(name, value) for name, value in options.items() if name not in there]
    filled = "\n".join(lines) + "\n"
    for variable, value in (('"${PYTHON:-python}"', python), ('"${CLI:-cli.py}"', str(cli))):
        filled = filled.replace(variable, shlex.quote(value))
    return filled.replace('"$@"', shlex.join(words))


def _line(name: str, value: str | None) -> str:
    return f"#SBATCH --{name}" if value is None else f"#SBATCH --{name}={value}"
