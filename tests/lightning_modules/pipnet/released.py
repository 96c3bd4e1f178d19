"""PIPNet's released network, its decoding and its losses, written plainly from a description of them.

Five 1x1 convolutions make maps of all cells; what is looked at is then taken out of the maps. `take_head` puts their
weights into our two layers.
"""

import torch
from torch import nn
from torch.nn.functional import max_pool2d


class ReleasedHead(nn.Module):
    """Features (B, F, h, w) to maps of scores (N), x (N), y (N), neighbours' x (N C) and their y (N C)."""

    def __init__(self, channels, landmarks, neighbours):
        super().__init__()
        widths = (landmarks, landmarks, landmarks, landmarks * neighbours, landmarks * neighbours)
        self.layers = nn.ModuleList(nn.Conv2d(channels, width, 1) for width in widths)

    def forward(self, features):
        return [layer(features) for layer in self.layers]


class ReleasedNetwork(nn.Module):
    """Images (B, 3, H, W) to landmarks (B, N, 2) in shares of the side; the body makes features of float images."""

    def __init__(self, body, channels, neighbours):
        super().__init__()
        self.body, self.neighbours = body, neighbours
        self.head = ReleasedHead(channels, *neighbours.shape)
        self.lists = repeated_lists(neighbours)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image):
        features = self.body((image.float() / 255 - self.mean) / self.std)
        return released_landmarks(self.head(features), self.neighbours, self.lists)


def repeated_lists(neighbours):
    """For each landmark, which landmarks predict it and in which place of theirs, as long as the longest such list."""
    n, c = neighbours.shape
    lists = [[(j, k) for j in range(n) for k in range(c) if neighbours[j, k] == i] for i in range(n)]
    longest = max(map(len, lists))
    return torch.tensor([(found * longest)[:longest] for found in lists])  # (N, longest, 2)


def released_landmarks(maps, neighbours, lists):
    """Landmarks (B, N, 2) in shares of the map's sides."""
    score, x, y, nb_x, nb_y = maps
    batch, n, height, width = score.shape
    c = neighbours.shape[1]
    cell = score.view(batch, n, -1).argmax(dim=-1)  # (B, N)
    column, row = cell % width, cell // width
    own, each = cell.unsqueeze(-1), cell.unsqueeze(-1).expand(-1, -1, c).reshape(batch, n * c, 1)
    own_x = (column + x.view(batch, n, -1).gather(2, own).squeeze(-1)) / width
    own_y = (row + y.view(batch, n, -1).gather(2, own).squeeze(-1)) / height
    others_x = nb_x.view(batch, n * c, -1).gather(2, each).view(batch, n, c)
    others_y = nb_y.view(batch, n * c, -1).gather(2, each).view(batch, n, c)
    others_x = (column.unsqueeze(-1) + others_x) / width
    others_y = (row.unsqueeze(-1) + others_y) / height
    who, place = lists.unbind(dim=-1)
    merged_x = torch.cat([own_x.unsqueeze(-1), others_x[:, who, place]], dim=-1).mean(dim=-1)
    merged_y = torch.cat([own_y.unsqueeze(-1), others_y[:, who, place]], dim=-1).mean(dim=-1)
    return torch.stack([merged_x, merged_y], dim=-1)


def released_losses(head, features, shares, neighbours, task):
    """Score loss and the sum of the losses of x and y, own and neighbours', number by number.

    Args:
        head: a `ReleasedHead`.
        features: (B, F, h, w).
        shares: landmarks (B, N, 2) in shares of the side, NaN where there is none.
        neighbours: (N, C).
        task: for each face, how often the map is halved before its scores are taught; 0 teaches offsets too.
    """
    score, x, y, nb_x, nb_y = head(features)
    coarse = [score] + [head.layers[0](max_pool2d(features, 2**k)) for k in (1, 2)]
    squares, own, near = [], ([], []), ([], [])
    n, c = neighbours.shape
    for b in range(len(features)):
        maps, (height, width) = coarse[task[b]], coarse[task[b]].shape[-2:]
        for i in range(n):
            if shares[b, i].isnan().any():
                continue
            place = shares[b, i].double() * torch.tensor([width, height])
            column, row = (min(max(int(p // 1), 0), s - 1) for p, s in zip(place, (width, height), strict=True))
            target = torch.zeros(height, width, dtype=maps.dtype)
            target[row, column] = 1
            squares.append((maps[b, i] - target).square().flatten())
            if task[b]:
                continue
            own[0].append((x[b, i, row, column] - (place[0] - column)).abs())
            own[1].append((y[b, i, row, column] - (place[1] - row)).abs())
            for k, j in enumerate(neighbours[i].tolist()):
                if not shares[b, j].isnan().any():
                    there = shares[b, j].double() * torch.tensor([width, height])
                    near[0].append((nb_x[b, i * c + k, row, column] - (there[0] - column)).abs())
                    near[1].append((nb_y[b, i * c + k, row, column] - (there[1] - row)).abs())
    return torch.cat(squares).mean(), *(sum(torch.stack(axis).mean() for axis in each) for each in (own, near))


def rows_of(layers):
    """What our score and offset layers have of five tensors (rows, ...), one of each of the released layers."""
    score, x, y, nb_x, nb_y = layers
    own = torch.stack([x, y], dim=1).unsqueeze(1)  # (N, 1, 2, ...)
    others = torch.stack([nb_x, nb_y], dim=1).unflatten(0, (len(x), -1))  # (N, C, 2, ...)
    return score, torch.cat([own, others], dim=1).flatten(0, 2)


def take_head(network, released):
    """Give our network the weights of a `ReleasedHead`."""
    for key in ("weight", "bias"):
        rows = rows_of([getattr(layer, key).data.squeeze() for layer in released.layers])
        for layer, values in zip((network.score, network.offset), rows, strict=True):
            getattr(layer, key).data.copy_(values)
