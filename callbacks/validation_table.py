"""What ``validate`` prints."""

from typing import Any

from lightning import Callback
from rich.console import Console
from torchmetrics import MetricCollection

from callbacks.ranks import from_all_ranks
from callbacks.result_tables import MEAN_SHAPE, MODEL, members_of, subset_row
from callbacks.results import further_table, result_table
from callbacks.run_folder import RunFolder
from datamodules.batch import LandmarkBatch
from lightning_modules.metrics import face_metrics
from lightning_modules.video.search import Chosen, write_filters


class ValidationTable(Callback):
    """Prints the table that `Results` prints of test faces, without the subsets of which there are no faces.

    Of validation videos, the filters that they choose are printed, and written for `test`.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.faces: list[tuple[int, tuple[int, ...]]] = []  # index, subsets
        self.mean_shape: MetricCollection | None = None  # where the module was trained

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with no face."""
        self.faces = []
        if bool(pl_module.mean_shape.any()):
            self.mean_shape = face_metrics(trainer.datamodule.subset_names).to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: LandmarkBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the faces of a batch, and measure the mean shape on them."""
        if outputs is None:  # frames of which none counts
            return
        batch = outputs["faces"]
        truth, norm, index, subsets = batch["landmarks"], batch["norm"], batch["index"], batch["subsets"]
        if self.mean_shape:
            mean = pl_module.mean_landmarks(batch["image"].shape[-1])
            self.mean_shape.update(mean.expand_as(truth), truth, norm, index, subsets)
        self.faces += zip(index.tolist(), members_of(subsets), strict=True)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Print; only now is there what the module logged."""
        values = {MODEL: {key.removeprefix("val/"): value for key, value in trainer.callback_metrics.items()}}
        if self.mean_shape:
            values[MEAN_SHAPE] = self.mean_shape.compute()
        faces, filters = dict(from_all_ranks(self.faces)), pl_module.tried_filters()
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        sizes = {"full": len(faces)}
        for subset, name in enumerate(data.subset_names):
            sizes[name] = sum(subset in members for members in faces.values())
        title = f"{self.run.name}, validation faces of {data.validated_on}: NME {data.normalizer}, box {data.box}"
        rows = [subset_row(name, size, values) for name, size in sizes.items() if size]
        Console().print(result_table(f"{title}, {len(faces)} faces", rows), soft_wrap=True)
        if filters:
            by = f"validation videos of {data.validated_on} ({filters.videos})"
            file = write_filters(self.run.path, Chosen(filters.chosen, by, pl_module.trained_step))
            Console().print(further_table(filters.table()), f"{file}, which test reads", sep="\n", soft_wrap=True)
