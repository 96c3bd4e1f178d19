"""The mean heatmap's landmarks, and how much its members differ."""

import pytest
import torch

from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.heatmaps import argmax, barycentre, render
from lightning_modules.ldeq import LDEQ
from lightning_modules.pipnet import PIPNet
from lightning_modules.pipnet.mapnet import MapNet
from lightning_modules.video.ensemble import Ensemble
from lightning_modules.wasserstein_hrnet import HRNet, Wasserstein
from lightning_modules.wasserstein_hrnet.decoding import Barycentre, Bilinear, QuarterOffset
from lightning_modules.wasserstein_hrnet.losses import HeatmapL2
from lightning_modules.wasserstein_hrnet.module import HeatmapModule


class Says(LandmarkModule):
    """Always the same heatmaps, or landmarks."""

    def __init__(self, heatmaps=None, landmarks=None):
        super().__init__(3)
        self.heatmaps, self.landmarks = heatmaps, landmarks

    def forward(self, image):
        landmarks = torch.zeros(1, 3, 2) if self.landmarks is None else self.landmarks
        return LandmarkPrediction(landmarks, torch.ones(1, 3), self.heatmaps)


def mass_of(heatmaps, member=None):
    """Of a member that reads the largest value, if none is given."""
    landmarks = torch.zeros(*heatmaps.shape[:2], 2)
    return (member or Says()).mass(LandmarkPrediction(landmarks, landmarks[..., 0], heatmaps))


POINTS = torch.tensor([[[4.0, 5.0], [10.0, 6.0], [7.0, 11.0]]])


def test_it_is_the_centre_of_the_mean_heatmap():
    one, two = render(POINTS, 1.0, 16, 16), 3 * render(POINTS + 2, 1.5, 16, 16)  # heights say nothing
    found = Ensemble([Says(one), Says(two)])(torch.zeros(1, 3, 64, 64))
    mean = (mass_of(one) + mass_of(two)) / 2
    torch.testing.assert_close(mean.sum(dim=(2, 3)), torch.ones(1, 3))
    torch.testing.assert_close(barycentre(mean), POINTS + 1)
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


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.002, 0.005, 0.02])
def test_a_background_does_not_move_the_centre(noise, sigma):
    """Heatmaps of L2 are nowhere quite 0: of 4096 cells at 0.005 whole barycentres of a peak at 12 are near 19."""
    torch.manual_seed(0)
    true = 12 + 40 * torch.rand(1, 50, 2)
    heatmaps = render(true, sigma, 64, 64) + noise * torch.randn(1, 50, 64, 64)
    torch.testing.assert_close(barycentre(mass_of(heatmaps)), true, atol=0.1, rtol=0)


@pytest.mark.parametrize("decoding", [QuarterOffset(), Bilinear(), Barycentre()])
@pytest.mark.parametrize("loss", [HeatmapL2(1.0), Wasserstein(1.0)])
def test_the_centre_is_where_the_members_own_decoding_says(loss, decoding):
    """Of peaks between cells with noise about them, a lower peak beside them, and at the edge."""
    torch.manual_seed(0)
    member = HeatmapModule(4, loss=loss, decoding=decoding)
    true = torch.tensor([[12.0, 12.0], [20.3, 30.6], [40.5, 50.5], [63.0, 20.0]])
    heatmaps = render(true, 1.0, 64, 64) + 0.8 * render(true.flip(0) - 8, 1.0, 64, 64)
    heatmaps = (heatmaps + 0.005 * torch.randn(4, 64, 64)).unsqueeze(0)
    heatmaps = 12 * heatmaps if loss.of_softmax else heatmaps
    cells, _ = member.decoding(heatmaps, loss.of_softmax)
    centres = barycentre(mass_of(heatmaps, member))
    torch.testing.assert_close(centres, cells, atol=1e-4 if decoding == Barycentre() else 0.5, rtol=0)


def test_heatmaps_that_say_nothing_are_read_as_their_methods_read_them():
    torch.manual_seed(0)
    heatmaps = torch.stack([-torch.rand(8, 8), torch.zeros(8, 8), torch.full((8, 8), torch.nan)]).unsqueeze(0)
    heatmaps[0, 0, 5, 3] = -1e-3
    torch.testing.assert_close(barycentre(mass_of(heatmaps))[0, 0], torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(barycentre(mass_of(heatmaps)), argmax(heatmaps), equal_nan=True, atol=0.25, rtol=0)


def test_heatmaps_of_real_methods_are_distributions():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    small = {"backbone": "hrnet_w18_small", "pretrained": False}
    members = [
        LDEQ(4, injection_width=8, width=8, width_step=4, depth=1),
        HRNet(4, loss=Wasserstein(1.0), **small),
        HRNet(4, loss=HeatmapL2(1.0), decoding=QuarterOffset(), **small),
        MapNet(4, pretrained=False),
    ]
    for member in members:
        mass = member.eval().mass(member(image))
        torch.testing.assert_close(mass.sum(dim=(2, 3)), torch.ones(2, 4))
        assert (mass >= 0).all()
        assert mass.dtype == torch.float32
    for member in members[:2]:
        torch.testing.assert_close(
            member(image).landmarks, (barycentre(member.mass(member(image))) + 0.5) * 4 - 0.5, atol=1e-3, rtol=0
        )


def test_the_cells_of_pipnet_are_too_coarse_to_be_averaged():
    """Its members' landmarks are: a cell of 32 pixels is right to 16."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    members = [PIPNet(4, num_neighbours=2, pretrained=False).eval() for _ in range(2)]
    expected = torch.stack([member(image).landmarks for member in members]).mean(dim=0)
    torch.testing.assert_close(Ensemble(members)(image).landmarks, expected)


class Elsewhere(Says):
    """Tells the device of its images; its landmarks are on the CPU."""

    def forward(self, image):
        self.place = image.device
        return super().forward(image)


def test_images_go_to_the_members_device():
    members = [Elsewhere(landmarks=POINTS), Elsewhere(landmarks=POINTS)]
    Ensemble(members).to("meta").opinions(torch.zeros(1, 3, 64, 64))
    assert {member.place.type for member in members} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_opinions_of_a_gpu_are_those_of_the_cpu():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    members = Ensemble([LDEQ(4, injection_width=8, width=8, width_step=4, depth=1) for _ in range(2)]).eval()
    here, there = members.opinions(image), members.to("cuda").opinions(image)
    torch.testing.assert_close(there.landmarks, here.landmarks, atol=0.05, rtol=0)
    torch.testing.assert_close(there.variance, here.variance, atol=1e-3, rtol=0.05)


def test_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="two models at least, found 1"):
        Ensemble([Says()])
    other = Says()
    other.trained_size = 128
    with pytest.raises(ValueError, match="differ in pixels: None, 128"):
        Ensemble([Says(), other])
    other = Says()
    other.box_margins = [0.0, 0.3, 0.0, 0.0]
    with pytest.raises(
        ValueError, match=r"boxes that lie otherwise about landmarks .*: \[0.0, 0.0, 0.0, 0.0\], \[0.0, 0.3, 0.0"
    ):
        Ensemble([Says(), other])


def test_the_boxes_are_those_of_the_members_in_the_mean():
    members = [Says(), Says()]
    assert Ensemble(members).box_margins is None
    for member, top in zip(members, (0.1, 0.12), strict=True):
        member.box_margins, member.trained_box = [0.1, top, 0.1, 0.0], "provided-1.2"
    ensemble = Ensemble(members)
    assert ensemble.box_margins == pytest.approx([0.1, 0.11, 0.1, 0.0])
    assert ensemble.trained_box == "provided-1.2"
