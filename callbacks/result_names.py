"""Names of the files of `test` and `predict`: they hold all that changes a result, so that none replaces another."""

import re
from pathlib import Path
from typing import Any

from callbacks.checkpoints import BEST
from callbacks.run_folder import RunFolder


def result_stem(
    run: RunFolder,
    data: Any,
    checkpoint: str | None,
    trained_size: int | None,
    normalizer: str | None = None,
    faces: int | None = None,
) -> str:
    """Title and box, and what is not as usual of: input size, normaliser, checkpoint, number of faces.

    Usual are the size that the weights were trained at, the data's default, the run's best and all faces:
    ``wflw_landmarks-1.2``, ``wflw_landmarks-1.2_128_pixels``, ``wflw_landmarks-1.2_inter-pupil_last``,
    ``wflw_landmarks-1.2_32_faces``. A checkpoint from elsewhere is named by its last two folders and its file.

    Args:
        run: the run's folder.
        data: the datamodule.
        checkpoint: path of the weights; None where they are untrained.
        trained_size: side of the images they were trained on, in pixels; None where the checkpoint does not say.
        normalizer: what the result was divided by, if it was.
        faces: how many were looked at, where it was not all of them (``trainer.limit_test_batches``).
    """
    parts = [slug(data.measured_on), slug(data.box)]
    if data.size != trained_size:
        parts.append(f"{data.size}_pixels")
    if normalizer not in (None, data.default_normalizer):
        parts.append(slug(str(normalizer)))
    if checkpoint and Path(checkpoint).resolve() != run.checkpoint(BEST).resolve():
        path = Path(checkpoint)
        own = path.resolve().parent == run.checkpoint(BEST).resolve().parent
        parts.append(slug(path.stem if own else "_".join([*path.resolve().parts[-3:-1], path.stem])))
    if faces is not None:
        parts.append(f"{faces}_faces")
    return "_".join(parts)


def slug(title: str) -> str:
    """A title as part of a file name: ``300-W common set`` is ``300-w_common_set``."""
    return re.sub(r"[^\w.-]+", "_", title.lower()).strip("_")
