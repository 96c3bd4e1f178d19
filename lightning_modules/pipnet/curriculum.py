"""The rounds of self-training and their tasks (Jin et al. 2021, section 3.3). A task is the stride of a score map."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Rounds:
    """A round that is supervised, number 0, then one for each task; all of the same number of epochs.

    Args:
        stride: of the network.
        tasks: at which strides the pseudo-labels of round 1, 2, ... teach.
        epochs: of a round.
    """

    stride: int
    tasks: tuple[int, ...]
    epochs: int

    @property
    def count(self) -> int:
        """How many rounds there are, the supervised one included."""
        return 1 + len(self.tasks)

    def number(self, epoch: int) -> int:
        """The round that an epoch is in; ``count`` beyond the last one."""
        return min(epoch // self.epochs, self.count)

    def task(self, number: int) -> int:
        """The task of a round, which is the stride itself where no pseudo-label teaches."""
        return self.tasks[number - 1] if number else self.stride

    def share_done(self, epoch: int) -> float:
        """The share of its round's epochs that are over when an epoch begins."""
        return epoch % self.epochs / self.epochs

    def begins(self, epoch: int) -> bool:
        """Whether an epoch is the first of its round."""
        return epoch % self.epochs == 0

    def labelled_after(self, epoch: int) -> int | None:
        """The round whose pseudo-labels are made at the end of an epoch, None at most epochs."""
        following = self.number(epoch + 1)
        return following if self.begins(epoch + 1) and following < self.count else None


def rounds(max_epochs: int | None, stride: int, tasks: tuple[int, ...]) -> Rounds:
    """The rounds of a training.

    Raises:
        ValueError: its epochs cannot be shared out among the rounds.
    """
    count = 1 + len(tasks)
    if max_epochs is None or max_epochs < 1 or max_epochs % count:
        nearest = count * max(1, round((max_epochs or 0) / count))
        raise ValueError(
            f"trainer.max_epochs is {max_epochs}, expected a multiple of {count}, for a supervised round and one for "
            f"each of {len(tasks)} tasks (model.init_args.tasks), all of the same length; set it to {nearest}, "
            f"{nearest // count} a round"
        )
    return Rounds(stride, tasks, max_epochs // count)


def check_tasks(tasks: tuple[int, ...], stride: int) -> None:
    """Refuse tasks that are no curriculum.

    Raises:
        ValueError: none, one that is no power of 2 times the stride, harder before easier ones, or another end.
    """
    found = f"model.init_args.tasks is {list(tasks)}"
    if not tasks:
        raise ValueError(f"{found}, expected the strides of at least one round, such as [{stride}]")
    for task in tasks:
        times = task // stride
        if task != times * stride or times < 1 or times & (times - 1):
            raise ValueError(
                f"{found}, but {task} is not the network's stride {stride} (model.init_args.stride) times 1, 2, 4, ..."
            )
    for before, after in pairwise(tasks):
        if after > before:
            raise ValueError(
                f"{found}, where {after} follows {before}; expected easy tasks before hard ones: no stride above the "
                "one before it"
            )
    if tasks[-1] != stride:
        raise ValueError(f"{found}, expected the network's stride {stride} (model.init_args.stride) at its end")
