"""The command line as typed: which configs, which run. Imports nothing slow, so that mistakes are answered at once."""

import difflib
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SUBCOMMANDS = {
    "fit": "train; the run's config, checkpoints and metrics go to runs/NAME",
    "validate": "measure a run's best checkpoint on the validation faces",
    "test": "measure it on the test faces: a table, errors of each face, drawings of predictions",
    "predict": "write its landmarks of the test faces, in pixels of the original images",
}
AFTER_FIT = ("validate", "test", "predict")
COMMANDS = {  # that are not Lightning's
    "prepare": "unpack the archives of a published dataset into the folders its reader expects",
    "inspect": "check a dataset: counts, images, landmarks, duplicates, left and right; draw its faces",
    "report": "put runs side by side on one page",
    "oracle": "annotate videos by what several runs say together, in WFLW-V's format; or rank a dataset's",
    "submit": "train as a job of Slurm, on any number of nodes and GPUs",
    "dashboard": "make a workspace of Weights & Biases for the runs of a project",
    "profile": "measure where a training's time goes, and derive what many GPUs would make of it",
}
COMMAND = ("python", "cli.py")
OWN_FILES = "datamodules.own_files.OwnFiles"
Option = tuple[str, ...]  # an option and its values, as typed


class UsageError(ValueError):
    """A mistake on the command line or in a config; the process ends with 2."""


