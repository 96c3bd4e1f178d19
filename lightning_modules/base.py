"""What every method shares: evaluation, prediction on images and video, and the check that model and data fit."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor

from datamodules.batch import LandmarkBatch, VideoBatch, counted_frames
from lightning_modules.further import Further
from lightning_modules.metrics import face_metrics
from lightning_modules.video.collected import CollectedVideos
from lightning_modules.video.evaluation import video_tables
from lightning_modules.video.filters import candidates
from lightning_modules.video.search import Tried, read_filters
from lightning_modules.video.tracking import in_image


class LandmarkPrediction(NamedTuple):
    """What a network says of B images with N landmarks each."""

    landmarks: Tensor  # (B, N, 2) in input pixels
    confidence: Tensor  # (B, N) in [0, 1], larger is surer; its scale differs between methods
    heatmaps: Tensor | None = None  # (B, N, h, w) where the method has them


class LandmarkModule(LightningModule):
    """A method: implement ``forward(image) -> LandmarkPrediction``, ``training_step`` and ``configure_optimizers``.

    The base evaluates, predicts, and runs video. The mean shape of the training faces travels in the checkpoint.

    Args:
        num_landmarks: N, which must be that of the data.
    """

    takes_unlabelled: ClassVar[bool] = False  # True where training_step takes a `MixedBatch`: it looks at ``labelled``
    mean_shape: Tensor  # (N, 2) in shares of the crop's side, so that it serves any input size

    def __init__(self, num_landmarks: int) -> None:
        super().__init__()
        if num_landmarks < 1:
            raise ValueError(f"model.init_args.num_landmarks is {num_landmarks}, expected at least 1")
        self.num_landmarks = num_landmarks
        self.register_buffer("mean_shape", torch.zeros(num_landmarks, 2))
        self.markup: str | None = None  # its name; None if the checkpoint is from elsewhere
        self.trained_size: int | None = None  # side of the images trained on; None likewise
        self.trained_box: str | None = None  # how their crops were cut; None likewise
        self.trained_step: int | None = None  # of the optimiser, that the loaded weights are of; None likewise
        self.box_margins: list[float] | None = None  # about landmarks' tight boxes: `LandmarkDataModule.box_margins`
        self.step_seed: int | None = None  # of this training batch, the same on all processes; `StepSeed` sets it
        self._map_weights: Tensor | None = None
        self.videos: CollectedVideos | None = None  # of this validation or test

    def setup(self, stage: str) -> None:
        """Check the landmark count, take the mean shape of the training faces, and make the metrics."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is None:
            if self.takes_unlabelled and stage == "fit":
                raise ValueError(
                    f"{type(self).__name__} learns from faces without labels too; give trainer.fit the datamodule "
                    "datamodules.mixture.Mixture"
                )
            return
        if stage == "fit":
            self._check_labels(data)
            self._check_count(data)
            self.markup = data.markup.name
            self.mean_shape.copy_(data.mean_shape())
            self.box_margins = data.box_margins()
        self.val_metrics = face_metrics(data.subset_names).clone(prefix="val/")
        self.test_metrics = face_metrics(data.subset_names, failure_rates=True).clone(prefix="test/")

    def _check_labels(self, data: Any) -> None:
        if not data.num_landmarks:
            raise ValueError(f"{type(data).__name__} has no landmarks to learn; set data to annotated faces")
        if getattr(data, "unlabelled", None) and not self.takes_unlabelled:
            raise ValueError(
                f"{type(data).__name__} trains on faces without labels too, of which {type(self).__name__} cannot "
                "learn; set data to what data.init_args.labelled is"
            )
        if self.takes_unlabelled and not getattr(data, "unlabelled", None):
            raise ValueError(
                f"{type(self).__name__} learns from faces without labels too, which {type(data).__name__} has not; set "
                "data to datamodules.mixture.Mixture"
            )

    def _check_count(self, data: Any) -> None:
        if data.num_landmarks != self.num_landmarks:
            raise ValueError(
                f"model.init_args.num_landmarks is {self.num_landmarks} but {type(data).__name__} has "
                f"{data.num_landmarks} landmarks a face; set model.init_args.num_landmarks to {data.num_landmarks}"
            )

    def on_validation_start(self) -> None:
        """Get ready for the data's markup."""
        self.videos = None
        self._meet_markup()

    def on_test_start(self) -> None:
        """Get ready for the data's markup."""
        self.videos = None
        self._meet_markup()

    def on_predict_start(self) -> None:
        """Get ready for the data's markup."""
        self._meet_markup()

    def _meet_markup(self) -> None:
        """Where the data is in another markup than the training was, find the map to it."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        self._map_weights = None
        if not data.num_landmarks:  # faces without annotation: the model's own landmarks are what is asked for
            return
        if self.markup in (None, data.markup.name):
            self._check_count(data)
            return
        self._map_weights = torch.from_numpy(data.map_from(self.markup).matrices).float()
        self.print(f"note: predicted landmarks are converted from {self.markup} to {data.markup.name}")

    def in_data_markup(self, landmarks: Tensor) -> Tensor:
        """Landmarks (..., N, 2) in input pixels as those (..., T, 2) of the data's markup.

        A sum of products: autocast would round a matrix product to bfloat16, half a pixel.
        """
        if self._map_weights is None:
            return landmarks
        weights = self._map_weights.to(landmarks.device).movedim(0, -1)  # (T, N, 2)
        # They apply from the image's corner: `MarkupMap.points`
        return (weights * (landmarks.float() + 0.5).unsqueeze(-3)).sum(dim=-2) - 0.5

    def mean_landmarks(self, side: int) -> Tensor:
        """The mean shape (T, 2) in input pixels and the data's markup, for inputs of this side."""
        return self.in_data_markup(self.mean_shape * side - 0.5)

    def shared_seed(self) -> int:
        """A seed of what is drawn about the samples of a training batch, the same on all processes."""
        return int(torch.randint(2**62, ())) if self.step_seed is None else self.step_seed

    def validation_step(self, batch: LandmarkBatch | VideoBatch, batch_idx: int) -> dict[str, Any] | None:
        """Metric rows of one batch, and what `test_step` returns; videos come where ``validate`` chooses filters."""
        return self._test(batch, lambda faces: self._evaluate(self.val_metrics, faces))

    def test_step(self, batch: LandmarkBatch | VideoBatch, batch_idx: int) -> dict[str, Any] | None:
        """Metric rows of one batch.

        Returns the ``faces`` (`LandmarkBatch`) that count and their ``prediction``, for callbacks that draw or save
        them; None where none counts.
        """
        return self._test(batch, self.test_faces)

    def test_faces(self, batch: LandmarkBatch) -> LandmarkPrediction:
        """Metric rows of some test faces, and what was found."""
        return self._evaluate(self.test_metrics, batch)

    def _test(self, batch: Any, test: Callable[[LandmarkBatch], LandmarkPrediction]) -> dict[str, Any] | None:
        """Test the faces of a batch, and collect its videos if it has any."""
        if "video" not in batch:
            return {"faces": batch, "prediction": test(batch)}
        faces = counted_frames(batch)
        prediction = test(faces) if len(faces["index"]) else None
        if self.videos is None:
            self.videos = CollectedVideos(self)
        self.videos.put(batch, self._landmarks_alone(batch, prediction))
        return None if prediction is None else {"faces": faces, "prediction": prediction}

    def _landmarks_alone(self, batch: VideoBatch, counted: LandmarkPrediction | None) -> Tensor:
        """Landmarks (V, T, N, 2) of all frames, each looked at alone, given those of the frames that count."""
        others = ~batch["valid"]
        found = batch["landmarks"].new_empty(*others.shape, self.num_landmarks, 2)
        if counted is not None:
            found[~others] = counted.landmarks.to(found.dtype)
        if others.any():
            found[others] = self(batch["image"][others]).landmarks.to(found.dtype)
        return found

    def _evaluate(self, metrics: Any, batch: LandmarkBatch) -> LandmarkPrediction:
        prediction: LandmarkPrediction = self(batch["image"])
        self._score(metrics, batch, prediction)
        return prediction

    def _score(self, metrics: Any, batch: LandmarkBatch, prediction: LandmarkPrediction) -> None:
        found = self.in_data_markup(prediction.landmarks)
        metrics.update(found, batch["landmarks"], batch["norm"], batch["index"], batch["subsets"])

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation faces."""
        # The objects, not their values: Lightning gathers and resets them; no mean of ranks' means is taken. Once an
        # epoch: each logging copies the list of rows of every metric, which a batch would make quadratic.
        self.log_dict(self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test faces."""
        self.log_dict(self.test_metrics)

    def test_further(self, dataset: Any) -> Further:
        """What is measured and drawn of videos, and by this method alone; all ranks call it at the end of a test."""
        if self.videos is None:
            return Further()
        trainer: Any = self.trainer
        chosen = read_filters(Path(trainer.default_root_dir))
        return Further(video_tables(self.videos, trainer.datamodule, chosen))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """``index`` (B,), ``landmarks`` (B, N, 2) in pixels of the original image, ``confidence`` (B, N).

        Nothing for a frame of the user's own files: `FilePredictions` follows the faces in it.
        """
        if not isinstance(batch, dict):
            return {}
        prediction: LandmarkPrediction = self(batch["image"])
        original = in_image(self.in_data_markup(prediction.landmarks), batch["crop"])
        return {"index": batch["index"], "landmarks": original, "confidence": prediction.confidence}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the markup, the input size and the box trained on, for whoever measures the weights on other data."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            checkpoint |= {"markup": self.markup, "input_size": int(data.size), "box": str(data.box)}
            checkpoint["box_margins"] = self.box_margins

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another network.

        Raises:
            ValueError: one sentence naming the file and the first weight that is missing, unknown or of another shape.
        """
        self.markup = checkpoint.get("markup", self.markup)
        self.trained_size, self.trained_box = checkpoint.get("input_size"), checkpoint.get("box")
        self.trained_step = checkpoint.get("global_step")
        self.box_margins = checkpoint.get("box_margins", self.box_margins)
        file = (self._trainer and self._trainer.ckpt_path) or "the checkpoint"
        if difference := first_difference(self.state_dict(), checkpoint["state_dict"]):
            raise ValueError(
                f"{file} is of another network: {difference}; give the options under model.init_args that it was "
                "trained with, or another checkpoint"
            )

    def mass(self, prediction: LandmarkPrediction) -> Tensor | None:
        """Heatmaps of a prediction as distributions (B, N, h, w) of sum 1, whose centres of mass are the landmarks.

        None where the method has none, or reads its landmarks off more than heatmaps. Methods that read barycentres
        say so by a `mass` of their own. This one is for those that read the largest value, whose heatmaps are not 0
        elsewhere: over 64 x 64 cells 0.005 would outweigh a peak of 1. What rises above a third of the largest value
        counts, by as much as it does, if it is no further off than a disc of all cells that do would reach, and one
        cell more: a single peak is whole, other peaks are out. A Gaussian's centre is met within a tenth of a cell.
        A heatmap without a value above 0 has the cell of its largest; one that is not finite is NaN.
        """
        if prediction.heatmaps is None:
            return None
        heatmaps = prediction.heatmaps.float()
        (height, width), device = heatmaps.shape[-2:], heatmaps.device
        peak, cell = heatmaps.flatten(-2).max(dim=-1, keepdim=True)  # (B, N, 1)
        peak = peak.unsqueeze(-1)
        above = (heatmaps - peak / 3).clamp_min(0)
        reach = ((above > 0).sum(dim=(-2, -1), keepdim=True) / math.pi).sqrt() + 1
        x, y = torch.arange(width, device=device) - cell % width, torch.arange(height, device=device) - cell // width
        away = x.square().unsqueeze(-2) + y.square().unsqueeze(-1)  # (B, N, h, w), squared
        mass = torch.where(peak <= 0, (away == 0).float(), above * (away <= reach.square()))
        return mass / mass.sum(dim=(-2, -1), keepdim=True)

    def tried_filters(self) -> Tried | None:
        """What filters do to the validation videos, if there are such; all ranks call it at the end of ``validate``."""
        if self.videos is None:
            return None
        filters = list(candidates())
        return Tried(filters, self.videos.errors(filters))

    def phases(self) -> dict[str, int]:
        """What kinds of training steps there are, by name the first epoch of each: ``profile`` measures each kind."""
        return {"training": 0}

    def recurrences(self) -> Mapping[str, Any]:
        """What follows videos otherwise than frame by frame, by its title in tables; it has the methods below."""
        return {}

    def init_state(self) -> Any:
        """State of a video before its first frame; None for methods that look at each frame alone."""
        return None

    def track(self, frame: Tensor, state: Any) -> tuple[LandmarkPrediction, Any]:
        """One frame (V, 3, H, W) of V videos and the state for the next, a tensor (V, ...) or None.

        The default ignores the state. `lightning_modules.video.tracking.Tracker` calls it over whole videos.
        """
        return self(frame), state

    def moved_state(self, state: Tensor, move: Tensor) -> Tensor:
        """The state (V, ...) as the crops of the next frame see it; the default leaves it alone.

        ``move`` (V, 2, 3) leads from their pixels to those of the crops that it was found in.
        """
        return state


def first_difference(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first weight of a checkpoint that is missing, unknown or of another shape, in words; '' where all fit."""
    for key in [*own, *found]:
        here, there = (tuple(state[key].shape) if key in state else "missing" for state in (own, found))
        if here != there:
            return f"{key} is {there} in it but {here} in this model"
    return ""
