"""Batch norms over processes; that their numbers are right is for `tests.test_ddp`."""

import pytest
import timm
import torch
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from callbacks.sync_batchnorm import AcrossProcesses, SyncBatchNorm


def network():
    torch.manual_seed(0)
    return timm.create_model("efficientnet_lite0", num_classes=0)  # its activations are in its batch norms


def test_a_network_computes_what_it_did_and_has_the_same_weights():
    plain, converted = network(), SyncBatchNorm("cpu").apply(network())
    kinds = [type(module) for module in converted.modules()]
    assert BatchNormAct2d not in kinds
    assert AcrossProcesses in kinds
    assert list(converted.state_dict()) == list(plain.state_dict())
    image = torch.rand(2, 3, 64, 64)
    for mode in (True, False):  # training without other processes, then evaluation with what was remembered
        assert torch.equal(converted.train(mode)(image), plain.train(mode)(image))
    assert SyncBatchNorm("cpu").revert(converted) is converted


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "auto"])
def test_on_gpus_activations_stay_too(monkeypatch, accelerator):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    plain, converted = network(), SyncBatchNorm(accelerator).apply(network())
    acts = [module.act for module in plain.modules() if isinstance(module, BatchNormAct2d)]
    kept = [module.act for module in converted.modules() if isinstance(module, SyncBatchNormAct)]
    assert list(map(type, kept)) == list(map(type, acts))
    assert any(isinstance(act, nn.ReLU6) for act in kept)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_process_of_a_group_normalises_as_a_batch_norm_does(momentum, tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        plain, across = (nn.BatchNorm2d(3, momentum=momentum).double() for _ in range(2))
        with torch.no_grad():
            for each in (plain, across):
                each.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        across = AcrossProcesses(across)
        for _ in range(3):
            x = torch.randn(4, 3, 5, 5, dtype=torch.float64) * 3 + 100
            found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
            slope = torch.randn_like(x)
            (across(found) * slope).sum().backward()
            (plain(expected) * slope).sum().backward()
            torch.testing.assert_close(found.grad, expected.grad)
        for key, value in plain.state_dict().items():
            torch.testing.assert_close(across.state_dict()[key], value)
        for one, other in zip(across.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)
    finally:
        torch.distributed.destroy_process_group()
