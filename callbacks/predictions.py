"""The landmarks that ``predict`` finds, as a CSV file."""

import csv
from collections.abc import Sequence
from typing import Any

from lightning import Callback, LightningModule

from callbacks.ranks import from_all_ranks
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder, note


class Predictions(Callback):
    """Writes ``predictions/<stem>.csv``: file, index, x0, y0, ... in pixels of the original image, mean confidence.

    The stem is `result_stem`'s.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.rows: list[tuple[int, list[float], float]] = []  # index, coordinates, confidence

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Remember a batch."""
        landmarks, confidence = outputs["landmarks"].flatten(1), outputs["confidence"].mean(dim=1)
        self.rows += zip(outputs["index"].tolist(), landmarks.tolist(), confidence.tolist(), strict=True)

    def on_predict_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Write the file, one row a face in the order of the split."""
        rows = {index: (points, confidence) for index, points, confidence in from_all_ranks(self.rows)}
        self.rows = []
        if not trainer.is_global_zero:
            return
        files: Sequence[str] = trainer.predict_dataloaders.dataset.faces.image
        part = None if len(rows) == len(files) else len(rows)
        stem = result_stem(self.run, trainer.datamodule, trainer.ckpt_path, faces=part)
        path = self.run.path / "predictions" / f"{stem}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        count = len(next(iter(rows.values()))[0]) // 2
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "index", *(f"{axis}{i}" for i in range(count) for axis in "xy"), "confidence"])
            for index, (points, confidence) in sorted(rows.items()):
                writer.writerow([files[index], index, *(f"{v:.3f}" for v in points), f"{confidence:.4f}"])
        note(f"landmarks of {len(rows)} faces are in {path}")
