"""``python cli.py profile``: where the time of a training goes, and what it would do on many GPUs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callbacks.arguments import Arguments, Option, UsageError, group_options, option_key
from callbacks.profile.assumptions import OPTIONS, Assumptions, read_assumptions
from callbacks.profile.fitting import measure_fit

USAGE = f"""usage: python cli.py profile --config NAME [--option VALUE]

Begins the training of a config in order to measure it: the loader alone, by number of workers; the steps of each
phase, taken apart; their floating-point operations and memory; what processes send each other. From this and from
assumptions on the machines it derives when loading starves a GPU, which batch fits, and how efficient many GPUs are.
runs/NAME/profile/ gets profile.html and profile.json; the run itself is not touched. All other options are those of
fit: with --trainer.devices 2 communication is that of the training.

  --steps N            steps that are timed (default 20)
  --warmup N           steps before them (default 5)
  --workers 0,1,2      numbers of loading processes (default: up to the cores, and the config's own)
  --measured FILE      derive from a profile.json, such as one from a machine with a GPU, and measure nothing

assumed, where the plan is for machines that are not at hand:
{"".join(f"  {o:<20} {each.metadata['meaning']} (default {each.default:g}){chr(10)}" for o, each in OPTIONS.items())}"""
OWN = ("--steps", "--warmup", "--workers", "--measured", *OPTIONS)
REFUSED = {
    "--resume": "it measures a training from its beginning",
    "--ckpt_path": "it measures a training from its beginning",
}


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``profile``.

    Raises:
        UsageError: one sentence for a mistake.
    """
    if not words or {"-h", "--help"} & set(words):
        print(USAGE, end="")
        return
    own, fit = _sorted(words)
    assumed = read_assumptions({key: value for key, value in own.items() if key in OPTIONS})
    options: dict[str, Any] = {"steps": _number(own, "--steps", 20, 2), "warmup": _number(own, "--warmup", 5, 1)}
    if "--workers" in own:
        options["workers"] = _numbers(own["--workers"])
    if "--measured" in own:
        if fit:
            raise UsageError(f"--measured measures nothing, so {fit[0][0]} does nothing; leave one of them out")
        file = Path(own["--measured"])
        _write(file.parent, _read(file), assumed)
        return
    arguments = Arguments.read(["fit", *(word for option in fit for word in option)])
    print(f"measuring the training of {arguments.name}", flush=True)
    measured = measure_fit(_words(arguments), options)
    sent = measured["communication"]
    if "seconds" not in sent:
        from callbacks.profile.communication import between_two

        print("sums over two processes of this machine", flush=True)
        sent |= between_two(sent["gradient_bytes"])
    measured["run"] |= {"name": arguments.name, "command": arguments.command().replace(" fit ", " profile ", 1)}
    _write(arguments.folder / "profile", measured, assumed)


def _write(folder: Path, measured: dict[str, Any], assumed: Assumptions) -> None:
    """Derive, print the table, and write the files."""
    from callbacks.profile.page import write_page
    from callbacks.profile.plan import derive
    from callbacks.profile.table import print_table

    derived = derive(measured, assumed)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "measured": measured,
        "assumed": {option: value for option, value, _ in assumed.told},
        "derived": derived,
    }
    partial = folder / "profile.partial"
    partial.write_text(json.dumps(figures, indent=1))
    partial.replace(folder / "profile.json")
    print_table(measured, derived)
    print(f"profile: {write_page(folder / 'profile.html', measured, assumed, derived)}")


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text())["measured"])
    except FileNotFoundError:
        raise UsageError(f"--measured {file}: no such file; profile --config NAME writes one") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--measured {file}: no profile.json, expected one that profile has written") from None


def _sorted(words: Sequence[str]) -> tuple[dict[str, str], list[Option]]:
    """The command's own options with their values, and those of fit."""
    own: dict[str, str] = {}
    fit = []
    for option in group_options(words):
        key = option_key(option)
        if key in REFUSED:
            raise UsageError(f"profile takes no {key}: {REFUSED[key]}; leave it out")
        if key in OWN:
            values = [*option[0].partition("=")[2:], *option[1:]]
            values = [value for value in values if value]
            if len(values) != 1:
                raise UsageError(f"{key} takes one value, found {len(values)}: '{' '.join(option)}'")
            own[key] = values[0]
        else:
            fit.append(option)
    return own, fit


def _number(own: dict[str, str], key: str, default: int, least: int) -> int:
    value = own.get(key, str(default))
    if not value.isdigit() or int(value) < least:
        raise UsageError(f"{key} is '{value}', expected a whole number from {least} on")
    return int(value)


def _numbers(text: str) -> list[int]:
    if not all(part.isdigit() for part in text.split(",")):
        raise UsageError(f"--workers is '{text}', expected numbers of loading processes such as 0,1,2,4")
    return sorted({int(part) for part in text.split(",")})


def _words(arguments: Arguments) -> list[str]:
    """The words of fit: the configs that were found, and all options but those that say where the run is."""
    given = [option for option in arguments.given if option_key(option) not in ("--runs", "--name")]
    configs = [f"--config={path}" for path in arguments.configs]
    return [*configs, *(word for option in given for word in option), f"--name={arguments.name}"]
