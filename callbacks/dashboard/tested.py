"""Which tests the runs of a project of Weights & Biases have had, as far as their folders tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from callbacks.report.files import Row
from callbacks.report.run import Measurement, read_run
from lightning_modules.further import Curves


class Drawn(NamedTuple):
    """A table that a method alone has."""

    rows: list[Row]
    curves: Curves
    listed: bool


@dataclass(frozen=True)
class Tested:
    """Tests whose files have one stem: of the same data and box, in the same way.

    Args:
        stem: of their files.
        tests: one a run.
    """

    stem: str
    tests: list[Measurement]

    @property
    def subsets(self) -> list[str]:
        """Their names, all faces first."""
        return list(dict.fromkeys(row["subset"] for test in self.tests for row in test.rows))

    @property
    def tables(self) -> dict[str, Drawn]:
        """Tables that a method alone has, by name: those of the first run that has them."""
        found: dict[str, Drawn] = {}
        for test in self.tests:
            for name, rows in test.further.tables.items():
                about = test.about["tables"][name]
                found.setdefault(name, Drawn(rows, Curves(**about["curves"]), about["listed"]))
        return found

    @property
    def pictures(self) -> list[str]:
        """Names of pictures that a method alone has."""
        return list(dict.fromkeys(name for test in self.tests for name in test.further.pictures))


def read_tests(runs: Path, project: str) -> list[Tested]:
    """The tests of the runs in a folder that log to a project."""
    found: dict[str, list[Measurement]] = {}
    for config in sorted(runs.glob("*/config.yaml")):
        run = read_run(config.parent)
        for test in run.measurements if run.settings.get("wandb") == project else []:
            found.setdefault(test.stem, []).append(test)
    return [Tested(stem, tests) for stem, tests in sorted(found.items())]
