"""What the numbers of a test mean: everything that has to be the same where two of them are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from callbacks.overlays import Drawn, place
from callbacks.report.environment import environment
from callbacks.run_folder import RunFolder
from datamodules.markup import BOX_NORMALIZERS, Markup
from lightning_modules.drawing import SIDE
from lightning_modules.further import Further

SOURCES = {  # of the middle of a crop
    "provided": "the rectangle that the dataset provides",
    "landmarks": "the tight box of the true landmarks",
    "image": "the whole image",
}
KNOWN = {"landmarks": ": the test knows where the face is", "image": ": the files are crops already"}


def meaning(
    run: RunFolder,
    trainer: Any,
    module: Any,
    moment: tuple[int, int] | None,
    faces: int,
    norm: float,
    drawn: Sequence[Drawn],
    within: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """The content of a result's ``.json``: plain values, as the report shows them.

    Args:
        run: the run's folder.
        trainer: after the test.
        module: what was tested.
        moment: epoch and number of steps that its weights are of; None where the checkpoint does not say.
        faces: how many it was tested on.
        norm: their mean normaliser, in shares of the crop's side.
        drawn: the faces on the sheet, in order.
        within: title of a radius: share of faces, in percent, whose landmark is within it, for each landmark.
    """
    data, dataset = trainer.datamodule, trainer.datamodule.test_faces
    markup: Markup = data.markup
    return {
        "data": data.measured_on,
        "split": "test",
        "faces": faces,
        "faces_of_split": len(dataset),
        "size": data.size,
        "trained_size": module.trained_size or data.size,
        "box": data.box,
        "box_source": box_meaning(dataset.convention.source, dataset.convention.outwards),
        "box_used_by": dataset.convention.used_by,
        "normalizer": data.normalizer,
        "normalizer_meaning": normalizer_meaning(markup, data.normalizer),
        "mean_normalizer": norm,
        "markup": markup.name,
        "edges": [list(edge) for edge in markup.edges],
        "parts": {part: list(landmarks) for part, landmarks in markup.parts.items()},
        "model": type(module).__name__,
        "parameters": parameters(module),
        "trained_on": module.markup or markup.name,
        "weights": _weights(run, trainer.ckpt_path),
        "moment": dict(zip(("epoch", "step"), moment, strict=True)) if moment else {},
        "within": within,
        "side": SIDE,
        "drawn": [
            {**asdict(face), **dict(zip(("left", "top"), place(i), strict=True))} for i, face in enumerate(drawn)
        ],
        "device": device_name(module.device),
        **environment(),
    }


def further_meaning(further: Further) -> dict[str, Any]:
    """What a report needs to show the tables and pictures of a method, by the names that their files end in."""
    tables = {}
    for name, table in further.tables.items():
        text = [column for column, value in table.rows[0].items() if isinstance(value, str)]
        about = {"title": table.title, "note": table.note, "listed": table.listed, "text": text}
        tables[name] = {**about, "curves": asdict(table.curves)}
    drawn = {name: {"title": picture.title, "note": picture.note} for name, picture in further.pictures.items()}
    return {"tables": tables, "pictures": drawn}


def normalizer_meaning(markup: Markup, normalizer: str) -> str:
    """A normaliser in words."""
    if normalizer in BOX_NORMALIZERS:
        return BOX_NORMALIZERS[normalizer]
    groups = [
        f"landmark {group[0]}" if len(group) == 1 else f"the mean of landmarks {', '.join(map(str, group))}"
        for group in markup.normalizers[normalizer]
    ]
    return f"distance from {groups[0]} to {groups[1]} of the annotation ({markup.name}, counted from 0)"


def box_meaning(source: str, outwards: Sequence[float]) -> str:
    """How crops are made from a source, whose left, top, right and bottom edge move by these shares of its size."""
    how = ""
    if len(set(outwards)) > 1:
        edges = zip(("left", "top", "right", "bottom"), outwards, strict=True)
        how = f" with its edges moved outwards ({', '.join(f'{edge} {100 * by:.3g} %' for edge, by in edges)})"
    factor = "" if how or not outwards[0] else f"{1 + 2 * outwards[0]:g} times "
    return f"a square around {SOURCES[source]}{how}, {factor}as wide as its longer side{KNOWN.get(source, '')}"


def parameters(module: torch.nn.Module) -> int:
    """Trainable numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def device_name(device: torch.device) -> str:
    """``CPU``, or what the accelerator calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _weights(run: RunFolder, checkpoint: str | None) -> str:
    """A checkpoint as the run's reader knows it: below the run, or by its last folders where it is from elsewhere."""
    if not checkpoint:
        return "untrained"
    path, own = Path(checkpoint).resolve(), run.path.resolve()
    return str(path.relative_to(own)) if path.is_relative_to(own) else str(Path(*path.parts[-3:]))
