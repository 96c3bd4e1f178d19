"""Changes of how images look."""

import pytest
import torch

from lightning_modules.processes import Draws
from lightning_modules.two_step.appearance import Appearance
from tests.one_sentence import one_sentence

NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "noise": 0.0, "grey": 0.0}


def draws(count=8, seed=0):
    return Draws(count, torch.Generator().manual_seed(seed))


def images():
    return torch.randint(40, 200, (8, 3, 32, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_without_changes_images_stay_as_they_are():
    torch.testing.assert_close(Appearance(**NONE)(images(), draws()), images().float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("key", NONE)
def test_each_change_changes_images_and_each_image_otherwise(key):
    flat = images()[:1].expand(8, -1, -1, -1)
    found = Appearance(**{**NONE, key: 1.0 if key == "grey" else 0.3})(flat, draws())
    assert found.shape == flat.shape
    assert (found >= 0).all()
    assert (found <= 255).all()
    moved = (found - flat).abs().mean(dim=(1, 2, 3))
    assert (moved > 0.5).sum() >= 2
    if key != "grey":
        assert len(moved.round(decimals=3).unique()) > 3


def test_nothing_moves():
    """A bright dot in a dark image stays where it is."""
    dot = torch.zeros(8, 3, 32, 24)
    dot[:, :, 11, 7] = 255
    found = Appearance(noise=0.01)(dot, draws())
    assert (found.sum(dim=1).flatten(1).argmax(dim=1) == 11 * 24 + 7).all()


def test_the_same_random_numbers_change_alike():
    found = [Appearance()(images(), draws(seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_numbers_out_of_range_are_refused():
    with one_sentence("hue of the appearance is 0.7, expected 0 to 0.5"):
        Appearance(hue=0.7)
    with one_sentence("noise of the appearance is -1, expected 0 to 1.0"):
        Appearance(noise=-1)


def test_brightness_is_a_factor_and_contrast_is_about_the_mean_grey():
    two = torch.tensor([50.0, 150.0]).view(1, 1, 1, 2).expand(32, 3, 8, 2)
    dark, light = Appearance(**{**NONE, "brightness": 0.4})(two, draws(32))[:, 0, 0].unbind(dim=1)
    torch.testing.assert_close(light / dark, torch.full((32,), 3.0), rtol=1e-3, atol=0)
    assert dark.std() > 2
    dark, light = Appearance(**{**NONE, "contrast": 0.4})(two, draws(32))[:, 0, 0].unbind(dim=1)
    torch.testing.assert_close(dark + light, torch.full((32,), 200.0), rtol=1e-2, atol=0)
    assert (light - dark).std() > 2
