"""Landmark discovery in two steps (Rahaman et al. 2021, arXiv:2104.02925)."""

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from datamodules.batch import LandmarkBatch
from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.further import Further
from lightning_modules.heatmaps import barycentre
from lightning_modules.processes import Draws, rank_and_size
from lightning_modules.two_step.appearance import Appearance
from lightning_modules.two_step.collapse import Collapse, advice
from lightning_modules.two_step.contrastive import contrastive_loss
from lightning_modules.two_step.deformations import RandomDeformation
from lightning_modules.two_step.features import load_features
from lightning_modules.two_step.losses import distributions, diversity_loss, equivariance_loss, variance_loss
from lightning_modules.two_step.matching import features_at
from lightning_modules.two_step.measured import Measured, regression_faces
from lightning_modules.two_step.networks import FeatureNetwork, HeatmapHead
from lightning_modules.two_step.pictures import pictures
from lightning_modules.two_step.probe import Ridge

MANY = 0.2  # share of the landmarks whose collapse is worth a sentence
ProbeSplit = Literal["training", "validation"]


class Discovered(NamedTuple):
    """What is found in B images without labels."""

    landmarks: Tensor  # (B, K, 2) in input pixels
    mass: Tensor  # (B, K, H, W) their distributions


class Discovery(LandmarkModule):
    """Learns features of pixels by contrast, then a detector of landmarks on them by equivariance; no labels are used.

    The first ``contrastive_epochs`` are step 1, the others step 2. With none the detector is trained on features that
    were trained before (``features``), or, end to end, together with them. What is tested and predicted are annotated
    landmarks, which a ridge regression tells from the discovered ones: it is fitted on labelled training faces before
    each validation. No loss looks at a label (crops around true landmarks and the choice of ``best.ckpt`` do).

    Args:
        num_landmarks: N, annotated landmarks of the data, which the regression tells.
        discovered: K, landmarks to discover.
        channels: D, of the features.
        widths: of the feature network's blocks, from fine to coarse.
        width: of the detector's blocks.
        blocks: of the detector.
        contrastive_epochs: of step 1.
        features: a checkpoint of `Discovery` to take the feature network from.
        freeze_features: whether step 2 leaves the features as they are, as in the paper.
        points: of each image whose features are compared in step 1.
        temperature: of the contrastive loss.
        first: deformations of step 1.
        second: deformations of step 2.
        appearance: how the second view looks otherwise in both steps.
        patch: side in pixels of the patches over which landmarks are to differ.
        diversity: weight of that loss, where the equivariance has 1.
        variance: weight of the heatmaps' variance.
        probe: the regression.
        probe_faces: faces it is fitted on, evenly out of all; None is all.
        probe_split: faces it is fitted on: of BBC Pose the paper takes the validation faces, whose error then says
            nothing, so test the last checkpoint.
        lr: Adam's learning rate in the first epoch of a step.
        decay: factor on it from epoch to epoch.
        weight_decay: Adam's (L2).

    Raises:
        ValueError: for options out of range.
    """

    probe_weights: Tensor  # (2 K, 2 N)

    def __init__(
        self,
        num_landmarks: int,
        discovered: int = 30,
        channels: int = 64,
        widths: tuple[int, ...] = (32, 64, 128, 128, 128),
        width: int = 64,
        blocks: int = 3,
        contrastive_epochs: int = 20,
        features: str | None = None,
        freeze_features: bool = True,
        points: int = 100,
        temperature: float = 0.1,
        first: RandomDeformation = RandomDeformation(
            rotation=15.0, scale=0.1, translation=0.05, zoom=0.2, elastic=0.02, elastic_cells=4
        ),
        second: RandomDeformation = RandomDeformation(rotation=15.0, elastic=0.02, elastic_cells=4),
        appearance: Appearance = Appearance(),
        patch: int = 8,
        diversity: float = 1.0,
        variance: float = 1.0,
        probe: Ridge = Ridge(),
        probe_faces: int | None = 1000,
        probe_split: ProbeSplit = "training",
        lr: float = 3e-4,
        decay: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        super().__init__(num_landmarks)
        self.save_hyperparameters()
        counts = {"discovered": (discovered, 1), "points": (points, 1), "patch": (patch, 1)}
        counts |= {"contrastive_epochs": (contrastive_epochs, 0), "channels": (channels, 1)}
        counts |= {"probe_faces": (1 if probe_faces is None else probe_faces, 1)}
        for key, (value, least) in counts.items():
            if value < least:
                raise ValueError(f"model.init_args.{key} is {value}, expected at least {least}")
        weights = {"lr": lr, "weight_decay": weight_decay, "diversity": diversity, "variance": variance}
        for key, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"model.init_args.{key} is {weight}, expected a number of at least 0")
        for key, factor in {"temperature": temperature, "decay": decay}.items():
            if not 0 < factor <= 1:
                raise ValueError(f"model.init_args.{key} is {factor}, expected a number above 0, at most 1")
        self.feature_network = FeatureNetwork(channels, widths)
        self.head = HeatmapHead(channels, discovered, width, blocks)
        self.discovered, self.patch, self.points, self.temperature = discovered, patch, points, temperature
        self.contrastive_epochs, self.features, self.freeze_features = contrastive_epochs, features, freeze_features
        self.first, self.second, self.appearance = first, second, appearance
        self.diversity, self.variance = diversity, variance
        self.probe, self.probe_faces, self.probe_split = probe, probe_faces, probe_split
        self.lr, self.decay, self.weight_decay = lr, decay, weight_decay
        self._collapse: Collapse | None = None  # of this epoch
        self._told = 0  # landmarks that had collapsed in the epoch before, where they were many
        self.features_used: str | None = None  # which those of another run are
        self.register_buffer("probe_weights", torch.zeros(2 * discovered, 2 * num_landmarks, dtype=torch.float64))

    def setup(self, stage: str) -> None:
        """Check the size of the data's images; and as `LandmarkModule`."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.feature_network.check_sides(data.size, data.size)
            if self.discovered > (patches := (-(-data.size // self.patch)) ** 2):
                raise ValueError(
                    f"model.init_args.discovered is {self.discovered}, but images of {data.size} pixels have {patches} "
                    f"patches of {self.patch}, and each landmark is to have one of its own; lower it, or patch"
                )
        super().setup(stage)

    def _check_labels(self, data: Any) -> None:
        if not data.num_landmarks:
            raise ValueError(
                f"{type(data).__name__} has no landmarks, by which what is discovered could be measured; set data to "
                "annotated faces, or to datamodules.mixture.Mixture of some and others"
            )

    def discover(self, image: Tensor) -> Discovered:
        """Landmarks of images (B, 3, H, W)."""
        return self.located(self.head(self.feature_network(image)))

    def located(self, heatmaps: Tensor) -> Discovered:
        """Landmarks of heatmaps (B, K, H, W) of the detector."""
        mass = distributions(heatmaps)
        return Discovered(barycentre(mass), mass)

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Annotated landmarks (B, N, 2) by the regression. Confidence is the mean peak of the discovered ones' mass."""
        return self._annotated(self.discover(image))

    def _annotated(self, found: Discovered) -> LandmarkPrediction:
        landmarks = self.probe.predict(found.landmarks, self.probe_weights, found.mass.shape[-1])
        confidence = found.mass.amax(dim=(2, 3)).mean(dim=1, keepdim=True).expand(-1, self.num_landmarks)
        return LandmarkPrediction(landmarks, confidence)

    @property
    def in_first_step(self) -> bool:
        """Whether this epoch is of step 1."""
        return self.current_epoch < self.contrastive_epochs

    def phases(self) -> dict[str, int]:
        """See `LandmarkModule`."""
        first = {"step 1, contrast": 0} if self.contrastive_epochs else {}
        return {**first, "step 2, equivariance": self.contrastive_epochs}

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """The loss of the step; other parameters take part with 0, which DistributedDataParallel waits for."""
        image = batch["image"]
        loss = self._contrast(image) if self.in_first_step else self._equivariance(image)
        self.log("train/loss", loss, prog_bar=True)
        return loss + 0 * _sum(self.head.parameters() if self.in_first_step else self.feature_network.parameters())

    def _contrast(self, image: Tensor) -> Tensor:
        draws, (height, width) = self._draws(image), image.shape[-2:]
        deformation = self.first.draw(draws, height, width)
        image = image.to(draws.dtype)
        other = self.appearance(deformation.warp(image)[0], draws)
        place = draws.rand(self.points, 2)
        points = place * place.new_tensor([width, height]) - 0.5
        moved = deformation.forward(points)
        known = deformation.inside(moved)
        one, two = self.feature_network(torch.cat([image, other])).chunk(2)
        here, there = features_at(one, points).flatten(0, 1), features_at(two, moved).flatten(0, 1)
        loss = contrastive_loss(here, there, known.flatten(), self.temperature)
        self.log("train/contrastive", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def _equivariance(self, image: Tensor) -> Tensor:
        draws, (height, width) = self._draws(image), image.shape[-2:]
        deformation = self.second.draw(draws, height, width)
        image = image.to(draws.dtype)
        other = self.appearance(deformation.warp(image)[0], draws)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_features):
            features = self.feature_network(torch.cat([image, other]))
        found = self.located(self.head(features))
        (here, there), side = found.landmarks.chunk(2), max(height, width)
        moved = deformation.forward(here)
        if self._collapse is None:
            self._collapse = Collapse(self.discovered, side, image.device)
        self._collapse.put(here, moved, there)
        parts = {
            "train/equivariance": equivariance_loss(moved, there, side),
            "train/diversity": diversity_loss(found.mass, self.patch),
            "train/variance": variance_loss(found.mass),
        }
        self.log_dict(parts, on_step=False, on_epoch=True, sync_dist=True)
        equivariance, diversity, variance = parts.values()
        return equivariance + self.diversity * diversity + self.variance * variance

    def _draws(self, image: Tensor) -> Draws:
        """For images (B, 3, H, W): the same numbers on however many processes a batch is."""
        generator = torch.Generator(image.device).manual_seed(self.shared_seed())
        return Draws(len(image), generator, *rank_and_size())

    def on_train_epoch_start(self) -> None:
        """Begin step 2 with an optimiser without memory, and say which step it is."""
        if self.current_epoch == self.contrastive_epochs:
            for optimizer in self.trainer.optimizers:
                optimizer.state.clear()
            how = "the features stay as they are" if self.freeze_features else "with the features"
            self.print(f"step 2 from epoch {self.current_epoch}: landmarks by equivariance, {how}")
        elif self.current_epoch == 0:
            self.print(f"step 1, epochs 0 to {self.contrastive_epochs - 1}: features by contrast")

    def on_train_batch_end(self, outputs: Any, batch: LandmarkBatch, batch_idx: int) -> None:
        """After an epoch, log how many landmarks have collapsed, and say what to change where they are many and more.

        Not in on_train_epoch_end: rank 0's progress bar has begun to gather the epoch's metrics by then.
        """
        if self._collapse is None or not self.trainer.is_last_batch:
            return
        found = self._collapse.found(lambda values: self.trainer.strategy.reduce(values, reduce_op="sum"))
        self._collapse = None
        counts = {"train/coincident": float(len(found.coincident)), "train/stuck": float(len(found.stuck))}
        self.log_dict(counts, on_step=False, on_epoch=True)
        if self.current_epoch == self.contrastive_epochs:
            return  # a detector has only begun to part its landmarks
        count, told = len(found.all), self._told
        self._told = count if count >= MANY * self.discovered else 0
        if self._told > told:
            for sentence in advice(found, self.discovered):
                self.print(f"collapse: {sentence}")

    def configure_optimizers(self) -> Any:
        """Adam with the paper's decay in each step; and features of another run where a training begins."""
        if self.features and not self.trainer.ckpt_path:
            self.features_used = load_features(self.feature_network, self.features)
            self.print(self.features_used)
        groups = [{"params": [*part.parameters()]} for part in (self.feature_network, self.head)]
        optimizer = torch.optim.Adam(groups, lr=self.lr, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [self._rate_of_features, self._rate_of_head])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record which features of another run were used; and as `LandmarkModule`."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["features_used"] = self.features_used

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep that record; and as `LandmarkModule`."""
        super().on_load_checkpoint(checkpoint)
        self.features_used = checkpoint.get("features_used")

    def _rate_of_features(self, epoch: int) -> float:
        """0 where they are frozen: Adam with weight decay would move them without a gradient."""
        if epoch < self.contrastive_epochs:
            return self.decay**epoch
        return 0.0 if self.freeze_features else self._rate_of_head(epoch)

    def _rate_of_head(self, epoch: int) -> float:
        return self.decay ** (epoch - self.contrastive_epochs) if epoch >= self.contrastive_epochs else 0.0

    def on_validation_start(self) -> None:
        """Fit the regression; and as `LandmarkModule`."""
        super().on_validation_start()
        trainer: Any = self.trainer
        if trainer.datamodule is not None and trainer.state.fn == "fit":
            self.fit_probe(trainer.datamodule)

    def fit_probe(self, data: Any) -> None:
        """Fit the regression on clean crops of labelled faces, each rank looking at its share of them."""
        faces = regression_faces(self, data, self.probe_faces)
        self.probe_weights.copy_(self.probe.fit(faces.found, faces.truth, data.size))

    def layers(self, image: Tensor) -> list[Tensor]:
        """Layers 1, 2, ... of the paper: the features, and what each block of the detector makes of them."""
        features = self.feature_network(image)
        return [features, *self.head.layers(features)]

    def on_test_start(self) -> None:
        """Get ready for what only this method measures; and as `LandmarkModule`."""
        super().on_test_start()
        self._measured = Measured(self)

    def test_faces(self, batch: LandmarkBatch) -> LandmarkPrediction:
        """Also what only this method measures; and as `LandmarkModule`."""
        prediction = self._annotated(self._measured.put(batch))
        self._score(self.test_metrics, batch, prediction)
        return prediction

    def test_further(self, dataset: Any) -> Further:
        """See `Measured` and `pictures`; and as `LandmarkModule`."""
        tables = {**super().test_further(dataset).tables, **self._measured.tables()}
        if not self.trainer.is_global_zero:
            return Further(tables)
        with self.trainer.precision_plugin.forward_context():
            return Further(tables, pictures(self, dataset))


def _sum(parameters: Iterable[nn.Parameter]) -> Tensor:
    return torch.stack([p.sum() for p in parameters]).sum()


# Checkpoints hold these among the hyperparameters; frozen dataclasses of numbers are safe to load.
torch.serialization.add_safe_globals([RandomDeformation, Ridge])
