"""Maps of four strides of timm's networks."""

import pytest
import timm
import torch

from lightning_modules.backbones.timm_models import load_imagenet
from lightning_modules.backbones.timm_pyramid import TimmPyramid
from tests.one_sentence import one_sentence

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "channels", "normalization", "options"),
    [
        ("resnet18", [64, 128, 256, 512], IMAGENET, {}),
        ("tf_efficientnet_lite0", [24, 40, 112, 320], HALVES, {}),
        ("hrnet_w18_small", [16, 32, 64, 128], IMAGENET, {"feature_location": ""}),
    ],
)
def test_maps_of_the_normalised_image_have_their_strides(name, channels, normalization, options):
    torch.manual_seed(0)
    pyramid = TimmPyramid(name, **options)
    assert pyramid.channels == channels
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    maps = pyramid.eval()(image)
    assert [tuple(each.shape) for each in maps] == [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization)
    for found, expected in zip(maps, pyramid.body((image / 255 - mean) / std), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_packaged_weights_are_those_of_the_whole_network():
    pyramid = TimmPyramid("tf_efficientnet_lite0")
    pyramid.load_imagenet()
    whole = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    load_imagenet(whole, "tf_efficientnet_lite0", num_classes=0)
    state, own = whole.state_dict(), pyramid.body.state_dict()
    assert len(own) > 200
    assert all(torch.equal(value, state[key]) for key, value in own.items())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "efficientvit_m0"])
def test_what_has_no_such_maps_is_refused(name):
    with one_sentence(f"model.init_args.backbone is '{name}', expected a convolutional network such as resnet18"):
        TimmPyramid(name)
