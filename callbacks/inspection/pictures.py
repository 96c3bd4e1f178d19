"""Every image of a split decoded once, and what is kept of it: size, a hash of its pixels, or why it cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

Integers = NDArray[np.int64]
AT_ONCE = 16  # images that a process decodes before it reports


@dataclass
class Pictures:
    """The images of M faces.

    Args:
        width, height: (M,) in pixels, 0 where the image cannot be read.
        content: (M,) a hash of size and pixels; faces of equal images share it.
        problem: what is wrong with an image, by the first row that uses it.
    """

    width: Integers
    height: Integers
    content: Integers
    problem: dict[int, str] = field(default_factory=dict)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which of the images (M,) could be read."""
        return self.width > 0


class _Looks(Dataset[tuple[int, int, int, int, str]]):
    def __init__(self, dataset: Any, rows: Integers) -> None:
        self.dataset, self.rows = dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, int, int, int, str]:
        try:
            image = self.dataset.read(int(self.rows[index]))
        except (OSError, ValueError) as error:
            return index, 0, 0, 0, str(error)
        height, width = image.shape[:2]
        digest = blake2b(np.asarray(image).tobytes(), digest_size=8, salt=f"{width}x{height}".encode()).digest()
        return index, width, height, int.from_bytes(digest, signed=True), ""


def look_at(dataset: Any, num_workers: int, advance: Callable[[int], None]) -> Pictures:
    """Decode each image of a dataset once, however many faces it has, in ``num_workers`` processes.

    Args:
        dataset: has ``faces`` and gives the image of a row by ``read``.
        num_workers: processes beside this one; 0 for none.
        advance: told how many images are done.
    """
    _, first, of_face = np.unique(dataset.faces.image, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as the annotations list them: a video is then read from its beginning to its end
    looks = _Looks(dataset, first[order])
    seen = np.zeros((len(first), 3), np.int64)
    problem: dict[int, str] = {}
    loader: Any = DataLoader(looks, batch_size=AT_ONCE, num_workers=num_workers, collate_fn=list)
    done = 0
    for batch in loader:
        for index, *values, text in batch:
            seen[order[index]] = values
            if text:
                problem[int(first[order[index]])] = text
        advance(done := done + len(batch))
    width, height, content = seen[of_face.ravel()].T
    return Pictures(width, height, content, problem)
