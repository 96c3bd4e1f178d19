"""What is measured of a `Discovery` alone: errors with few labels, and how its layers move with the image."""

from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import Tensor

from lightning_modules.further import Curves, Table
from lightning_modules.processes import Draws
from lightning_modules.two_step.collected import Collected
from lightning_modules.two_step.deformations import Deformation, RandomDeformation
from lightning_modules.two_step.evaluation import Faces, FewLabels, accuracy_curve, few_labels
from lightning_modules.two_step.matching import match_errors
from lightning_modules.two_step.probe import Origin, Ridge

DISTANCES = tuple(range(41))  # in pixels, of the accuracy curves
DEFORMATION = RandomDeformation(rotation=15.0, elastic=0.02, elastic_cells=4)  # the same for every run


class Measured:
    """Collects over the batches of a test; all ranks then make the `tables`.

    - ``few_labels``: the error of regressions on so many labelled faces, for both origins.
    - ``equivariance``: the share of annotated landmarks, in percent, whose features are found within a distance of
      where a deformation has moved them (Acc(d), Eq. 6), of each layer, and of places drawn evenly over the frame.
    - ``following``: how far discovered landmarks of deformed faces are from where the deformation has moved those of
      the faces (the root of Eq. 2's squares, landmark by landmark), and how far it has moved them.

    The deformation of a face is one of `DEFORMATION`, drawn from the face's index on the CPU: the same for all runs and
    devices. Landmarks that it moves out of the frame are left out.

    Args:
        module: the `Discovery`.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        count, layers = len(module.trainer.datamodule.test_faces), 1 + len(module.head.blocks)
        self.faces = _collected(module, count)
        self.matches = Collected(count, (layers + 1, module.trainer.datamodule.num_landmarks), module.device)
        self.following = Collected(count, (2, module.discovered), module.device)

    def put(self, batch: Any) -> Any:
        """Add a batch, and say what was `Discovered` in it."""
        index, image, points = batch["index"], batch["image"].float(), batch["landmarks"]
        deformation, guess = _drawn(index, image.shape[-2], image.shape[-1], points.shape[1])
        warped, _ = deformation.warp(image)
        layers, others = self.module.layers(image), self.module.layers(warped)
        here, there = (self.module.located(self.module.head.last(each[-1])) for each in (layers, others))
        self.faces.put(index, _numbers(here.landmarks, batch, self.module.trainer.datamodule.radii))

        moved = deformation.forward(points)
        seen = deformation.inside(points) & deformation.inside(moved)
        places = points.nan_to_num(), moved.nan_to_num()
        matches = [match_errors(one, other, *places) for one, other in zip(layers, others, strict=True)]
        matches.append((guess - places[1]).norm(dim=-1))
        self.matches.put(index, torch.stack(matches, dim=1).masked_fill(~seen.unsqueeze(1), torch.nan))

        moved = deformation.forward(here.landmarks)
        lengths = torch.stack([(each.landmarks - moved).norm(dim=-1) for each in (there, here)], dim=1)
        self.following.put(index, lengths.masked_fill(~deformation.inside(moved).unsqueeze(1), torch.nan))
        return here

    def tables(self) -> dict[str, Table]:
        """See the class."""
        data, test = self.module.trainer.datamodule, _gathered(self.module, self.faces)
        data.setup("fit")
        train = regression_faces(self.module, data, None)
        radii = [radius.title for radius in data.radii]
        rows = [
            {"origin": origin, **dict(_row(found, radii))}
            for origin in get_args(Origin)
            for found in few_labels(train, test, data.size, Ridge(self.module.probe.alpha, origin))
        ]
        few, features, following = self._few_labels(rows), self._equivariance(data.size), self._following(data.size)
        return {"few_labels": few, "equivariance": features, "following": following}

    def _few_labels(self, rows: list[dict[str, Any]]) -> Table:
        return Table(
            "Error with few labels",
            f"Ridge regressions from the discovered landmarks, fitted on so many labelled {self.module.probe_split} "
            "faces: mean and standard deviation over repeats with other faces. The origin of coordinates is the "
            "frame's corner or its middle, which matters where there is no bias. Landmarks are those annotated in any "
            "of the faces; errors are theirs.",
            rows,
            Curves("samples", ("nme",), "labelled faces", "NME, %", by="origin", log=True),
        )

    def _equivariance(self, side: int) -> Table:
        errors = self.matches.everything(_sum_of(self.module))
        names = [*(f"layer{i + 1}" for i in range(errors.shape[1] - 1)), "chance"]
        curves = {name: accuracy_curve(errors[:, i], DISTANCES) for i, name in enumerate(names)}
        rows = [
            {"distance": d, **{key: round(curve[i], 4) for key, curve in curves.items()}}
            for i, d in enumerate(DISTANCES)
        ]
        return Table(
            "Equivariance of the features",
            "Acc(d): the share of annotated landmarks whose feature is found, by cosine, within d pixels of where a "
            "deformation has moved them. Layer 1 is the feature network, the others are the blocks of the detector.",
            rows,
            Curves("distance", tuple(curves), f"d, pixels of {side}", "% of landmarks"),
            listed=False,
        )

    def _following(self, side: int) -> Table:
        lengths = self.following.everything(_sum_of(self.module))
        error, moved = lengths.nanmean(dim=0).tolist()
        rows = [
            {"landmark": landmark, "error": round(one, 4), "moved": round(other, 4)}
            for landmark, (one, other) in enumerate(zip(error, moved, strict=True))
        ]
        means = lengths.nanmean(dim=(0, 2)).tolist()
        return Table(
            "Equivariance of the discovered landmarks",
            "How far from where a deformation has moved it each discovered landmark is found, in the mean over the "
            f"faces: {means[0]:.2f} pixels of {side} over all landmarks, which deformations move by {means[1]:.2f}.",
            rows,
            Curves("landmark", ("error", "moved"), "landmark", f"pixels of {side}"),
            listed=False,
        )


def _drawn(index: Tensor, height: int, width: int, points: int) -> tuple[Deformation, Tensor]:
    """Deformations of the faces (B,), and places (B, points, 2) anywhere in the frame."""
    drawn, places, generator = [], [], torch.Generator()
    for number in index.tolist():
        drawn.append(DEFORMATION.draw(Draws(1, generator.manual_seed(number)), height, width))
        places.append(torch.rand(points, 2, generator=generator) * torch.tensor([width, height]) - 0.5)
    affine, coefficients = (torch.cat([getattr(d, key) for d in drawn]) for key in ("affine", "coefficients"))
    deformation = Deformation(affine.to(index.device), coefficients.to(index.device), height, width)
    return deformation, torch.stack(places).to(index.device)


def _row(found: FewLabels, radii: list[str]) -> Iterator[tuple[str, float]]:
    yield from (("samples", found.samples), ("repeats", found.repeats), ("landmarks", round(found.landmarks, 4)))
    measured = zip(("nme", *(f"within {radius}" for radius in radii)), (found.nme, *found.within), strict=True)
    for name, (mean, spread) in measured:
        yield from ((name, round(mean, 4)), (f"{name} ±", round(spread, 4)))


@torch.no_grad()
def regression_faces(module: Any, data: Any, count: int | None) -> Faces:
    """Discovered and annotated landmarks of so many faces in clean crops, of which a regression learns; None is all."""
    loader, count = data.clean_dataloader(count, module.probe_split)
    rows = _collected(module, count)
    for batch in loader:
        batch = module.trainer.strategy.batch_to_device(batch)
        with module.trainer.precision_plugin.val_step_context():
            found = module.discover(batch["image"]).landmarks
        rows.put(batch["row"], _numbers(found, batch, data.radii))
    return _gathered(module, rows)


def _collected(module: Any, count: int) -> Collected:
    return Collected(count, (sum(_parts(module)), 2), module.device)


def _parts(module: Any) -> list[int]:
    """How many rows `_numbers` has of each kind; landmarks are the data's, which may not be those trained on."""
    data = module.trainer.datamodule
    return [module.discovered, data.num_landmarks, 1, len(data.radii)]


def _numbers(found: Tensor, batch: Any, radii: Any) -> Tensor:
    """Discovered (B, K, 2) and annotated landmarks, and twice the normaliser and radii: (B, K + N + 1 + R, 2)."""
    side = batch["image"].shape[-1]
    lengths = torch.stack([batch["norm"], *(radius.in_input(batch["crop"], side) for radius in radii)], dim=1)
    return torch.cat([found, batch["landmarks"], lengths.unsqueeze(2).expand(-1, -1, 2)], dim=1)


def _gathered(module: Any, rows: Collected) -> Faces:
    everything = rows.everything(_sum_of(module))
    found, truth, norm, within = torch.split(everything, _parts(module), dim=1)
    return Faces(found, truth, norm[:, 0, 0], within[..., 0])


def _sum_of(module: Any) -> Any:
    return lambda values: module.trainer.strategy.reduce(values, reduce_op="sum")
