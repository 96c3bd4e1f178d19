"""Names of the files of `test` and `predict`: results of other weights, data or options have other names."""

import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from callbacks.checkpoints import BEST
from callbacks.run_folder import RunFolder
from callbacks.trained_settings import Changed

LONGEST = 80  # characters that changed options may take in a name


def result_stem(
    run: RunFolder,
    data: Any,
    checkpoint: str | None,
    trained_size: int | None,
    changed: Changed,
    normalizer: str | None = None,
    faces: int | None = None,
) -> str:
    """Title and box, and what is not as usual of: input size, normaliser, options, checkpoint, number of faces.

    Usual are the size and the options that the weights were trained with, the data's default, the run's best and all
    faces: ``wflw_landmarks-1.2``, ``wflw_landmarks-1.2_128_pixels``, ``wflw_landmarks-1.2_inter-pupil_last``,
    ``wflw_landmarks-1.2_evaluation_iterations_1_32_faces``. A checkpoint from elsewhere is named by its last two
    folders and its file.

    Args:
        run: the run's folder.
        data: the datamodule.
        checkpoint: path of the weights; None where they are untrained.
        trained_size: side of the images they were trained on, in pixels; None where the checkpoint does not say.
        changed: options that differ from those of the training (`result_changes`).
        normalizer: what the result was divided by, if it was.
        faces: how many were looked at, where it was not all of them (``trainer.limit_test_batches``).
    """
    parts = [slug(data.measured_on), slug(data.box)]
    if data.size != trained_size:
        parts.append(f"{data.size}_pixels")
    if normalizer not in (None, data.default_normalizer):
        parts.append(slug(str(normalizer)))
    if words := "_".join(_changed_words(changed, parts[0])):
        digest = blake2b(json.dumps(changed).encode(), digest_size=4).hexdigest()
        parts.append(words if len(words) <= LONGEST else f"changed_{digest}")  # the .json has all of them
    if checkpoint and Path(checkpoint).resolve() != run.checkpoint(BEST).resolve():
        path = Path(checkpoint)
        own = path.resolve().parent == run.checkpoint(BEST).resolve().parent
        parts.append(slug(path.stem if own else "_".join([*path.resolve().parts[-3:-1], path.stem])))
    if faces is not None:
        parts.append(f"{faces}_faces")
    return "_".join(parts)


def _changed_words(changed: Changed, title: str) -> Iterator[str]:
    """``evaluation_iterations_1`` of each option, less those that the title tells: ``faces_test`` tells two."""
    for key, values in changed.items():
        option, value = key.partition(".")[2], values["tested"]
        if isinstance(value, str):
            value = Path(value).name if option == "root" else value.removesuffix(".csv")
            value = re.sub(r"^(\w+\.)+(?=[A-Z]\w*$)", "", value)  # of an import path, the class
            if f"_{slug(value)}_" in f"_{title}_":
                continue
        yield slug(f"{option}_{value}")


def slug(title: str) -> str:
    """A title as part of a file name: ``300-W common set`` is ``300-w_common_set``."""
    return re.sub(r"[^\w.-]+", "_", title.lower()).strip("_")
