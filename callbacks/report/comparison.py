"""Several runs: which of their tests can be compared, and what was configured differently."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from callbacks.report.bootstrap import Difference
from callbacks.report.bootstrap import differences as differences_by_face
from callbacks.report.charts import Chart
from callbacks.report.figures import compared_curves
from callbacks.report.files import Row
from callbacks.report.run import Like, Measurement, Run

NONE = "\u2013"  # a dash
LOWER_IS_BETTER = {"nme": True, "fr10": True, "fr10_landmarks": True, "auc10": False, "point_var": True}
FAILURE_RATES = (
    "fr08",
    "fr10",
    "fr05_landmarks",
    "fr08_landmarks",
    "fr10_landmarks",
    "fr15_landmarks",
    "fr20_landmarks",
)
VALIDATION = (
    "class_path",
    "root",
    "markup",
    "train",
    "box",
    "normalizer",
    "validation_fraction",
    "seed",
    "convert_to",
)


class Comparison:
    """Tests of the same data, box, normaliser and number of faces, at whatever input sizes.

    Args:
        like: what they have in common.
        tests: title of a run (with the variant of the test, if any) to its test.
        tones: and to its class of style.css.
    """

    def __init__(self, like: Like, tests: dict[str, Measurement], tones: dict[str, str]) -> None:
        self.like, self.tests, self.tones = like, tests, tones

    @property
    def alone(self) -> bool:
        """Whether there is nothing to compare with."""
        return len(self.tests) == 1

    @property
    def subsets(self) -> list[str]:
        """The subsets that all tests have."""
        names = [[str(row["subset"]) for row in test.subsets] for test in self.tests.values()]
        return [name for name in names[0] if all(name in others for others in names)]

    @property
    def numbers(self) -> list[str]:
        """The columns that all tests have; results made before there was Point-Var have none."""
        return [key for key in LOWER_IS_BETTER if all(key in test.full for test in self.tests.values())]

    @property
    def failure_rates(self) -> list[str]:
        """The columns of failure rates at all thresholds; none where a test was made before there were others."""
        has_all = all(key in test.full for key in FAILURE_RATES for test in self.tests.values())
        return list(FAILURE_RATES) if has_all else []

    def differences(self) -> dict[str, dict[str, Difference]]:
        """How each test but the first differs from it, by title; none where they do not tell their faces."""
        first, *others = self.tests
        found = {title: differences_by_face(self.tests[title].by_face, self.tests[first].by_face) for title in others}
        return found if all(found.values()) else {}

    def rows(self, subset: str = "full") -> dict[str, Row]:
        """The numbers of a subset by title."""
        return {title: next(row for row in test.rows if row["subset"] == subset) for title, test in self.tests.items()}

    def best(self, key: str, subset: str = "full") -> set[str]:
        """The titles of the tests with the best value; none where all are equal."""
        values = {title: row[key] for title, row in self.rows(subset).items()}
        best = min(values.values()) if LOWER_IS_BETTER.get(key, True) else max(values.values())
        titles = {title for title, value in values.items() if value == best}
        return titles if len(titles) < len(values) else set()

    def curves(self) -> list[Chart]:
        """The error curves of faces and of single landmarks."""
        if len(self.tests) < 2:
            return []
        charts = [compared_curves(self.tests, self.tones, landmarks) for landmarks in (False, True)]
        return [chart for chart in charts if chart]


def like_with_like(runs: Mapping[str, Run], tones: Mapping[str, str]) -> list[Comparison]:
    """The tests of runs (by title, as their tones) in groups that can be compared, those of most tests first."""
    groups: dict[Like, dict[str, Measurement]] = {}
    own: dict[str, str] = {}
    for name, run in runs.items():
        for test in run.measurements:
            title = f"{name} ({test.variant})" if test.variant else name
            groups.setdefault(test.like, {})[title] = test
            own[title] = tones[name]
    found = [Comparison(like, tests, own) for like, tests in groups.items()]
    return sorted(found, key=lambda comparison: -len(comparison.tests))


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Settings that differ: the dotted key, and the value of each run (a dash where it has none)."""
    flat = [dict(_flat(run.settings)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings if key != "name")
    values = {key: [_text(settings[key]) if key in settings else NONE for settings in flat] for key in keys}
    return [(key, row) for key, row in values.items() if len(set(row)) > 1]


def same_validation(runs: Sequence[Run]) -> bool:
    """Whether the validation errors of runs are of the same faces, box and normaliser."""
    values = [_labelled(run.settings.get("data") or {}) for run in runs]
    return all(v.get(key) == values[0].get(key) for v in values for key in VALIDATION)


def _labelled(data: dict[str, Any]) -> dict[str, Any]:
    """Class and options of a datamodule; of a mixture those of its labelled part, which it is validated on."""
    options: dict[str, Any] = data.get("init_args") or {}
    if "labelled" in options:
        return _labelled(options["labelled"])
    return {"class_path": data.get("class_path"), **options}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
