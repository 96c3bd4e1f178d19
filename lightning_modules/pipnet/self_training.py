"""PIPNet trained with labels and with pseudo-labels of its own, in rounds (Jin et al. 2021, section 3.3)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.batch import LandmarkBatch, MixedBatch
from lightning_modules.pipnet.curriculum import Rounds, check_tasks, rounds
from lightning_modules.pipnet.labelling import find
from lightning_modules.pipnet.module import PIPNet

FOLDER = "pseudo_labels"  # in the run's folder


class SelfTraining(PIPNet):
    """Self-training with curriculum as one training on a `Mixture` of faces with labels and others.

    The first round is supervised. At the end of each round but the last, the network finds the landmarks of all
    others, in clean crops: the pseudo-labels of the next round, kept in ``pseudo_labels/round_<number>.npz`` in the
    run's folder. In that round labelled faces teach as ever and the others at the round's task, a stride: a coarser
    one than the network's asks only for the landmark's cell on a coarser score map, which is easier to get right.

    All rounds take ``trainer.max_epochs`` / (1 + number of tasks) epochs, and the schedule of the learning rate is that
    of a round.

    Args:
        num_landmarks: N.
        tasks: a round for each; the default is self-training with curriculum for stride 32. Plain self-training is
            ``[32, 32, 32]``.
        from_scratch: whether each round begins with new weights (of ImageNet if ``pretrained``), as in the released
            code; else it continues with those of the round before, as the optimiser does with its state.
        options: see `PIPNet`.

    Raises:
        ValueError: tasks that are no curriculum, data that has no faces without labels, a number of epochs that does
            not share out among the rounds, a crop that the coarsest task does not divide.
    """

    takes_unlabelled = True
    round_seed: Tensor  # () int64, of the new weights of rounds: travels in the checkpoint

    def __init__(
        self,
        num_landmarks: int,
        tasks: tuple[int, ...] = (128, 64, 32, 32, 32),
        from_scratch: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(num_landmarks, **options)
        self.tasks, self.from_scratch = tuple(tasks), from_scratch
        check_tasks(self.tasks, self.network.stride)
        self.register_buffer("round_seed", torch.randint(2**62, ()))
        self.rounds = Rounds(self.network.stride, self.tasks, epochs=1)  # until the trainer is known
        self._epochs_before: int | None = None  # of a round, in the checkpoint that is resumed from
        self._tasks_before: tuple[int, ...] = ()  # in that checkpoint
        self._reload = 0  # the trainer's own reload_dataloaders_every_n_epochs
        self._told: dict[str, float] = {}  # of labels that were found before the first epoch, which logs it

    @property
    def data(self) -> Any:
        """The `Mixture` that is trained on."""
        trainer: Any = self.trainer
        return trainer.datamodule

    def setup(self, stage: str) -> None:
        """Lay out the rounds."""
        super().setup(stage)
        if stage != "fit":
            return
        trainer: Any = self.trainer
        if trainer.fast_dev_run:
            self.rounds = Rounds(self.network.stride, (), epochs=1)
        else:
            self.rounds = rounds(trainer.max_epochs, self.network.stride, self.tasks)
        if self.data.size % max(self.tasks):
            coarsest = max(self.tasks)
            raise ValueError(
                f"data.init_args.labelled.init_args.size is {self.data.size}, expected a multiple of {coarsest}, the "
                "coarsest of model.init_args.tasks (and the same for each of data.init_args.unlabelled)"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record what rounds there are."""
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {"epochs_a_round": self.rounds.epochs, "tasks": list(self.tasks)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember what rounds there were."""
        super().on_load_checkpoint(checkpoint)
        self._epochs_before = checkpoint.get("epochs_a_round")
        self._tasks_before = tuple(checkpoint.get("tasks", ()))

    def configure_optimizers(self) -> Any:
        """Take back the pseudo-labels of the round that a run is resumed in; and as `BackboneDetector`.

        What is refused here, where a checkpoint is loaded and nothing written yet, leaves the run as it was.

        Raises:
            ValueError: rounds had another number of epochs, or those that are over another task.
            FileNotFoundError, ValueError: the file is not there or not of these faces.
        """
        trainer: Any = self.trainer
        if trainer.fast_dev_run:  # which checks a mixed batch, whose others have no labels
            return super().configure_optimizers()
        number = self.rounds.number(self.data.first_epoch)
        self._check_rounds(number)
        self.data.labelled_only = number == 0
        if 0 < number < self.rounds.count:
            file = self.file(number - 1 if self._unlabelled_round else number)
            if number > 1 or not self._unlabelled_round:
                self.data.pseudo_label(self.data.read_pseudo_labels(file))
            if not self._unlabelled_round:
                self.print(f"round {number} of {self.rounds.count - 1} goes on with the pseudo-labels in {file}")
        return super().configure_optimizers()

    def _check_rounds(self, number: int) -> None:
        """Whether the rounds of the run that is resumed are those of this config, but for rounds to come."""
        if self._epochs_before not in (None, self.rounds.epochs):
            raise ValueError(
                f"trainer.max_epochs is {self.trainer.max_epochs}, which makes rounds of {self.rounds.epochs} epochs, "
                f"but those of this run have {self._epochs_before}; set it to {self._epochs_before * self.rounds.count}"
            )
        begun = self._tasks_before[: max(0, number - self.rounds.begins(self.data.first_epoch))]
        if begun != self.tasks[: len(begun)]:
            raise ValueError(
                f"model.init_args.tasks is {list(self.tasks)}, but rounds of this run had the tasks {list(begun)}; "
                "only tasks of rounds to come can be changed"
            )

    @property
    def _unlabelled_round(self) -> int:
        """The round that a run is resumed at the beginning of, where it was the end of that run; else 0."""
        number = self.rounds.labelled_after(self.data.first_epoch - 1)
        return number if number and not self.file(number).is_file() else 0

    def on_fit_start(self) -> None:
        """Make the pseudo-labels of a task that was added to a run which had ended, by its last weights."""
        super().on_fit_start()
        trainer: Any = self.trainer
        self._reload = trainer.reload_dataloaders_every_n_epochs
        if number := self._unlabelled_round:
            self._told = self._label(number)

    def on_train_epoch_start(self) -> None:
        """Begin a round with new weights."""
        trainer: Any = self.trainer
        trainer.reload_dataloaders_every_n_epochs = self._reload  # see `on_train_epoch_end`
        number = self.rounds.number(self.current_epoch)
        if self.rounds.begins(self.current_epoch):
            if number and self.from_scratch:
                self._start_afresh(number)
            self._tell_of_round(number)
        told = {"train/round": float(number), "train/task": float(self.rounds.task(number)), **self._told}
        self.log_dict(told, on_step=False, on_epoch=True, sync_dist=True)
        self._told = {}

    def _tell_of_round(self, number: int) -> None:
        first, last = self.current_epoch, self.current_epoch + self.rounds.epochs - 1
        epochs = f"epochs {first} to {last}" if last > first else f"epoch {first}"
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        taught = f"pseudo-labels at stride {self.rounds.task(number)}" if number else "labelled faces only"
        self.print(f"round {number} of {self.rounds.count - 1}, {epochs}: {taught}, learning rate {rate:g} at first")

    def _start_afresh(self, number: int) -> None:
        """New weights, the same on all ranks and after a resume, and an optimiser without memory."""
        network = self.network
        with torch.random.fork_rng(devices=[]):  # timm draws weights before it reads others
            torch.default_generator.manual_seed(int(self.round_seed) + number)
            fresh = network.anew()
            if self.pretrained:
                fresh.backbone.load_imagenet()
        network.load_state_dict(fresh.state_dict())
        for optimizer in self.trainer.optimizers:
            optimizer.state.clear()

    def learning_rate_factor(self, epoch: int) -> float:
        """What the learning rate of an epoch is multiplied by; each round has the whole schedule."""
        return self.schedule(self.rounds.share_done(epoch))

    def phases(self) -> dict[str, int]:
        """See `LandmarkModule`: steps of the first round take as long, on faces that are all labelled."""
        return {"labelled faces and others": self.rounds.epochs}

    def training_step(self, batch: LandmarkBatch, batch_idx: int) -> Tensor:
        """Losses of labelled faces at the network's stride and of the others at the round's task."""
        mixed: MixedBatch = batch  # type: ignore[assignment]
        stride, task = self.network.stride, self.rounds.task(self.rounds.number(self.current_epoch))
        features = self.network.features(batch["image"])
        return self.loss(features, batch["landmarks"], torch.where(mixed["labelled"], stride, task), task)

    def on_train_epoch_end(self) -> None:
        """Make the pseudo-labels of the next round, before the checkpoint is written that it would be resumed from."""
        super().on_train_epoch_end()
        number = self.rounds.labelled_after(self.current_epoch)
        if number is None:
            return
        self.log_dict(self._label(number), sync_dist=True)
        trainer: Any = self.trainer
        trainer.reload_dataloaders_every_n_epochs = 1  # the next epoch's loader is one that has these labels

    def _label(self, number: int) -> dict[str, float]:
        """Make the pseudo-labels of a round; what is to be logged of them."""
        mixed = self.data.mixed
        others = len(mixed) - mixed.num_labelled
        self.print(f"round {number}: finding the landmarks of {others} faces without labels")
        before = torch.from_numpy(mixed.pseudo_labels)
        labels = find(self, self.data)
        if self.trainer.is_global_zero:
            self.data.write_pseudo_labels(self.file(number), labels.landmarks.numpy(), labels.confidence.numpy())
        self.data.pseudo_label(labels.landmarks.numpy())
        self.data.labelled_only = False
        told = labels.figures(before)
        moved = told.get("pseudo/moved")
        self.print(
            f"round {number}: pseudo-labels of {others} faces, mean confidence {told['pseudo/confidence']:.3f}, the "
            f"least sure tenth below {told['pseudo/confidence_low']:.3f}, "
            + (f"moved by {moved:.2f} % of the crop's side since the last round, " if moved is not None else "")
            + f"kept in {self.file(number)}"
        )
        return told

    def file(self, number: int) -> Path:
        """The pseudo-labels of a round."""
        return Path(self.trainer.default_root_dir, FOLDER, f"round_{number}.npz")
