"""The mean heatmap's landmarks, and how much its members differ."""

import pytest
import torch

from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.heatmaps import barycentre, render
from lightning_modules.ldeq import LDEQ
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.wasserstein_hrnet import HRNet, Wasserstein
from lightning_modules.wasserstein_hrnet.losses import HeatmapL2


class Says(LandmarkModule):
    """Always the same heatmaps, or landmarks."""

    def __init__(self, heatmaps=None, landmarks=None):
        super().__init__(3)
        self.heatmaps, self.landmarks = heatmaps, landmarks

    def forward(self, image):
        landmarks = torch.zeros(1, 3, 2) if self.landmarks is None else self.landmarks
        return LandmarkPrediction(landmarks, torch.ones(1, 3), self.heatmaps)


POINTS = torch.tensor([[[4.0, 5.0], [10.0, 6.0], [7.0, 11.0]]])


def test_it_is_the_centre_of_the_mean_heatmap():
    one, two = render(POINTS, 1.0, 16, 16), 3 * render(POINTS + 2, 1.5, 16, 16)  # heights say nothing
    found = Ensemble([Says(one), Says(two)])(torch.zeros(1, 3, 64, 64))
    mean = (one / one.sum(dim=(2, 3), keepdim=True) + two / two.sum(dim=(2, 3), keepdim=True)) / 2
    torch.testing.assert_close(found.landmarks, (barycentre(mean) + 0.5) * 4 - 0.5)
    assert 0 < float(found.confidence[0, 0]) < 1


def test_members_may_have_other_resolutions_or_no_heatmaps():
    coarse, fine = render(POINTS, 1.0, 16, 16), render(2 * POINTS + 0.5, 2.0, 32, 32)
    pixels = (POINTS + 0.5) * 4 - 0.5
    found = Ensemble([Says(coarse), Says(fine), Says(landmarks=pixels)])(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(found.landmarks, pixels, atol=0.05, rtol=0)


def test_variance_by_hand():
    """A face of 30 x 40 pixels; one member moves a point of three by (3, 4) and back."""
    face = torch.tensor([[[0.0, 0.0], [30.0, 40.0], [15.0, 20.0]]])
    other = face.clone()
    other[0, 2] += torch.tensor([6.0, 8.0])
    said = Ensemble([Says(landmarks=face), Says(landmarks=other)]).opinions(torch.zeros(1, 3, 64, 64))
    assert float(said.variance) == pytest.approx((25 / 3) / 1200)
    torch.testing.assert_close(said.landmarks[0, 2], torch.tensor([18.0, 24.0]))


def test_a_heatmap_without_a_positive_value_is_even():
    heatmaps = torch.stack([-torch.rand(8, 8), torch.rand(8, 8), torch.zeros(8, 8)]).unsqueeze(0)
    mass = Says().mass(LandmarkPrediction(torch.zeros(1, 3, 2), torch.ones(1, 3), heatmaps))
    torch.testing.assert_close(mass[0, [0, 2]], torch.full((2, 8, 8), 1 / 64))
    torch.testing.assert_close(mass[0, 1], heatmaps[0, 1] / heatmaps[0, 1].sum())


def test_heatmaps_of_real_methods_are_distributions():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    small = {"backbone": "hrnet_w18_small", "pretrained": False}
    members = [
        LDEQ(4, injection_width=8, width=8, width_step=4, depth=1),
        HRNet(4, loss=Wasserstein(1.0), **small),
        HRNet(4, loss=HeatmapL2(1.0), **small),
    ]
    for member in members:
        mass = member.eval().mass(member(image))
        torch.testing.assert_close(mass.sum(dim=(2, 3)), torch.ones(2, 4))
        assert (mass >= 0).all()
    torch.testing.assert_close(
        members[0](image).landmarks, (barycentre(members[0].mass(members[0](image))) + 0.5) * 4 - 0.5
    )
    assert Ensemble(members)(image).landmarks.shape == (2, 4, 2)


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="two models at least, found 1"):
        Ensemble([Says()])
    other = Says()
    other.trained_size = 128
    with pytest.raises(ValueError, match="differ in pixels: None, 128"):
        Ensemble([Says(), other])
