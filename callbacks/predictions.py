"""The landmarks that ``predict`` finds, as a CSV file."""

import csv
from pathlib import Path
from typing import Any

from lightning import Callback

from callbacks.ranks import from_all_ranks
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder, note
from callbacks.trained_settings import Changed


class Predictions(Callback):
    """Writes ``predictions/<stem>.csv``: file, index, x0, y0, ... in pixels of the original image, mean confidence.

    A file is a path below the data's root, whatever that was called and from wherever it was given; a file that is not
    below it is named as the data names it. The index is that of the face in the split. The stem is `result_stem`'s.

    Args:
        run: the run's folder.
        changed: what is done otherwise than in training (`result_changes`).
    """

    def __init__(self, run: RunFolder, changed: Changed) -> None:
        self.run, self.changed = run, changed
        self.rows: list[tuple[int, list[float], float]] = []  # index, coordinates, confidence

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Remember a batch."""
        landmarks, confidence = outputs["landmarks"].flatten(1), outputs["confidence"].mean(dim=1)
        self.rows += zip(outputs["index"].tolist(), landmarks.tolist(), confidence.tolist(), strict=True)

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the file, one row a face in the order of the split."""
        rows = {index: (points, confidence) for index, points, confidence in from_all_ranks(self.rows)}
        self.rows = []
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        files = data.test_faces.faces.image.tolist()
        part = None if len(rows) == len(files) else len(rows)
        stem = result_stem(self.run, data, trainer.ckpt_path, pl_module.trained_size, self.changed, faces=part)
        path = self.run.path / "predictions" / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        count = len(next(iter(rows.values()))[0]) // 2
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "index", *(f"{axis}{i}" for i in range(count) for axis in "xy"), "confidence"])
            for index, (points, confidence) in sorted(rows.items()):
                file_name = _below(getattr(data, "root", None), files[index])
                writer.writerow([file_name, index, *(f"{v:.3f}" for v in points), f"{confidence:.4f}"])
        note(f"landmarks of {len(rows)} faces are in {path}")


def _below(root: Path | None, path: str) -> str:
    return str(Path(path).relative_to(root)) if root and Path(path).is_relative_to(root) else path
