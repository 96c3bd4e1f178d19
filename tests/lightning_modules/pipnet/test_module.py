"""The PIPNet module: training, reading, the folded detector, its summary, and what it refuses."""

import re

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.utilities.model_summary import ModelSummary
from torch import nn

from lightning_modules.pipnet import CoordNet, MapNet, PIPNet
from lightning_modules.pipnet.neighbours import Mean, RepeatedListMean
from lightning_modules.schedules import Cosine, Steps
from tests.lightning_modules.dots import dots, fall

METHODS = {PIPNet: {"num_neighbours": 2, "stride": 16}, MapNet: {"stride": 16}, CoordNet: {"size": 64}}


def small(landmarks=5, **options):
    torch.manual_seed(0)
    settings = {"backbone": "test_resnet", "pretrained": False, "num_neighbours": 2, **options}
    module = PIPNet(landmarks, **settings)
    generator = torch.Generator().manual_seed(1)
    module.neighbours.copy_(
        torch.rand(landmarks, landmarks, generator=generator).argsort()[:, : settings["num_neighbours"]]
    )
    return module


def trained(module, size=64):
    """As training leaves it: batch norms that know the images' statistics, scores and offsets of about 1."""
    generator = torch.Generator().manual_seed(2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
            nn.init.uniform_(layer.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(layer.bias, std=0.1, generator=generator)
    image = torch.randint(0, 256, (8, 3, size, size), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        features = module.network.features(image)
        for layer in (module.network.score, module.network.offset):
            nn.init.normal_(layer.weight, std=1 / features.norm(dim=1).mean().item(), generator=generator)
    return module.eval()


@pytest.mark.parametrize("stride", [16, 32, 64])
@pytest.mark.parametrize("num_neighbours", [0, 4])
def test_loss_falls_on_its_own_batch(silent, stride, num_neighbours):
    losses = fall(small(stride=stride, num_neighbours=num_neighbours), lr=1e-3)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("stride", [16, 32, 128])
def test_the_loss_is_the_weighted_sum(silent, monkeypatch, stride):
    told = {}
    monkeypatch.setattr(PIPNet, "log", lambda self, key, value, **kwargs: told.update({key: value.item()}))
    monkeypatch.setattr(PIPNet, "log_dict", lambda self, values, **kwargs: told.update(values))
    weight = {16: 0.2, 32: 1.0, 128: 2.5}[stride]
    loss = trained(small(stride=stride), 128).training_step(dots(size=128), 0).item()
    parts = [told[f"train/{part}"].item() for part in ("score", "offset", "neighbour")]
    assert loss == told["train/loss"] == pytest.approx(10 * parts[0] + weight * (parts[1] + parts[2]))
    assert min(parts) > 0
    unweighted = trained(small(stride=stride, offset_weight=0.0), 128)
    assert unweighted.training_step(dots(size=128), 0).item() == pytest.approx(10 * parts[0])


def test_every_weight_takes_part(silent):
    module = small()
    module.training_step(dots(), 0).backward()
    assert [key for key, p in module.named_parameters() if p.grad is None] == []


def test_landmarks_that_are_not_annotated_teach_nothing(silent):
    module, data = small(), dots()
    some = {**data, "landmarks": data["landmarks"].clone()}
    some["landmarks"][0, 0] = torch.nan
    assert 0 < module.training_step(some, 0).item() < float("inf")
    data["landmarks"][:] = torch.nan
    loss = module.training_step(data, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.abs().max() == 0 for p in module.parameters())


def test_autocast_trains_in_bfloat16(silent):
    module = small()
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(dots(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_confidence_is_the_best_score_in_0_1():
    module = trained(small())
    found = module(dots()["image"])
    assert found.landmarks.shape == (4, 5, 2)
    assert found.heatmaps.shape == (4, 5, 2, 2)
    assert torch.equal(found.confidence, found.heatmaps.amax(dim=(-2, -1)).clamp(0, 1))
    assert (found.heatmaps.amax(dim=(-2, -1)) > 1).any()


def test_a_prediction_does_not_depend_on_its_batch():
    module, images = trained(small()), dots(faces=5)["image"]
    together = module(images).landmarks
    for face in range(5):
        torch.testing.assert_close(module(images[face : face + 1]).landmarks[0], together[face], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("backbone", "stride", "stay"),
    [
        ("resnet18", 16, 0),
        ("resnet18", 128, 0),
        ("mobilenetv3_large_100", 32, 0),
        ("tf_efficientnet_lite0", 32, 0),
        ("ghostnetv3_050", 32, 32),  # takes no image of 32 pixels
        ("lambda_resnet26t", 32, 9),  # has 3-D convolutions, which cannot be laid out as the others
    ],
)
def test_the_folded_detector_is_the_same_function(backbone, stride, stay):
    """In float64, so that random weights do not magnify what is rounded."""
    module = trained(small(20, backbone=backbone, stride=stride, num_neighbours=10), size=128).double()
    plain, fast = before_and_after_folding(module, dots(size=128)["image"])
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (module.detector, module.network)]
    assert norms[0] == stay < norms[1]
    torch.testing.assert_close(fast.landmarks, plain.landmarks, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast.heatmaps, plain.heatmaps, atol=1e-6, rtol=0)


def test_the_folded_detector_finds_the_same_landmarks():
    """To a ten-thousandth of a pixel in float32, of a network that has learned something."""
    module = small(20, backbone="tf_efficientnet_lite0", num_neighbours=10)
    module.network.backbone.load_imagenet()
    for layer in (module.eval().network.score, module.network.offset):
        nn.init.normal_(layer.weight, std=0.01)
    image = dots(size=256)["image"]
    plain, fast = before_and_after_folding(module, image)
    assert plain.landmarks.std() > 15
    torch.testing.assert_close(fast.landmarks, plain.landmarks, atol=1e-4, rtol=0)
    with torch.inference_mode():
        tracked, _ = module.track(image, module.init_state())
    assert torch.equal(tracked.landmarks, fast.landmarks)


def before_and_after_folding(module, image):
    with torch.inference_mode():
        plain = module(image)
        module.fold()
        return plain, module(image)


def test_the_folded_detector_is_not_part_of_the_module():
    module = small()
    keys, parameters = module.state_dict().keys(), len([*module.parameters()])
    module.eval().fold()
    assert module.detector is not module.network
    assert module.state_dict().keys() == keys
    assert len([*module.parameters()]) == parameters
    assert module.train().detector is module.network  # its batch norms learn
    assert module.eval().detector is not module.network
    module.load_state_dict(small().state_dict())
    assert module.detector is module.network  # which has other weights than were folded
    module.fold()
    assert module.double().detector is module.network
    module.float().fold()
    module.trainer = Trainer(accelerator="cpu", logger=False)
    module.setup("fit")  # what is validated is what is trained
    assert module.detector is module.network


@pytest.mark.parametrize("method", [PIPNet, MapNet, CoordNet])
def test_gradients_lie_as_their_weights(silent, method):
    """DDP complains of others at each start, even where only the stride of a side of 1 is another."""
    module = method(5, "mobilenetv3_large_100", pretrained=False, **METHODS[method])
    module.training_step(dots(), 0).backward()
    assert [key for key, p in module.named_parameters() if p.grad.stride() != p.stride()] == []


@pytest.mark.parametrize("epochs", [6, 12])
def test_adam_has_the_options(epochs):
    """The whole update of a step of known gradients, and the learning rate of each epoch."""
    module = small(lr=0.01, weight_decay=0.5, schedule=Steps(0.5, 5 / 6, 0.1))
    module.trainer = Trainer(max_epochs=epochs, accelerator="cpu", logger=False)
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    weight = module.network.offset.weight
    reference = weight.detach().clone().requires_grad_()
    expected = torch.optim.Adam([reference], lr=0.01, weight_decay=0.5)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len([*module.parameters()])
    for each in (*module.parameters(), reference):
        each.grad = torch.full_like(each, 1e-3)
    optimizer.step()
    expected.step()
    assert torch.equal(weight, reference)
    assert (made["lr_scheduler"]["interval"], optimizer.param_groups[0]["betas"]) == ("epoch", (0.9, 0.999))
    rates = []
    for _ in range(epochs):
        rates += scheduler.get_last_lr()
        scheduler.step()
    steps = [0.01] * (epochs // 2) + [0.001] * (epochs // 3) + [0.0001] * (epochs // 6)
    assert rates == pytest.approx(steps)


def test_the_summary_counts_what_the_network_does():
    module = small()
    module.example_input_array = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    summary = ModelSummary(module, max_depth=1)
    assert summary.layer_names == ["network"]
    assert summary.in_sizes == [[1, 3, 64, 64]]
    assert summary.out_sizes == [[[1, 5, 2, 2], [1, 5], [1, 5, 2], [1, 5, 2, 2]]]
    assert summary.total_flops > 1e6


def test_neighbours_wait_for_the_training_faces():
    """Until then they are of the right shape and the same in every process."""
    torch.manual_seed(0)
    first = PIPNet(98, "test_resnet", pretrained=False).neighbours
    torch.manual_seed(1)
    assert torch.equal(PIPNet(98, "test_resnet", pretrained=False).neighbours, first)
    assert (first.shape, first.dtype) == ((98, 10), torch.int64)


def test_a_checkpoint_holds_merge_and_schedule(tmp_path):
    """As plain frozen dataclasses, which load without running code from the file."""
    module = small(merge=RepeatedListMean(), schedule=Cosine(0.3))
    file = tmp_path / "weights.ckpt"
    hyperparameters = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    torch.save({**hyperparameters, "pytorch-lightning_version": "2.6.0"}, file)
    again = PIPNet.load_from_checkpoint(file, weights_only=True)
    assert (again.merge, again.schedule) == (RepeatedListMean(), Cosine(0.3))
    assert torch.equal(again.neighbours, module.neighbours)
    assert PIPNet(5, "test_resnet", num_neighbours=2).merge == Mean()


@pytest.mark.parametrize(
    ("landmarks", "options", "words"),
    [
        (0, {}, "num_landmarks is 0, expected at least 1"),
        (5, {"num_neighbours": -1}, "num_neighbours is -1, expected a number of at least 0"),
        (5, {"num_neighbours": 10}, "num_neighbours is 10, but of 5 landmarks each has 4 others; set it to 4 or less"),
        (1, {"num_neighbours": 1}, "num_neighbours is 1, but of 1 landmarks each has 0 others; set it to 0, which"),
        (5, {"lr": -1.0}, "lr is -1.0, expected a number of at least 0"),
        (5, {"lr": float("nan")}, "lr is nan, expected a number of at least 0"),
        (5, {"weight_decay": -0.1}, "weight_decay is -0.1, expected a number of at least 0"),
        (5, {"offset_weight": -1.0}, "offset_weight is -1.0, expected a number of at least 0"),
        (5, {"stride": 48}, "stride is 48, expected test_resnet's 32, halved or doubled any number of times"),
        (5, {"stride": 8}, "offset_weight has no default for stride 8 (only for 16, 32, 64, 128); give one"),
        (5, {"backbone": "resnet"}, "backbone is 'resnet', which timm"),
        (
            5,
            {"backbone": "vit_tiny_patch16_224"},
            "backbone is 'vit_tiny_patch16_224', expected a convolutional network",
        ),
    ],
)
def test_options_out_of_range_are_refused(landmarks, options, words):
    with pytest.raises(ValueError, match=re.escape(f"model.init_args.{words}")) as error:
        PIPNet(landmarks, **{"backbone": "test_resnet", "pretrained": False, "num_neighbours": 2, **options})
    assert "\n" not in str(error.value)


def test_other_strides_need_a_weight_and_one_landmark_no_neighbours():
    assert small(stride=8, offset_weight=0.1)(dots()["image"]).heatmaps.shape == (4, 5, 8, 8)
    assert PIPNet(1, "test_resnet", pretrained=False, num_neighbours=0)(dots()["image"]).landmarks.shape == (4, 1, 2)
