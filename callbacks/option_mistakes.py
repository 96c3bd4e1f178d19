"""The parser's reports of a wrong option, which run over many lines, as one sentence with a suggestion."""

import inspect
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser

from callbacks.arguments import Arguments, UsageError, option_key, suggestion

# A report descends from key to class to key; then says what is wrong with the last one.
STEP = re.compile(r"""Parser key "(?P<key>[\w.+]+)"|given class_path '(?P<path>[\w.]+)'|Group '(?P<group>[\w.]+)'""")
UNKNOWN = re.compile(r"(?:[Oo]ption '|unrecognized arguments: )-{0,2}([\w.+]+)")
MISSING = re.compile(r"following arguments are required: ([\w.]+)")
NO_CONFIG = re.compile(r"^ *- Expected a path but .* either not accessible or invalid\n", re.MULTILINE)  # of a class
EXPECTED = re.compile(r"Expected an? (?:<class ')?(.+?)(?:'>)?(?:\. Got value.*|(?<=string): .*)?$", re.MULTILINE)
BASE = re.compile(r"Subtypes: \[<class '([\w.]+)'>")
FOUND = re.compile(r"(?:Got value: |Given value: |dot import path string: )(.*)$", re.MULTILINE)

KINDS = {"NoneType": "null", "tuple": "a list such as [1, 2]"}
LEAST = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0, "log_every_n_steps": 0}


class FullNames(LightningArgumentParser):
    """A parser that takes options by their full names only."""

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return []  # argparse would take --trainer.max_epoch for --trainer.max_epochs


def parse(
    parser: LightningArgumentParser, words: list[str], arguments: Arguments, options: LightningArgumentParser
) -> Namespace:
    """The options in a command line.

    Args:
        parser: of the whole command line.
        words: what it is to read.
        arguments: the command line as typed, to name the file that holds a mistake.
        options: the parser that has the options of its subcommand.

    Raises:
        UsageError: one sentence that says what is wrong.
    """
    try:
        return parser.parse_args(words)
    except ArgumentError as error:
        known = [option.removeprefix("--") for option in options._option_string_actions]
        raise UsageError(explain(str(error), arguments, known)) from error


def explain(report: str, arguments: Arguments, options: Sequence[str]) -> str:
    """The sentence of a report.

    Args:
        report: what jsonargparse says.
        arguments: the command line, to name the file that holds the mistake.
        options: the parser's own options.
    """
    report = NO_CONFIG.sub("", report)
    found = next((f for f in (UNKNOWN, MISSING, FOUND) if f.search(report)), None)
    match = found.search(report) if found else None
    steps = list(STEP.finditer(report, 0, match.end() if match else len(report)))
    key, owner = _place(steps)
    if found is UNKNOWN and match:
        name = _join(key, match[1], owner)
        if owner:
            about = f"{owner} has no option '{match[1]}'"
            shown = f"--{_join(key, '{}', owner)}"
            within = [f"{part}.init_args.{match[1]}" for part in _parts_with(match[1], owner)]
            near = suggestion(within[0] if within else match[1], within or _options(owner), shown)
        else:
            about = f"there is no option '{name}'"
            near = suggestion(name, options, "--{}") or suggestion(name.split(".")[0], options, "--{}")
        return f"{_source(name, arguments)}{about}{near}"
    if found is MISSING and match:
        name = _join(key, match[1].removeprefix(f"{arguments.subcommand}."), owner)
        return f"{name} is missing; set it in a config or with --{name}"
    if "Problem with given class_path" in report and (reason := _import_problem(report)):
        about = f"{_source(key, arguments)}{key}.class_path is '{owner}', "
        module = owner.rpartition(".")[0]
        if reason.startswith(f"module '{module}' ") and (known := _classes(module, _base(report))):
            return f"{about}but {module} has no such class, only {', '.join(known)}"
        return f"{about}which cannot be imported: {reason}"
    if found is FOUND and match:
        seen = report[: match.end()]
        kinds = [_kind(kind, seen) for kind in EXPECTED.findall(seen)]
        expected = " or ".join(dict.fromkeys(kinds)) or "something else"
        return f"{_source(key, arguments)}{key} is '{match[1]}', expected {expected}"
    return " ".join(report.split())


