"""What an inspection has found: a row of its table for each check, a line of its CSV for each offender."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

OK, LOOK, FAILED = "ok", "look", "failed"
COLOURS = {OK: "green", LOOK: "yellow", FAILED: "red"}
NAMED = 3  # offenders of a check that are printed


@dataclass(frozen=True)
class Finding:
    """A face or an image that a check objects to.

    Args:
        split: train, val, test, images (without annotation) or others-0, others-1, ... (of a mixture).
        row: its place in that split, counted from 0.
        where: file and line of its annotation.
        image: path of its image.
        text: what is wrong with it.
    """

    split: str
    row: int
    where: str
    image: str
    text: str


@dataclass
class Check:
    """What is counted in a split.

    Args:
        name: what it is.
        split: train, val or test.
        found: how many there are.
        expected: how many there should be; None where any number is right.
        otherwise: the verdict where they differ: `FAILED`, or `LOOK` where good data may differ.
        findings: who they are.
    """

    name: str
    split: str
    found: int
    expected: int | None = 0
    otherwise: str = FAILED
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Whether what was found is what was expected."""
        return OK if self.expected in (None, self.found) else self.otherwise


def of_findings(name: str, split: str, findings: list[Finding], otherwise: str = FAILED) -> Check:
    """A check that expects no findings."""
    return Check(name, split, len(findings), 0, otherwise, findings)


def print_checks(title: str, checks: Sequence[Check], console: Console) -> None:
    """The table, a line for each check, and below it the first offenders of each check that does not hold."""
    splits = list(dict.fromkeys(check.split for check in checks))
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("check")
    for heading in (*splits, "expected"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for name in dict.fromkeys(check.name for check in checks):
        same = {check.split: check for check in checks if check.name == name}
        found = [f"{same[split].found:,}" if split in same else "" for split in splits]
        expected = ["-" if check.expected is None else f"{check.expected:,}" for check in same.values()]
        verdict = max((check.verdict for check in same.values()), key=list(COLOURS).index)
        wanted = " / ".join(expected if len(set(expected)) > 1 else expected[:1])
        table.add_row(name, *found, wanted, f"[{COLOURS[verdict]}]{verdict}[/]")
    console.print(table)
    for check in checks:
        for finding in check.findings[:NAMED]:
            text = f"{check.verdict}: {check.split}: {finding.where}: {finding.text}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        if (more := len(check.findings) - NAMED) > 0:
            console.print(f"  and {more:,} more {check.name} ({check.split})", markup=False, highlight=False)


def write_findings(path: Path, checks: Iterable[Check]) -> None:
    """A CSV with a line for each finding of each check."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: Any = csv.writer(file)
        writer.writerow(["check", "verdict", "split", "row", "annotation", "image", "finding"])
        for check in checks:
            for f in check.findings:
                writer.writerow([check.name, check.verdict, f.split, f.row, f.where, f.image, f.text])
