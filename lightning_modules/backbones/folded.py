"""Networks without their batch norms, for detection: the same function, computed faster."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_modules.backbones.channels_last import channels_last

# Exactly these classes: what is derived from them may compute something else.
CONVOLUTIONS = (nn.Conv2d, Conv2dSame, nn.ConvTranspose2d)
BATCH_NORMS = (nn.BatchNorm2d, BatchNormAct2d)


def folded(network: nn.Module, image: Tensor) -> nn.Module:
    """A channels-last copy for evaluation, whose batch norms are folded into the convolutions that feed them.

    A batch norm that is fed by anything else, or by a convolution that feeds something else too, stays.

    Args:
        network: images to a tensor or a tuple of tensors; it is left as it is.
        image: any that it takes.
    """
    with torch.inference_mode(False), torch.enable_grad():
        copy = deepcopy(network).eval().requires_grad_(True)
        for convolution, norm in _pairs(copy, image.clone()):
            conv: Any = copy.get_submodule(convolution)
            bn: Any = copy.get_submodule(norm)
            copy.set_submodule(convolution, fuse_conv_bn_eval(conv, bn, isinstance(conv, nn.ConvTranspose2d)))
            copy.set_submodule(norm, getattr(bn, "act", nn.Identity()))  # timm's hold the activation after them
    return channels_last(copy.requires_grad_(False))


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[str, str]]:
    """Paths of convolutions and batch norms to fold, read off the graph that autograd makes of one pass."""
    made: dict[Any, str] = {}  # the convolution that each node of the graph is of
    taken: dict[str, list[Any]] = defaultdict(list)  # the nodes that each batch norm has its input from

    def watch(path: str, module: nn.Module) -> Any:
        def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            if isinstance(module, BATCH_NORMS):
                taken[path].append(inputs[0].grad_fn)
            else:
                made[output.grad_fn] = path

        return module.register_forward_hook(note)

    watched = [watch(path, m) for path, m in network.named_modules() if type(m) in CONVOLUTIONS + BATCH_NORMS]
    found = network(image)
    for handle in watched:
        handle.remove()
    uses, runs = _uses([found] if isinstance(found, Tensor) else found), Counter(made.values())
    fed = {norm: nodes[0] for norm, nodes in taken.items() if len(nodes) == 1 and nodes[0] in made}
    return [(made[node], norm) for norm, node in fed.items() if uses[node] == runs[made[node]] == 1]


def _uses(tensors: Iterable[Tensor]) -> Counter[Any]:
    """How often the result of each node of the graph of these tensors is used."""
    uses = Counter(tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None)
    waiting = list(uses)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is None:
                continue
            if node not in uses:
                waiting.append(node)
            uses[node] += 1
    return uses
