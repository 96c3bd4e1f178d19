"""Several models as one: the oracle by which WFLW-V was annotated and ranked (Micaelli et al. 2023, appendix A)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.heatmaps import barycentre
from lightning_modules.metrics import face_sizes

ALIKE = 0.1  # sides of a face by which boxes may differ of models that see faces cut alike


class Opinions(NamedTuple):
    """What the members say together of B faces."""

    landmarks: Tensor  # (B, N, 2) in input pixels
    variance: Tensor  # (B,) between members: the mean over the landmarks, in areas of the face


class Ensemble(LandmarkModule):
    """The landmarks of the mean heatmap of several models.

    A centre of mass is linear in its heatmap, so that of the mean heatmap is the mean of the members' own, whatever
    their resolutions: nothing is resampled. What of a heatmap counts is up to its method, `LandmarkModule.mass`.
    Members without heatmaps give their landmarks.

    Args:
        members: models of the same landmarks, trained on images of the same size.

    Raises:
        ValueError: there is one or none, or they do not fit each other.
    """

    def __init__(self, members: Sequence[LandmarkModule]) -> None:
        if len(members) < 2:
            raise ValueError(f"an ensemble has two models at least, found {len(members)}")
        first = members[0]
        for key, what in (("num_landmarks", "landmarks"), ("markup", "markup"), ("trained_size", "pixels")):
            values = [getattr(member, key) for member in members]
            if len(set(values)) > 1:
                raise ValueError(f"models of an ensemble differ in {what}: {', '.join(map(str, values))}")
        super().__init__(first.num_landmarks)
        self.members = nn.ModuleList(members)
        self.markup, self.trained_size, self.trained_box = first.markup, first.trained_size, first.trained_box
        self.box_margins = _mean_margins(members)

    def opinions(self, image: Tensor) -> Opinions:
        """What is said of images (B, 3, H, W), which may be on another device; on the CPU, where boxes are made."""
        image = image.to(self.device)
        found = torch.stack([_centres(member, member(image), image.shape[-1]) for member in self.members])
        mean = found.mean(dim=0)
        variance = (found - mean).square().sum(dim=-1).mean(dim=(0, 2))
        return Opinions(mean.cpu(), (variance / face_sizes(mean).square()).cpu())

    def forward(self, image: Tensor) -> LandmarkPrediction:
        """Landmarks of images (B, 3, H, W). Confidence is 1 / (1 + 100 s), s their standard deviation in faces."""
        landmarks, variance = self.opinions(image)
        sure = 1 / (1 + 100 * variance.sqrt())
        return LandmarkPrediction(landmarks, sure.unsqueeze(1).expand(-1, self.num_landmarks))


def _mean_margins(members: Sequence[LandmarkModule]) -> list[float] | None:
    """The margins (4,) of training's boxes; members differ a little, as each has held out other faces."""
    known = [member.box_margins or [0.0] * 4 for member in members]
    columns = list(zip(*known, strict=True))
    if max(max(column) - min(column) for column in columns) > ALIKE:
        told = ", ".join(str([round(each, 2) for each in member]) for member in known)
        raise ValueError(
            "models of an ensemble were trained with boxes that lie otherwise about landmarks (left, top, right and "
            f"bottom edges, in sides of the face outwards: {told}); name runs whose faces were cut alike"
        )
    return [sum(column) / len(column) for column in columns] if any(map(any, known)) else None


def _centres(member: Any, prediction: LandmarkPrediction, side: int) -> Tensor:
    """Centres of mass (B, N, 2) in input pixels of a member's heatmaps, or its landmarks."""
    mass: Tensor | None = member.mass(prediction)
    if mass is None:
        return prediction.landmarks
    return (barycentre(mass) + 0.5) * (side / mass.shape[-1]) - 0.5
