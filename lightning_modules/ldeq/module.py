"""LDEQ: landmarks as the equilibrium of an hourglass cell (Micaelli et al. 2023, arXiv:2304.00600)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from datamodules.batch import LandmarkBatch
from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.heatmaps import HeatmapLoss, barycentre, cell_to_pixel, pixel_to_cell, variance
from lightning_modules.ldeq.implicit import Equilibrium, Gradient, Implicit, SingleStep
from lightning_modules.ldeq.losses import MeanSquare, PointLoss
from lightning_modules.ldeq.network import STRIDE, Cell, Stem, initialize
from lightning_modules.ldeq.recurrence import EarlyStopping, Recurrence, warped
from lightning_modules.ldeq.solvers import Anderson, Map, Solution, Solver
from lightning_modules.ldeq.statistics import SolverStatistics
from lightning_modules.processes import rank_and_size

# Relative residual that the median step of an epoch may leave, by solve. Networks that learn leave up to 0.16 and 0.15
# (16 wide, hundreds of steps), larger ones 0.02 and 0.001 (64 wide, on 300-W). Untrained ones leave 0.6 to 0.9 on the
# way back at any temperature, and forward 0.3 to 0.5 in three iterations at temperature 1; at 2.5 maps are nearly flat,
# and forward residuals tell little.
DIVERGED = {"forward": 0.25, "backward": 0.5}
SETTLING = 100  # steps before either is judged; trained implicitly from the start, a cell contracts within 40 to 60


class LDEQ(LandmarkModule):
    """Landmark deep equilibrium model.

    The default widths are the round configuration closest to the paper's 21.8 M parameters (21.7 M); the widths of
    the released weights are not public. Optimiser, schedule, solver budgets and the gradient of the first epochs
    are ours: the paper does not give them.

    Args:
        num_landmarks: N, e.g. 98 on WFLW.
        injection_width: channels of the stem's output.
        width: channels of the hourglass at full resolution, w.
        width_step: channels it gains per level, i.
        depth: levels of the hourglass; the input's side must be divisible by 4 * 2 ** depth.
        groups: of the group norms; must divide every width.
        temperature: T of Eq. 3.
        extra_maps: maps the equilibrium carries beside the landmarks'.
        solver: of the forward pass, in training and evaluation.
        gradient: how training differentiates the equilibrium.
        early_gradient: the same for the first ``early_epochs``: an untrained cell does not converge, forward or
            backward, and a cheap gradient is then as good as any.
        early_epochs: epochs of ``early_gradient``.
        evaluation_iterations: forward budget of validation, test and prediction.
        evaluation_tolerance: relative residual at which these stop; None is the ``solver``'s.
        recurrence: what is made of the last frame's equilibrium in a video.
        compared: further recurrences that a test on videos measures beside it.
        loss: on the decoded points, or on the heatmaps, such as `lightning_modules.wasserstein_hrnet.Wasserstein`.
        lr: AdamW's peak learning rate, for the global batch (it is not rescaled with the number of GPUs).
        weight_decay: AdamW's.
        warmup: share of the training over which the learning rate rises; it then falls to zero along a cosine.

    Raises:
        ValueError: for widths that ``groups`` does not divide, or an input size that does not fit ``depth``.
    """

    def __init__(
        self,
        num_landmarks: int,
        injection_width: int = 256,
        width: int = 256,
        width_step: int = 28,
        depth: int = 4,
        groups: int = 4,
        temperature: float = 2.5,
        extra_maps: int = 0,
        solver: Solver = Anderson(max_iterations=6),
        gradient: Gradient = Implicit(),
        early_gradient: Gradient = SingleStep(),
        early_epochs: int = 2,
        evaluation_iterations: int = 10,
        evaluation_tolerance: float | None = None,
        recurrence: Recurrence = EarlyStopping(),
        compared: Sequence[Recurrence] = (),
        loss: PointLoss | HeatmapLoss = MeanSquare(),
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup: float = 0.1,
    ) -> None:
        super().__init__(num_landmarks)
        self.save_hyperparameters()
        self._check_options()
        self.maps = num_landmarks + extra_maps
        self.multiple = STRIDE * 2**depth
        self.stem = Stem(injection_width)
        self.cell = Cell(self.maps, injection_width, width, width_step, depth, groups, temperature)
        initialize(self)
        self.to(memory_format=torch.channels_last)  # 5 to 10 % faster convolutions on CPUs, more on GPUs
        self.solver, self.gradient = solver, gradient
        self.early_gradient, self.early_epochs = early_gradient, early_epochs
        self.evaluation_solver = replace(
            solver,
            max_iterations=evaluation_iterations,
            tolerance=solver.tolerance if evaluation_tolerance is None else evaluation_tolerance,
        )
        self.recurrence, self.compared = recurrence, tuple(compared)
        self.loss, self.lr, self.weight_decay, self.warmup = loss, lr, weight_decay, warmup
        self.statistics = SolverStatistics(self.evaluation_solver.tolerance)  # of validation or test
        self._solved: Solution | None = None  # the last forward solve
        self._backward_solutions: list[Solution] = []
        self._residuals: dict[str, list[Tensor]] = {solve: [] for solve in DIVERGED}  # of this epoch's training steps

    def _check_options(self) -> None:
        options = self.hparams
        least = {
            "injection_width": 4,
            "width": 1,
            "width_step": 0,
            "depth": 1,
            "groups": 1,
            "extra_maps": 0,
            "early_epochs": 0,
            "evaluation_iterations": 1,
            "lr": 0,
            "weight_decay": 0,
            "warmup": 0,
        }
        for key, value in least.items():
            if not options[key] >= value:
                raise ValueError(f"model.init_args.{key} is {options[key]}, expected at least {value}")
        for key in ("width", "width_step"):
            if options[key] % options["groups"]:
                raise ValueError(
                    f"model.init_args.{key} is {options[key]}, expected a multiple of groups ({options['groups']})"
                )
        if not options["temperature"] > 0:
            raise ValueError(f"model.init_args.temperature is {options['temperature']}, expected more than 0")
        if options["warmup"] > 1:
            raise ValueError(
                f"model.init_args.warmup is {options['warmup']}, expected a share of the training, at most 1"
            )

    def inject(self, image: Tensor) -> tuple[Map, Tensor]:
        """The map whose fixed point is sought, and zeros (B, K, h, w) to start from, for images (B, 3, H, W)."""
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"images are {width} x {height} pixels, expected sides divisible by {self.multiple}; set "
                "data.init_args.size to a multiple of it or lower model.init_args.depth"
            )
        x = self.stem(image)

        def cell(z: Tensor, rows: Tensor) -> Tensor:
            return self.cell(z, x if len(rows) == len(x) else x[rows])

        precision = torch.promote_types(x.dtype, torch.float32)  # the state stays precise under autocast
        shape = len(x), self.maps, height // STRIDE, width // STRIDE
        z0 = torch.empty(shape, dtype=precision, device=x.device, memory_format=torch.channels_last)
        return cell, z0.zero_()

    def decode(self, z: Tensor) -> Tensor:
        """Landmarks (B, N, 2) in input pixels: the barycentre (soft-argmax) of the landmarks' maps."""
        return cell_to_pixel(barycentre(z[:, : self.num_landmarks]), STRIDE)

    def predict(self, z: Tensor) -> LandmarkPrediction:
        """The reading of an equilibrium. Confidence is 1 / (1 + s^2), s the heatmap's spread in cells."""
        heatmaps = z[:, : self.num_landmarks]
        confidence = 1 / (1 + variance(heatmaps))
        return LandmarkPrediction(self.decode(z), confidence, heatmaps)

    def mass(self, prediction: LandmarkPrediction) -> Tensor | None:
        """All of the heatmaps, in (0, 1] and with a 1 each: their barycentre is read."""
        if prediction.heatmaps is None:
            return None
        return prediction.heatmaps / prediction.heatmaps.sum(dim=(-2, -1), keepdim=True)

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of uint8 images (B, 3, H, W), each solved from zeros, in float32 whatever the trainer's precision.

        bfloat16 cannot resolve a relative residual below about 0.01: the solver would spend all its iterations, and
        the landmarks would move by a fifth of a pixel.
        """
        with torch.autocast(image.device.type, enabled=False):
            f, z0 = self.inject(image)
            self._solved = self.evaluation_solver(f, z0)
            return self.predict(self._solved.image)

    def recurrences(self) -> dict[str, "LDEQ | Following"]:
        """See `LandmarkModule`."""
        others = {each.title: Following(self, each) for each in self.compared if each != self.recurrence}
        return {self.recurrence.title: self, **others}

    def track(
        self, frame: Tensor, state: Tensor | None, recurrence: Recurrence | None = None
    ) -> tuple[LandmarkPrediction, Tensor]:
        """A frame of each video, given the last frame's equilibrium (V, K, h, w); without one it is solved from zeros.

        ``recurrence`` says how; None is the module's.
        """
        # Not in inference mode: a recurrence may differentiate the cell.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(frame.device.type, enabled=False):
            f, z0 = self.inject(frame.clone())
            if state is None:
                z = self.evaluation_solver(f, z0).image
            else:
                last = state.clone(memory_format=torch.channels_last)
                z = (recurrence or self.recurrence)(f, last, self.evaluation_solver)
            return self.predict(z), z

    def moved_state(self, state: Tensor, move: Tensor, recurrence: Recurrence | None = None) -> Tensor:
        """The maps resampled, zero where the last crop did not see; see `LandmarkModule`."""
        return warped(state, move) if (recurrence or self.recurrence).warp else state

    def gradient_of(self, epoch: int) -> Gradient:
        """How this epoch differentiates the equilibrium."""
        return self.early_gradient if epoch < self.early_epochs else self.gradient

    def phases(self) -> dict[str, int]:
        """See `LandmarkModule`."""
        names = [f"{type(gradient).__name__} gradient" for gradient in (self.early_gradient, self.gradient)]
        if names[0] == names[1]:
            names = [f"{name}, {when}" for name, when in zip(names, ("early", "later"), strict=True)]
        return dict(zip(names, (0, self.early_epochs), strict=True)) if self.early_epochs else {names[1]: 0}

    def equilibrium(self, image: Tensor, epoch: int) -> Equilibrium:
        """The tracked equilibrium of images in training, by the gradient of this epoch."""
        f, z0 = self.inject(image)
        return self.gradient_of(epoch)(f, z0, self.solver)

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Loss of the decoded equilibrium; where a gradient unrolls, later steps weigh more (1, 2, 3, ...)."""
        found = self.equilibrium(batch["image"], self.current_epoch)
        losses = [self.loss_of(z, batch["landmarks"], batch["image"].shape[-1]) for z in found.states]
        weights = range(1, len(losses) + 1)
        loss = sum((w * value for w, value in zip(weights, losses, strict=True)), torch.zeros_like(losses[0]))
        loss = loss / sum(weights)
        self.log("train/loss", loss, prog_bar=True)
        if self.gradient_of(self.current_epoch).iterates(self.solver):
            self._log_training(found.solution)
        self._backward_solutions = found.backward
        return loss

    def loss_of(self, z: Tensor, landmarks: Tensor, size: int) -> Tensor:
        """Loss of heatmaps against landmarks (B, N, 2) in pixels of inputs whose side is ``size``."""
        if isinstance(self.loss, HeatmapLoss):
            maps = z[:, : self.num_landmarks]  # distributions but for their sums: a softmax of their logarithms is them
            maps = maps.float().clamp_min(torch.finfo(torch.float32).tiny).log()
            return self.loss.mean(maps, pixel_to_cell(landmarks, STRIDE))
        # A soft-argmax cannot leave the image; a landmark that augmentation moved out is sought at the border.
        return self.loss(self.decode(z) / size, landmarks.clamp(-0.5, size - 0.5) / size)

    def _log_training(self, solution: Solution) -> None:
        """Means over the epoch, and its worst residual."""
        self._residuals["forward"].append(solution.residual.mean())
        means = {
            "train/residual": solution.residual.mean(),
            "train/iterations": solution.iterations.float().mean(),
            "train/unconverged": (solution.residual > self.solver.tolerance).float().mean(),
        }
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True)
        worst = solution.residual.max()
        self.log("train/worst_residual", worst, on_step=False, on_epoch=True, reduce_fx="max", sync_dist=True)

    def on_after_backward(self) -> None:
        """Log how the backward solve fared."""
        for solution in self._backward_solutions:
            residual = solution.residual.mean()
            self._residuals["backward"].append(residual)
            self.log("train/backward_residual", residual, on_step=False, on_epoch=True, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Stop a run whose cell has no equilibrium left.

        Raises:
            ValueError: if the relative residuals of the epoch's steps show it; says which option to change.
        """
        steps, self._residuals = self._residuals, {solve: [] for solve in DIVERGED}
        if self.current_epoch < self.early_epochs or self.global_step < SETTLING:
            return
        for solve, residuals in steps.items():
            if not residuals:
                continue
            residual = torch.stack(residuals).median()  # a single step may overflow in 16 bits
            size = rank_and_size()[1]
            if size > 1:
                torch.distributed.all_reduce(residual)  # so that all processes stop, or none
                residual = residual / size
            if not residual <= DIVERGED[solve]:
                raise ValueError(
                    f"LDEQ found no equilibrium in epoch {self.current_epoch}: median relative residual of its {solve} "
                    f"solves {residual:.2f}, expected at most {DIVERGED[solve]}; lower model.init_args.lr, raise "
                    "model.init_args.early_epochs or model.init_args.solver.init_args.max_iterations, or raise "
                    "model.init_args.temperature"
                )

    def _evaluate(self, metrics: Any, batch: LandmarkBatch) -> LandmarkPrediction:
        prediction = super()._evaluate(metrics, batch)
        if self._solved is not None:
            self.statistics.update(self._solved, batch["index"])
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation faces, and how the solver fared."""
        super().on_validation_epoch_end()
        self._log_statistics("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test faces, and how the solver fared."""
        super().on_test_epoch_end()
        self._log_statistics("test")

    def _log_statistics(self, stage: str) -> None:
        # Values, not the object: it has four of them. They are of all processes' rows already, and the same on each.
        self.log_dict({f"{stage}/{key}": value for key, value in self.statistics.compute().items()})
        self.statistics.reset()

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises over ``warmup`` and falls along a cosine, a function of the step alone."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        steps = max(1, int(self.trainer.estimated_stepping_batches))

        def factor(step: int) -> float:
            rise = self.warmup * steps
            if step < rise:
                return 0.04 + 0.96 * step / rise
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise))))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Following(NamedTuple):
    """A module that follows videos by another recurrence than its own."""

    module: LDEQ
    recurrence: Recurrence

    def init_state(self) -> None:
        """See `LandmarkModule`."""

    def track(self, frame: Tensor, state: Tensor | None) -> tuple[LandmarkPrediction, Tensor]:
        """See `LandmarkModule`."""
        return self.module.track(frame, state, self.recurrence)

    def moved_state(self, state: Tensor, move: Tensor) -> Tensor:
        """See `LandmarkModule`."""
        return self.module.moved_state(state, move, self.recurrence)
