"""The results of ``test``: a table beside the mean-shape predictor, each face's error, drawings of predictions."""

import csv
from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.loggers import WandbLogger
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from callbacks.overlays import draw_overlays
from callbacks.ranks import from_all_ranks
from callbacks.result_names import result_stem
from callbacks.run_folder import RunFolder
from datamodules.batch import LandmarkBatch
from lightning_modules.metrics import CumulativeErrorDistribution, face_metrics, normalized_mean_error

MODEL, MEAN_SHAPE = "model", "mean_shape"
COLUMNS = {  # of the table: what it is headed for each predictor
    MODEL: {"nme": "NME %", "fr10": "FR10 %", "fr10_landmarks": "FR10\nlandmarks %", "auc10": "AUC10"},
    MEAN_SHAPE: {"nme": "mean\nshape\nNME %", "fr10": "mean\nshape\nFR10 %", "auc10": "mean\nshape\nAUC10"},
}


class Results(Callback):
    """Writes ``test/<stem>.csv`` and, with the same `result_stem`, ``_ced.csv``, ``_faces.csv`` and ``_overlays.png``.

    NME, FR10 (of faces) and FR10 of landmarks (share of single landmarks whose error exceeds 0.10 of the normaliser)
    are in percent, AUC10 is in [0, 1]. The cumulative error distribution is the share, in [0, 1], of faces whose NME
    is at most a threshold in percent.

    The mean shape is that of the training faces' crops: the error of a predictor that looks at no image, on the same
    faces, box and normaliser. It is left out where the module was never trained.

    Args:
        run: the run's folder.
        drawn: faces drawn, half of them the worst and half about the median.
    """

    def __init__(self, run: RunFolder, drawn: int = 16) -> None:
        self.run, self.drawn = run, drawn
        self.faces: list[tuple[int, float, tuple[int, ...]]] = []  # index, NME, subsets

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with empty metrics."""
        names = trainer.datamodule.subset_names
        predictors = [MODEL, MEAN_SHAPE] if bool(pl_module.mean_shape.any()) else [MODEL]
        self.metrics = {predictor: face_metrics(names).to(pl_module.device) for predictor in predictors}
        self.curves = {predictor: CumulativeErrorDistribution().to(pl_module.device) for predictor in predictors}
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
        truth, norm, index, subsets = batch["landmarks"], batch["norm"], batch["index"], batch["subsets"]
        mean = pl_module.in_data_markup(pl_module.mean_shape * batch["image"].shape[-1] - 0.5)
        found = {
            MODEL: pl_module.in_data_markup(outputs["prediction"].landmarks),
            MEAN_SHAPE: mean.expand_as(truth),
        }
        for predictor, metrics in self.metrics.items():
            metrics.update(found[predictor], truth, norm, index, subsets)
            self.curves[predictor].update(found[predictor], truth, norm, index, subsets)
        nme = normalized_mean_error(found[MODEL], truth, norm, index)
        members = [tuple(row.nonzero().flatten().tolist()) for row in subsets]
        self.faces += zip(index.tolist(), nme.tolist(), members, strict=True)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Print the table and write the files."""
        values = {predictor: metrics.compute() for predictor, metrics in self.metrics.items()}
        curves = {predictor: curve.compute() for predictor, curve in self.curves.items()}
        faces = {index: (nme, members) for index, nme, members in from_all_ranks(self.faces)}
        if not trainer.is_global_zero:
            return
        data, dataset = trainer.datamodule, trainer.test_dataloaders.dataset
        sizes = {"full": len(faces)}
        for subset, name in enumerate(data.subset_names):
            sizes[name] = sum(subset in members for _, members in faces.values())
        part = None if len(faces) == len(dataset) else len(faces)
        folder, stem = self.run.path / "test", result_stem(self.run, data, trainer.ckpt_path, data.normalizer, part)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_row(name, size, values) for name, size in sizes.items()]
        _write(folder / f"{stem}.csv", [{**row, "normalizer": data.normalizer, "box": data.box} for row in rows])
        _write(folder / f"{stem}_ced.csv", _curve(curves))
        order = sorted(faces, key=lambda index: -faces[index][0])
        _write(folder / f"{stem}_faces.csv", [_face(dataset.faces, index, faces[index][0]) for index in order])
        chosen = worst_and_median(order, self.drawn)
        with trainer.precision_plugin.forward_context():
            sheet = draw_overlays(pl_module, dataset, {index: faces[index][0] for index in chosen}, data.markup.edges)
        drawing = folder / f"{stem}_overlays.png"
        sheet.save(drawing)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(f"test/{stem}", [str(drawing)])
        title = f"{self.run.name} on {data.measured_on}: NME {data.normalizer}, box {data.box}"
        if part:
            title += f", {part} of {len(dataset)} faces"
        files = f"{folder / stem}.csv, {stem}_ced.csv, {stem}_faces.csv, {drawing.name}"
        Console().print(_table(title, rows), files, sep="\n", soft_wrap=True)


def worst_and_median(order: list[int], count: int) -> list[int]:
    """``count`` of the faces that ``order`` lists from worst to best: the worst, then those about the median."""
    worst, others = order[: count // 2], order[count // 2 :]
    start = max(0, min(len(order) // 2 - count // 4 - len(worst), len(others) - count // 2))
    return [*worst, *others[start : start + count // 2]]


def _row(subset: str, size: int, values: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
    suffix = "" if subset == "full" else f"/{subset}"
    row: dict[str, Any] = {"subset": subset, "faces": size}
    for predictor, metrics in values.items():
        for key in COLUMNS[predictor]:
            name = key if predictor == MODEL else f"{predictor}_{key}"
            row[name] = round(float(metrics[key + suffix]), 4)
    return row


def _curve(curves: dict[str, Tensor]) -> list[dict[str, float]]:
    """A row for each threshold, as the curves (P, 2) of all predictors have the same."""
    shares = {predictor: curve[:, 1].tolist() for predictor, curve in curves.items()}
    percent = (100 * curves[MODEL][:, 0]).tolist()
    return [
        {"threshold_percent": round(at, 4), **{predictor: round(share[i], 6) for predictor, share in shares.items()}}
        for i, at in enumerate(percent)
    ]


def _face(faces: Any, index: int, nme: float) -> dict[str, Any]:
    return {"index": index, "nme": round(nme, 4), "image": faces.image[index], "annotation": faces.where(index)}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)  # fits 80 columns
    headings = ["subset", "faces", *COLUMNS[MODEL].values()]
    if len(rows[0]) > len(headings):
        headings += COLUMNS[MEAN_SHAPE].values()
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "subset" else "right", no_wrap=True)
    for row in rows:
        cells = [f"{value:.3f}" if key.endswith("auc10") else f"{value:.2f}" for key, value in list(row.items())[2:]]
        table.add_row(row["subset"], str(row["faces"]), *cells)
    return table