def check_trainer(options: Mapping[str, Any]) -> None:
    """Refuse numbers that Lightning takes, and then divides by or turns gradients round with.

    Raises:
        UsageError: one sentence that names the option.
    """
    for key, least in LEAST.items():
        if (value := options.get(key)) is not None and value < least:
            raise UsageError(f"trainer.{key} is {value}, expected at least {least}")
    if isinstance(interval := options.get("val_check_interval"), int | float) and interval <= 0:
        raise UsageError(f"trainer.val_check_interval is {interval}, expected more than 0")


def _place(steps: list[re.Match[str]]) -> tuple[str, str]:
    """The dotted key that the steps lead to, and the class whose option comes next ('' for none)."""
    key, owner = "", ""
    for step in steps:
        if step["path"]:
            owner = step["path"]
        else:
            key, owner = _join(key, step["key"] or step["group"], owner), ""
    return key, owner


def _join(key: str, name: str, owner: str) -> str:
    return f"{key}.init_args.{name}" if owner else f"{key}.{name}" if key else name


def _options(class_path: str) -> list[str]:
    """The options of a class or function, with those that it hands on to others as ``**options``."""
    module, _, name = class_path.rpartition(".")
    owner, parser = getattr(import_module(module), name), ArgumentParser()
    add = parser.add_class_arguments if inspect.isclass(owner) else parser.add_function_arguments
    return add(owner, fail_untyped=False)


def _parts_with(option: str, class_path: str) -> list[str]:
    """Which datamodules that a class takes have an option: of a mixture ``labelled`` has ``batch_size``."""
    module, _, name = class_path.rpartition(".")
    owner = getattr(import_module(module), name)
    taken = inspect.signature(owner, eval_str=True).parameters.values() if inspect.isclass(owner) else []
    kinds = {part.name: part.annotation for part in taken if inspect.isclass(part.annotation)}
    parts = [name for name, kind in kinds.items() if issubclass(kind, LightningDataModule)]
    return [part for part in parts if option in _options(f"{kinds[part].__module__}.{kinds[part].__qualname__}")]


def _import_problem(report: str) -> str:
    problem = re.search(r"(No module named '[\w.]+'|module '[\w.]+' has no attribute '\w+')", report)
    return problem[1] if problem else ""


def _base(report: str) -> str:
    """The class of which the last option in a report takes subclasses, "" where it does not say."""
    return ["", *BASE.findall(report)][-1]


def _classes(module: str, base: str) -> list[str]:
    """The names of the classes in a module or package that can be set where a base (any for "") is asked for."""
    of, _, name = base.rpartition(".")
    kind = getattr(import_module(of), name) if of else object
    found = [value for value in vars(import_module(module)).values() if inspect.isclass(value) and value is not kind]
    own = [value for value in found if f"{value.__module__}.".startswith(f"{module}.") and issubclass(value, kind)]
    return [value.__name__ for value in own if not inspect.isabstract(value)]


def _kind(kind: str, report: str) -> str:
    if kind == "dot import path string":
        base = _base(report)
        known = _classes(base.rpartition(".")[0], base) if base else []
        return " or ".join(known) or "the import path of a class"
    literal = re.fullmatch(r"typing\.Literal\[(.*)\]", kind)
    return literal[1] if literal else KINDS.get(kind, kind)


def _source(key: str, arguments: Arguments) -> str:
    """``FILE: `` where a config file sets this key, nothing where the command line does."""
    short = key.replace(".init_args", "")
    if {f"--{short}", f"--{short}.class_path"} & {option_key(option) for option in arguments.given}:
        return ""
    for path, content in zip(reversed(arguments.configs), reversed(arguments.contents), strict=True):
        if _sets(content, key.split(".")):
            return f"{_shortest(path)}: "
    return ""


def _sets(content: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    if isinstance(content, list):
        return any(_sets(item, parts) for item in content)
    if not isinstance(content, dict):
        return False
    return any(_sets(content[name], parts[1:]) for name in (parts[0], parts[0] + "+") if name in content)


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
