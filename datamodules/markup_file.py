"""Markups by name: the built-in ones, and the user's own from a YAML file."""

import difflib
from pathlib import Path
from typing import Any

import yaml

from datamodules.markup import BOX_NORMALIZERS, MARKUPS, Markup, flip_of


def load_markup(name: str) -> Markup:
    """A markup by name, or the user's own from a YAML file (README, "Your own landmarks").

    Raises:
        FileNotFoundError, ValueError: one sentence that names the file and the key.
    """
    if name in MARKUPS:
        return MARKUPS[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        near = difflib.get_close_matches(name, MARKUPS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"data.init_args.markup is '{name}', expected a .yaml file or one of: {', '.join(MARKUPS)}{meant}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"markup file {path} not found; built-in markups: {', '.join(MARKUPS)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    return _from_mapping(path, content)


def _from_mapping(path: Path, content: Any) -> Markup:
    keys = {"name", "num_landmarks", "flip_pairs", "normalizers", "parts", "edges"}
    if not isinstance(content, dict) or not {"name", "num_landmarks"} <= content.keys():
        raise ValueError(f"{path}: expected a mapping with at least 'name' and 'num_landmarks'")
    if unknown := content.keys() - keys:
        raise ValueError(f"{path}: unknown key '{sorted(map(str, unknown))[0]}', expected {', '.join(sorted(keys))}")
    count = content["num_landmarks"]
    if type(count) is not int or count < 1:
        raise ValueError(f"{path}: num_landmarks is {count!r}, expected a whole number of at least 1")

    def landmarks(key: str, value: Any, length: int | None = None) -> tuple[int, ...]:
        fits = isinstance(value, list) and value and len(value) == (length or len(value))
        if not fits or any(type(i) is not int or not 0 <= i < count for i in value):
            raise ValueError(
                f"{path}: {key} has {value!r}, expected a list of {length or 'one or more'} landmarks, "
                f"numbered 0 to {count - 1}"
            )
        return tuple(value)

    def entries(key: str, kind: type, layout: str) -> Any:
        value = content.get(key, kind())
        if not isinstance(value, kind):
            raise ValueError(f"{path}: {key} is {value!r}, expected {layout}")
        return value

    pairs = [landmarks("flip_pairs", pair, 2) for pair in entries("flip_pairs", list, "a list of pairs of landmarks")]
    paired = [i for pair in pairs for i in pair]
    if repeated := [i for i in paired if paired.count(i) > 1]:
        raise ValueError(f"{path}: flip_pairs names landmark {repeated[0]} twice, expected each landmark at most once")
    normalizers = entries("normalizers", dict, "names, each with two lists of landmarks")
    for name, groups in normalizers.items():
        if name in BOX_NORMALIZERS:
            raise ValueError(f"{path}: normalizers has '{name}', which every markup has already; choose another name")
        if not isinstance(groups, list) or len(groups) != 2:
            raise ValueError(f"{path}: normalizers: {name} is {groups!r}, expected two lists of landmarks")
    parts = entries("parts", dict, "names, each with a list of landmarks")
    edges = entries("edges", list, "a list of pairs of landmarks")
    return Markup(
        name=str(content["name"]),
        num_landmarks=count,
        flip=flip_of(count, pairs),
        normalizers={
            str(name): (landmarks(f"normalizers: {name}", first), landmarks(f"normalizers: {name}", second))
            for name, (first, second) in normalizers.items()
        },
        parts={str(name): landmarks(f"parts: {name}", part) for name, part in parts.items()},
        edges=tuple((first, last) for first, last in (landmarks("edges", edge, 2) for edge in edges)),
    )
