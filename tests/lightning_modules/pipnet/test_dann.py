"""Domain-adversarial training."""

import math

import pytest
import torch
import yaml

from callbacks.arguments import CONFIGS
from lightning_modules.pipnet import DANN
from lightning_modules.pipnet.dann import Reversed, reversal_at
from tests.experiment import run, weights
from tests.mixed_experiment import synthetic, write_mixed


class Training:
    """As much of a trainer as a training step needs: the middle of the last of two epochs of four batches."""

    max_epochs, num_training_batches, current_epoch = 2, 4, 1


@pytest.fixture
def told(monkeypatch):
    told = {}
    monkeypatch.setattr(DANN, "current_epoch", 1)
    monkeypatch.setattr(DANN, "log", lambda self, name, value, **options: told.update({name: value}))
    monkeypatch.setattr(DANN, "log_dict", lambda self, values, **options: told.update(values))
    return told


def made(**options):
    torch.manual_seed(0)
    options = {"num_neighbours": 2, "backbone": "test_resnet", "pretrained": False, "domain_width": 16, **options}
    module = DANN(5, **options)
    module._trainer = Training()
    return module


def batch():
    """Bright images with labels and dark ones without."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 100, (8, 3, 64, 64), generator=generator)
    labelled = torch.tensor([True, False] * 4)
    image[labelled] += 150
    landmarks = 64 * torch.rand(8, 5, 2, generator=generator)
    landmarks[~labelled] = math.nan
    return {"image": image.byte(), "landmarks": landmarks, "labelled": labelled, "index": torch.arange(8)}


def test_the_reversal_is_itself_forward_and_the_negative_backward():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = Reversed.apply(x, 0.3)
    assert torch.equal(y, x)
    (y**3).sum().backward()
    torch.testing.assert_close(x.grad, -0.3 * 3 * x.detach() ** 2)


def test_the_strength_grows_as_ganin_and_lempitsky_have_it():
    assert reversal_at(0) == 0
    assert reversal_at(0.1) == pytest.approx(math.tanh(0.5))  # 2 / (1 + e^-10p) - 1 = tanh(5p)
    assert reversal_at(1) == pytest.approx(0.9999092)


def gradients(module, parameters):
    module.training_step(batch(), 2).backward()
    return [p.grad.clone() for p in parameters(module)]


def features(module):
    return list(module.network.backbone.parameters())


def test_the_reversed_gradient_is_added_to_that_of_the_landmarks(told):
    """With strength s the features have the gradient of the landmarks less s lambda times that of the domain."""
    without, half, full = (gradients(made(strength=s), features) for s in (0.0, 0.5, 1.0))
    for a, b, c in zip(without, half, full, strict=True):
        torch.testing.assert_close(2 * (b - a), c - a, rtol=1e-3, atol=1e-6)
    module = made(strength=1.0)
    found = module.network.features(batch()["image"])
    domain = module.domain(found.mean(dim=(2, 3))).squeeze(1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(domain, batch()["labelled"].float())
    factor = reversal_at((1 + 2 / 4) / 2)
    assert told["train/reversal"] == pytest.approx(factor)
    torch.testing.assert_close(told["train/domain"], loss)
    loss.backward()
    for p, a, c in zip(features(module), without, full, strict=True):
        torch.testing.assert_close(c - a, -factor * p.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("labelled", [1, 4, 8])
def test_both_domains_count_as_much_whatever_their_shares(told, labelled):
    """Cross-entropy is -log p of the labelled and -log(1 - p) of the others."""
    module, features = made(), torch.randn(8, made().network.channels, 2, 2)
    p = module.domain(features.mean(dim=(2, 3))).squeeze(1).sigmoid()
    expected = -p[:labelled].log().mean() / 2
    if labelled < 8:
        expected = expected - (1 - p[labelled:]).log().mean() / 2
    torch.testing.assert_close(module._domain_loss(features, torch.arange(8) < labelled, 1.0), expected)


def test_a_step_in_bf16_is_nearly_that_in_float32(told):
    exact = made().training_step(batch(), 2), told["train/domain"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made().training_step(batch(), 2), told["train/domain"]
    assert rounded[1].dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
    rounded[0].backward()


@pytest.mark.parametrize("name", ["uda", "gssl"])
def test_the_configs_have_half_of_the_faces_from_each_domain(name):
    """And are otherwise on the data of self-training."""
    config = yaml.safe_load((CONFIGS / f"pipnet_{name}_dann.yaml").read_text())
    data = CONFIGS / yaml.safe_load((CONFIGS / f"pipnet_{name}_stc.yaml").read_text())["data"]
    assert config["data"]["init_args"].pop("ratio") == 1
    of_stc = yaml.safe_load(data.read_text())
    assert of_stc["init_args"].pop("ratio") is None
    assert config["data"] == of_stc


def test_the_classifier_itself_is_not_reversed(told):
    module = made(strength=0.0)
    optimizer = torch.optim.Adam(module.domain.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        module.training_step(batch(), 0).backward()
        optimizer.step()
    assert told["train/domain_accuracy"] == 1
    assert told["train/domain"] < 0.3


def test_others_teach_no_landmark(told):
    """The score, offsets and neighbours of a batch are those of its labelled faces with the same features."""
    module = made().eval()  # so that features do not depend on the rest of the batch
    mixed = batch()
    module.training_step(mixed, 0)
    parts = {key: told[f"train/{key}"].item() for key in ("score", "offset", "neighbour")}
    rows = mixed["labelled"]
    module.training_step({key: value[rows] for key, value in mixed.items()}, 0)
    assert {key: told[f"train/{key}"].item() for key in parts} == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
def test_every_parameter_has_a_gradient_whatever_the_batch(told, labelled):
    module, mixed = made(), batch()
    rows = mixed["labelled"] == labelled
    module.training_step({key: value[rows] for key, value in mixed.items()}, 2).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_it_trains_tests_and_resumes_from_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callbacks = [{"class_path": "tests.experiment.StopAfterEpoch"}]
    write_mixed(tmp_path, "DANN", domain_width=8, trainer={"max_epochs": 2, "callbacks": callbacks})
    run("fit", "--config", "mixed.yaml", "--name", "whole")
    with monkeypatch.context() as patch:
        patch.setenv("STOP_AFTER_EPOCH", "0")
        trained = run("fit", "--config", "mixed.yaml", "--name", "dann")
    metrics = trained.trainer.callback_metrics
    assert 0 <= metrics["train/domain_accuracy"] <= 1
    assert 0 < metrics["train/reversal"] < reversal_at(1)
    assert torch.load("runs/dann/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    run("fit", "--name", "dann", "--resume")
    whole, resumed = weights("runs/whole"), weights("runs/dann")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    tested = run("test", "--name", "dann")
    assert tested.trainer.callback_metrics["test/nme"] > 0


BAD = {
    "no mixture": ({"data": synthetic()}, "DANN learns from faces without labels too, which SyntheticFaces has not"),
    "width": ({"domain_width": 0}, "model.init_args.domain_width is 0, expected at least 1"),
    "strength": ({"strength": -1.0}, "model.init_args.strength is -1.0, expected a number of at least 0"),
    "infinite": ({"strength": math.inf}, "model.init_args.strength is inf, expected a number of at least 0"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_bad_settings_are_one_sentence(tmp_path, monkeypatch, capsys, change, words):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path, "DANN", **change)
    with pytest.raises(SystemExit):
        run("fit", "--config", "mixed.yaml")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert words in said