def suggestion(word: str, known: Iterable[str], show: str = "{}") -> str:
    """``; did you mean X?`` for the nearest of the known words, nothing where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {show.format(near[0])}?" if near else ""


def has_begun(folder: Path) -> bool:
    """Whether training has left anything in a run's folder."""
    return any(
        (folder / name).exists()
        for name in ("config.yaml", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/previous.ckpt")
    )


def run_suggestion(folder: Path, show: str = "--name {}") -> str:
    """`suggestion` of the nearest name among the runs beside a folder."""
    return suggestion(folder.name, (path.parent.name for path in folder.parent.glob("*/config.yaml")), show)


def read_words(command: str, words: Sequence[str], known: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The words that are no options, and the options' values, of a command that takes ``known``: what each takes.

    Raises:
        UsageError: an option that is not known, or has no value.
    """
    others: list[str] = []
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, separator, value = word.partition("=")
        if option in known:
            value = value if separator or not rest else rest.pop(0)
            if not value:
                raise UsageError(f"{command}: {option} takes {known[option]}")
            options[option] = value
        elif word.startswith("-"):
            raise UsageError(f"{command} has no option {option}{suggestion(option, [*known, '--help'])}")
        else:
            others.append(word)
    return others, options


def usage() -> str:
    """What ``python cli.py --help`` prints."""
    lines = [f"  {name:<9} {text}" for name, text in {**SUBCOMMANDS, **COMMANDS}.items()]
    return "\n".join(
        [
            f"usage: python cli.py {{{','.join(SUBCOMMANDS)}}} --config NAME [--config OVERLAY ...] [--option VALUE]",
            "       python cli.py prepare NAME [--archives FILE ...] [--root FOLDER]",
            "       python cli.py inspect --config NAME [--out FOLDER] [--option VALUE]",
            "       python cli.py report RUN [RUN ...]",
            "       python cli.py oracle --members RUN RUN ... --data.path FOLDER --out FOLDER",
            "       python cli.py submit --config NAME --nodes N --gpus M [--dry-run] [--option VALUE]",
            "       python cli.py dashboard PROJECT",
            "       python cli.py profile --config NAME [--option VALUE]",
            "",
            *lines,
            "",
            "  --config NAME  a file, or a name in configs/; later ones win over earlier ones",
            "  --name RUN     the run's folder below runs/ (default: the config's name)",
            "  --resume       continue the run from its last checkpoint; --resume auto begins it where there is none",
            "",
            f"configs: {', '.join(config_names())}",
            "python cli.py fit --help lists every option (it takes some seconds); each command has its --help.",
        ]
    )


def config_names(folders: Sequence[str] = ("",)) -> list[str]:
    """Names of the configs in these folders of configs/, as ``--config`` takes them."""
    files = [path for folder in folders for path in (CONFIGS / folder).glob("*.yaml")]
    return sorted(str(path.relative_to(CONFIGS)) for path in files)


def find_config(name: str) -> Path:
    """The file of ``--config NAME``: the path as given, else a file of configs/, its data/ or its overlays/.

    Raises:
        UsageError: where there is none; suggests the nearest name.
    """
    folders = ("", "data", "overlays")
    for candidate in [Path(name), *(CONFIGS / folder / (name + end) for folder in folders for end in ("", ".yaml"))]:
        if candidate.is_file():
            return candidate.resolve()
    known = config_names(folders)
    spelled = {form: config for config in known for form in (config, config.removesuffix(".yaml"), Path(config).name)}
    near = difflib.get_close_matches(name, spelled, n=1)
    hint = f"did you mean {spelled[near[0]]}?" if near else f"there are {', '.join(known) or 'none yet'}"
    raise UsageError(f"--config {name}: no such file, and none of this name in configs/; {hint}")


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a config file.

    Raises:
        UsageError: if it is not YAML or not a mapping; names file and line.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}: line {mark.line + 1}" if mark else str(path)
        raise UsageError(f"{where}: not readable as YAML ({getattr(error, 'problem', None) or error})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected keys such as model, data and trainer, found {content!r}")
    # A file that describes one class, as those of configs/data do, is the datamodule itself.
    return {"data": content} if "class_path" in content else content


def check_order(configs: Iterable[Path], contents: Iterable[dict[str, Any]]) -> None:
    """Refuse options of a class that no config has named yet.

    Raises:
        UsageError: an overlay stands before the config it is laid over, or alone.
    """
    known: set[str] = set()
    for path, content in zip(configs, contents, strict=True):
        for key in ("model", "data"):
            if _names_class(content, key):
                known.add(key)
            elif content.get(key) and key not in known:
                raise UsageError(
                    f"{path} sets options of {key}, but no {key}.class_path is known yet; give it after the config it "
                    f"is laid over: --config NAME --config {path.name}"
                )


def group_options(tokens: Iterable[str]) -> list[Option]:
    """The command line cut before every word that begins with a dash and is not a number."""
    groups: list[list[str]] = []
    for token in tokens:
        is_option = token.startswith("-") and not token.lstrip("-.")[:1].isdigit()
        if is_option or not groups:
            groups.append([token])
        else:
            groups[-1].append(token)
    return [tuple(group) for group in groups]


def option_key(option: Option) -> str:
    """What an option sets: ``--model.init_args.lr=1`` and ``--model.lr 1`` are the same."""
    return option[0].partition("=")[0].removesuffix("+").replace(".init_args", "")


def asks_for_help(options: Iterable[Option]) -> bool:
    """Whether the full parser is to print its options, or those of a class, and end."""
    return any(option[0] in ("-h", "--help") or option[0].partition("=")[0].endswith(".help") for option in options)


@dataclass(frozen=True)
class Arguments:
    """A command line, its configs found and its run named.

    Args:
        subcommand: a key of `SUBCOMMANDS`, or ``inspect``.
        given: every option but the configs.
        configs: config files, in order.
        contents: of the configs, a file of one class as the value of ``data``.
        name: of the run.
        runs: the folder of all runs.
        resume: whether to continue the run.
    """

    subcommand: str
    given: tuple[Option, ...]
    configs: tuple[Path, ...]
    name: str
    runs: Path
    resume: bool
    contents: tuple[dict[str, Any], ...] = field(repr=False)

    @classmethod
    def read(cls, words: Sequence[str]) -> "Arguments":
        """Read the words after ``cli.py``.

        Raises:
            UsageError: unknown subcommand, config not found or not readable, no config, a name that is no folder name.
            SystemExit: ``--help``, once the usage is printed.
        """
        if not words or words[0] in ("-h", "--help"):
            print(usage())
            raise SystemExit(0)
        subcommand, options = words[0], group_options(words[1:])
        if subcommand not in (*SUBCOMMANDS, "inspect", "oracle"):
            commands = [*SUBCOMMANDS, *COMMANDS]
            raise UsageError(f"'{subcommand}' is not one of {', '.join(commands)}{suggestion(subcommand, commands)}")
        given = tuple(option for option in options if option_key(option) not in ("--config", "-c"))
        runs = Path(_last_value(given, "--runs") or "runs")
        name = _last_value(given, "--name")
        configs = [find_config(_value(option)) for option in options if option not in given]
        contents = [read_config(path) for path in configs]
        name = name or next((content["name"] for content in reversed(contents) if "name" in content), None)
        name = str(name or (configs[0].stem if configs else "none"))
        if subcommand == "fit" and "WANDB_SWEEP_ID" in os.environ:  # one command trains many runs
            name += f"-{os.environ.get('WANDB_RUN_ID', 'sweep')}"
        if Path(name).name != name or name.startswith("."):
            raise UsageError(f"--name is '{name}', expected a folder name, without '/' and not beginning with a dot")
        resume = any(option_key(option) == "--resume" for option in given)
        if resume and (subcommand != "fit" or _last_value(given, "--ckpt_path")):
            raise UsageError("--resume is for fit, and goes on from the run's last checkpoint, not from --ckpt_path")
        _check_resumed(given, runs / name)
        own = runs / name / "config.yaml"
        inspected = subcommand == "inspect" and configs  # a file of data alone is all that is asked for
        if own.is_file() and not inspected and not any(_names_class(content, "model") for content in contents):
            configs, contents = [own.resolve(), *configs], [read_config(own), *contents]
        own_files = any(option_key(option) == "--data.path" for option in given)
        if not configs and not asks_for_help(given) and not (subcommand == "oracle" and own_files):
            known = ", ".join(config_names())
            about, near = f"there is no run {runs / name} to take a config from, and ", run_suggestion(runs / name)
            needs = f"{subcommand} needs --config NAME, for example one of: {known}"
            raise UsageError(needs if name == "none" else f"{about}{needs}{near}")
        check_order(configs, contents)
        return cls(subcommand, given, tuple(configs), name, runs, resume, tuple(contents))

    @property
    def own_files(self) -> bool:
        """Whether files of the user's own are to be predicted: ``predict --data.path FILE``."""
        named = any(option_key(option) == "--data.path" for option in self.given)
        return named and self.subcommand in ("predict", "oracle")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.runs / self.name

    def kept(self) -> list[Option]:
        """The options that the run was started with and that are not given anew.

        A resumed run keeps them all, the other subcommands keep those of the model, which has to fit its checkpoint.
        """
        if self.subcommand == "fit" and not self.resume:
            return []
        anew = {option_key(option) for option in self.given} | {"--config", "--name"}
        kept = [option for option in recorded_options(self.folder / "config.yaml") if option_key(option) not in anew]
        return [option for option in kept if self.subcommand == "fit" or option_key(option).split(".")[0] == "--model"]

    def words(self) -> list[str]:
        """The command line for the full parser: configs first, so that options win wherever they were typed."""
        resolved = (self.folder / "config.yaml").resolve() in self.configs  # holds the options of the first start
        options = [*([] if resolved else self.kept()), *self.given]
        options += [] if asks_for_help(self.given) else [("--name", self.name)]  # nothing may follow --model.help CLASS
        return [self.subcommand, *self._config_words(), *chain.from_iterable(options)]

    def _config_words(self) -> Iterable[str]:
        """Each config; where a run is used on other data than its mixture, what its annotated faces were cut by too.

        The parser keeps what a config said of data, such as its size, where a later one names another class with that
        option. A `Mixture` has it in the settings of its annotated faces.
        """
        by_option = any(option_key(option) in ("--data", "--data.class_path") for option in self.given)
        for place, (path, content) in enumerate(zip(self.configs, self.contents, strict=True), 1):
            yield f"--config={_as_config(path)}"
            other = by_option or self.own_files or any(_names_class(later, "data") for later in self.contents[place:])
            if self.subcommand in AFTER_FIT and other and (labelled := _labelled(path, content)):
                yield f"--config={json.dumps({'data': labelled})}"
        if self.own_files:
            yield f"--config={json.dumps({'data': {'class_path': OWN_FILES}})}"

    def command(self) -> str:
        """The command that repeats this run from its beginning, for the first line of its config."""
        own = self.folder / "config.yaml"
        configs: list[Option] = []
        for path in self.configs:
            first = [option for option in recorded_options(own) if option_key(option) == "--config"]
            configs += first if path == own.resolve() else [("--config", str(path))]
        now = [option for option in self.given if option_key(option) not in ("--resume", "--name")]
        words = chain.from_iterable([*configs, *self.kept(), *now, ("--name", self.name)])
        return shlex.join([*COMMAND, self.subcommand, *words]).replace("\n", " ")


def recorded_options(config: Path) -> list[Option]:
    """The options in the first line of a run's config, where `Arguments.command` stands; none where it does not."""
    if not config.is_file():
        return []
    with config.open() as file:
        line = file.readline().removeprefix("# ")
    return group_options(shlex.split(line)[3:]) if line.startswith(shlex.join(COMMAND)) else []


def _names_class(content: dict[str, Any], key: str) -> bool:
    """Whether a config says which class ``model`` or ``data`` is, rather than some of its options."""
    value = content.get(key)
    return "class_path" in value if isinstance(value, dict) else value is not None


def _labelled(path: Path, content: dict[str, Any]) -> Any:
    """The settings of the annotated faces of a config whose data is a `Mixture`; None of others."""
    data = content.get("data")
    if isinstance(data, str) and (path.parent / data).is_file():
        data = read_config(path.parent / data).get("data")
    labelled = (data.get("init_args") or {}).get("labelled") if isinstance(data, dict) else None
    return labelled if isinstance(labelled, dict) else None


def _as_config(path: Path) -> str:
    """What the parser takes as ``--config``: a file, or a mapping in JSON where the file is the datamodule alone."""
    is_data = "class_path" in yaml.safe_load(path.read_text())
    return json.dumps({"data": str(path)}) if is_data else str(path)


def _check_resumed(options: Iterable[Option], folder: Path) -> None:
    """Refuse ``--resume`` of a run that has not begun: a misspelt name would begin another.

    ``--resume auto`` is for jobs of a cluster, which are started any number of times by one command.
    """
    for option in options:
        if option_key(option) != "--resume":
            continue
        if option not in (("--resume",), ("--resume", "auto"), ("--resume=auto",)):
            raise UsageError(f"{' '.join(option)}: --resume takes no value, or auto; --name says which run")
        if option == ("--resume",) and not has_begun(folder):
            raise UsageError(
                f"there is no run {folder} to resume; begin it without --resume, or with --resume auto, which "
                f"continues a run where there is one{run_suggestion(folder)}"
            )


def _value(option: Option) -> str:
    head, separator, tail = option[0].partition("=")
    values = [tail, *option[1:]] if separator else list(option[1:])
    if len(values) != 1 or not values[0]:
        raise UsageError(f"{head} takes one value, found {len(values)}: '{' '.join(option)}'")
    return values[0]


def _last_value(options: Iterable[Option], key: str) -> str | None:
    values = [_value(option) for option in options if option_key(option) == key]
    return values[-1] if values else None
