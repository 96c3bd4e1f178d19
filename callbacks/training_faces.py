"""How many faces a run is trained on, and of which data."""

from typing import Any

from lightning import Callback


class TrainingFaces(Callback):
    """Prints at the beginning of a training how many faces there are."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """``39 faces for training and 60 without labels, 1 for validation``."""
        (train, validation), others = trainer.datamodule.fit_counts(), _others(trainer.datamodule)
        without = f" and {sum(others.values()):,} without labels" if others else ""
        pl_module.print(f"{train:,} faces for training{without}, {validation:,} for validation")


def trained_on(data: Any) -> str:
    """``my_faces train (39 faces) and others (60 faces without labels)``, once the training faces are read."""
    others = _others(data)
    found = f"{getattr(data, 'labelled', data).train_title} ({data.fit_counts()[0]:,} faces)"
    return found + (f" and {', '.join(others)} ({sum(others.values()):,} faces without labels)" if others else "")


def _others(data: Any) -> dict[str, int]:
    """Of a `Mixture`, how many faces without labels there are by title."""
    counts: dict[str, int] = {}
    for place, part in enumerate(getattr(data, "unlabelled", []), 1):
        counts[part.train_title] = counts.get(part.train_title, 0) + len(data.mixed.parts[place])
    return counts
