"""The results of ``test``: a table beside the mean-shape predictor, errors by landmark and by face, drawings."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from callbacks.closed_pipes import leave_closed_pipes
from callbacks.overlays import best_median_worst, draw_overlays
from callbacks.ranks import from_all_ranks
from callbacks.report.further import number_text
from callbacks.result_meaning import further_meaning, meaning
from callbacks.result_names import result_stem
from callbacks.result_tables import (
    MEAN_SHAPE,
    MODEL,
    Row,
    curve_rows,
    face_numbers,
    face_rows,
    landmark_rows,
    members_of,
    subset_row,
    write_rows,
)
from callbacks.run_folder import RunFolder
from callbacks.trained_settings import Changed
from callbacks.weights_and_biases import wandb_runs
from datamodules.batch import LandmarkBatch
from lightning_modules.further import Table as FurtherTable
from lightning_modules.metrics import AccuracyByLandmark, face_metrics, face_tables, point_errors

HEADINGS = {  # of what is printed
    "nme": "NME %",
    "fr10": "FR10 %",
    "fr10_landmarks": "FR10\nlandmarks %",
    "auc10": "AUC10",
    "mean_shape_nme": "mean\nshape\nNME %",
    "mean_shape_fr10": "mean\nshape\nFR10 %",
    "mean_shape_auc10": "mean\nshape\nAUC10",
}


class Results(Callback):
    """Writes the results of a test below ``test/``, in files whose names begin with `result_stem`.

    - ``.csv``: NME, FR10 (of faces), FR10 of landmarks (share of single landmarks whose error exceeds 0.10 of the
      normaliser), all in percent, AUC10 in [0, 1], Point-Var in percent squared (`point_variance`), and failure rates
      at other thresholds (`FAILURE_RATES`), of all faces and by subset.
    - ``_ced.csv``: the cumulative error distribution: the share, in [0, 1], of faces whose NME, and of single landmarks
      whose error, is at most a threshold in percent.
    - ``_landmarks.csv``: error and FR10 of each landmark, and its place on the mean face, in shares of the crop's side.
    - ``_faces.csv``: NME and shares of failed landmarks of each face, the worst first.
    - ``_overlays.png``: drawings of some.
    - tables and pictures that the method alone has (`LandmarkModule.test_further`).
    - ``.json``: what the numbers mean, the epoch and step that the weights are of, what is done otherwise than in
      their training, whatever else the method logged, and, where the data declares ``radii``, the share of faces, in
      percent, in which each landmark is within them (`meaning`).

    The mean shape is that of the training faces' crops: the error of a predictor that looks at no image, on the same
    faces, box and normaliser. It is left out where the module was never trained.

    Args:
        run: the run's folder.
        changed: what is done otherwise than in training (`result_changes`).
        drawn: faces drawn: a quarter the best, a quarter about the median, half the worst.
    """

    def __init__(self, run: RunFolder, changed: Changed, drawn: int = 16) -> None:
        self.run, self.changed, self.drawn = run, changed, drawn
        # Of each face its index, `face_numbers`, normaliser and subsets
        self.faces: list[tuple[int, dict[str, float], float, tuple[int, ...]]] = []
        self.moment: tuple[int, int] | None = None

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Note which weights are measured; a training under way may have replaced the file by the end."""
        self.moment = (checkpoint["epoch"], checkpoint["global_step"]) if "global_step" in checkpoint else None

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with empty metrics."""
        names = trainer.datamodule.subset_names
        predictors = [MODEL, MEAN_SHAPE] if bool(pl_module.mean_shape.any()) else [MODEL]
        self.metrics = {predictor: face_metrics(names, True).to(pl_module.device) for predictor in predictors}
        self.tables = {predictor: face_tables().to(pl_module.device) for predictor in predictors}
        self.within = {radius: AccuracyByLandmark().to(pl_module.device) for radius in trainer.datamodule.radii}
        self.faces = []

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: LandmarkBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the rows of a batch."""
        if outputs is None:  # frames of which none counts
            return
        batch = outputs["faces"]
        truth, norm, index, subsets = batch["landmarks"], batch["norm"], batch["index"], batch["subsets"]
        side = batch["image"].shape[-1]
        found = {
            MODEL: pl_module.in_data_markup(outputs["prediction"].landmarks),
            MEAN_SHAPE: pl_module.mean_landmarks(side).expand_as(truth),
        }
        for predictor in self.metrics:
            self.metrics[predictor].update(found[predictor], truth, norm, index, subsets)
            self.tables[predictor].update(found[predictor], truth, norm, index, subsets)
        for radius, accuracy in self.within.items():
            accuracy.update(found[MODEL], truth, radius.in_input(batch["crop"], side), index, subsets)
        numbers = face_numbers(point_errors(found[MODEL], truth, norm, index))
        self.faces += zip(index.tolist(), numbers, (norm / side).tolist(), members_of(subsets), strict=True)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the table and write the files."""
        values = {predictor: metrics.compute() for predictor, metrics in self.metrics.items()}
        tables = {predictor: metrics.compute() for predictor, metrics in self.tables.items()}
        within = {radius.title: accuracy.compute().tolist() for radius, accuracy in self.within.items()}
        faces = {index: row for index, *row in from_all_ranks(self.faces)}
        further = pl_module.test_further(trainer.datamodule.test_faces)
        if not trainer.is_global_zero:
            return
        data, dataset = trainer.datamodule, trainer.datamodule.test_faces
        numbers = {index: row for index, (row, _, _) in faces.items()}
        nme = {index: row["nme"] for index, row in numbers.items()}
        sizes = {"full": len(faces)}
        for subset, name in enumerate(data.subset_names):
            sizes[name] = sum(subset in members for _, _, members in faces.values())
        part = None if len(faces) == len(dataset) else len(faces)
        trained_size, normalizer = pl_module.trained_size, data.normalizer
        name = result_stem(self.run, data, trainer.ckpt_path, trained_size, self.changed, normalizer, part)
        self.stem = stem = self.run.path / "test" / name
        stem.parent.mkdir(parents=True, exist_ok=True)
        rows = [subset_row(name, size, values) for name, size in sizes.items()]
        write_rows(_file(stem, ".csv"), [{**row, "normalizer": data.normalizer, "box": data.box} for row in rows])
        curves = curve_rows(tables)
        write_rows(_file(stem, "_ced.csv"), curves)
        mean_face = None
        if MEAN_SHAPE in tables:
            mean_face = (pl_module.mean_landmarks(data.size) + 0.5) / data.size
        write_rows(_file(stem, "_landmarks.csv"), landmark_rows(tables, mean_face))
        listed = face_rows(dataset.faces, numbers)
        write_rows(_file(stem, "_faces.csv"), listed)
        for name, table in further.tables.items():
            write_rows(_file(stem, f"_{name}.csv"), table.rows)
        for name, picture in further.pictures.items():
            picture.image.save(_file(stem, f"_{name}.png"))
        drawn = best_median_worst(nme, self.drawn)
        with trainer.precision_plugin.forward_context():
            sheet = draw_overlays(pl_module, dataset, drawn, data.markup.edges)
        sheet.save(_file(stem, "_overlays.png"))
        for record in wandb_runs(trainer):
            from callbacks.wandb_results import log_results  # W&B takes a second to import

            log_results(record, stem, rows, curves, listed, drawn, sheet, further)
        norm = sum(share for _, share, _ in faces.values()) / len(faces)
        self.meaning = meaning(self.run, trainer, pl_module, self.moment, len(faces), norm, drawn, within)
        self.meaning |= further_meaning(further)
        title = f"{self.run.name} on {data.measured_on}: NME {data.normalizer}, box {data.box}"
        title += "".join(f", {key.partition('.')[2]} {values['tested']}" for key, values in self.changed.items())
        if part:
            title += f", {part} of {len(dataset)} faces"
        others = [f"_{name}.csv" for name in further.tables] + [f"_{name}.png" for name in further.pictures]
        ends = ", ".join(["_ced.csv", "_landmarks.csv", "_faces.csv", *others, "_overlays.png"])
        files = f"{_file(stem, '.csv')}, and beside it {ends} and .json"
        shares = [f"{sum(share) / len(share):.2f} % of landmarks within {name}" for name, share in within.items()]
        leave_closed_pipes()  # the files that are still to be written are worth more than what nobody reads
        printed = [further_table(table) for table in further.tables.values() if table.printed]
        Console().print(result_table(title, rows), *shares, *printed, files, sep="\n", soft_wrap=True)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what the numbers mean; only now is there what the module itself logged at the end."""
        if not trainer.is_global_zero:
            return
        logged = {key.removeprefix("test/"): float(value) for key, value in trainer.callback_metrics.items()}
        method = {key: value for key, value in logged.items() if key not in self.metrics[MODEL]}
        about = {**self.meaning, "changed": self.changed, "method": method}
        _file(self.stem, ".json").write_text(json.dumps(about, indent=1))
        if self.moment:
            epoch, step = self.moment
            for record in wandb_runs(trainer):  # Lightning has logged the test as one of epoch 0 and step 0
                record.summary.update({"epoch": epoch, "trainer/global_step": step})


def _file(stem: Path, end: str) -> Path:
    return stem.with_name(stem.name + end)  # a stem has dots of its own


def further_table(further: FurtherTable) -> Table:
    """What is printed of a table that a method alone has."""
    table = Table(title=further.title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in further.printed:
        text = isinstance(further.rows[0][column], str)
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    for row in further.rows:
        cells = (row[column] for column in further.printed)  # intervals are for the report: lines are short here
        table.add_row(*(cell if isinstance(cell, str) else number_text(cell) for cell in cells))
    return table


def result_table(title: str, rows: list[Row]) -> Table:
    """What is printed of the rows of `subset_row`."""
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)  # fits 80 columns
    table.add_column("subset", no_wrap=True)
    shown = [key for key in rows[0] if key in HEADINGS]
    for heading in ["faces", *(HEADINGS[key] for key in shown)]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row[key]:.3f}" if key.endswith("auc10") else f"{row[key]:.2f}" for key in shown]
        table.add_row(row["subset"], str(row["faces"]), *cells)
    return table
