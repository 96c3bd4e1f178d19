"""The released face network, written plainly from its description: a function of its weights by their names there."""

import torch
from torch.nn.functional import batch_norm, conv2d, interpolate, relu

MODULES = {"stage2": 1, "stage3": 4, "stage4": 3}


class Released:
    """Images (B, 3, H, W) in [0, 255] to heatmaps (B, N, H / 4, W / 4), for evaluation.

    Args:
        body: state dict of the body.
        head: weights of the two 1x1 convolutions and the batch norm between them.
        modules: how many modules each stage has.
    """

    def __init__(self, body, head, modules=MODULES):
        self.state, self.head, self.modules = body, head, modules

    def conv(self, x, name, stride=1):
        weight = self.state[f"{name}.weight"]
        return conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(self, x, name):
        mean, var, weight, bias = (
            self.state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, var, weight, bias)

    def block(self, x, name):
        """A basic block of two convolutions or a bottleneck of three."""
        count = 3 if f"{name}.conv3.weight" in self.state else 2
        found = x
        for i in range(1, count + 1):
            found = self.norm(self.conv(found, f"{name}.conv{i}"), f"{name}.bn{i}")
            found = relu(found) if i < count else found
        if f"{name}.downsample.0.weight" in self.state:
            x = self.norm(self.conv(x, f"{name}.downsample.0"), f"{name}.downsample.1")
        return relu(found + x)

    def module(self, maps, name):
        """Blocks on each map, then every map is the sum of all, enlarged bilinearly or halved step by step."""
        maps = list(maps)
        for i in range(len(maps)):
            k = 0
            while f"{name}.branches.{i}.{k}.conv1.weight" in self.state:
                maps[i], k = self.block(maps[i], f"{name}.branches.{i}.{k}"), k + 1
        fused = []
        for i in range(len(maps)):
            total = 0
            for j, each in enumerate(maps):
                place = f"{name}.fuse_layers.{i}.{j}"
                if j > i:
                    each = self.norm(self.conv(each, f"{place}.0"), f"{place}.1")
                    each = interpolate(each, maps[i].shape[-2:], mode="bilinear")
                for k in range(i - j):
                    each = self.norm(self.conv(each, f"{place}.{k}.0", 2), f"{place}.{k}.1")
                    each = relu(each) if k < i - j - 1 else each
                total = total + each
            fused.append(relu(total))
        return fused

    def transition(self, maps, name, count):
        """As many maps as the next stage has, of its widths."""
        found = []
        for i in range(count):
            x, place = maps[min(i, len(maps) - 1)], f"{name}.{i}"
            if i < len(maps):
                if f"{place}.0.weight" in self.state:
                    x = relu(self.norm(self.conv(x, f"{place}.0"), f"{place}.1"))
            else:
                x = relu(self.norm(self.conv(x, f"{place}.0.0", 2), f"{place}.0.1"))
            found.append(x)
        return found

    def __call__(self, image):
        mean, std = (torch.tensor(v).view(3, 1, 1).to(image) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = (image / 255 - mean) / std
        for i in (1, 2):
            x = relu(self.norm(self.conv(x, f"conv{i}", 2), f"bn{i}"))
        k = 0
        while f"layer1.{k}.conv1.weight" in self.state:
            x, k = self.block(x, f"layer1.{k}"), k + 1
        maps = [x]
        for number, (stage, count) in enumerate(self.modules.items(), start=1):
            maps = self.transition(maps, f"transition{number}", number + 1)
            for k in range(count):
                maps = self.module(maps, f"{stage}.{k}")
        whole = torch.cat([interpolate(each, maps[0].shape[-2:], mode="bilinear") for each in maps], dim=1)
        self.state = {**self.state, **self.head}
        return self.conv(relu(self.norm(self.conv(whole, "join"), "norm")), "last")
