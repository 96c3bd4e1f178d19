"""Faces of dots, and a training on them without a trainer."""

import torch

COLOURS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])


def dots(faces=4, size=64, margin=8):
    """A batch of bright dots on black, one a landmark, each of its own colour."""
    generator = torch.Generator().manual_seed(1)
    landmarks = margin + torch.randint(0, size - 2 * margin, (faces, 5, 2), generator=generator).float()
    image = torch.zeros(faces, 3, size, size, dtype=torch.uint8)
    for face in range(faces):
        for (x, y), colour in zip(landmarks[face].int().tolist(), COLOURS, strict=True):
            image[face, :, y - 3 : y + 4, x - 3 : x + 4] = colour.view(3, 1, 1)
    return {"image": image, "landmarks": landmarks, "norm": torch.full((faces,), 32.0), "index": torch.arange(faces)}


def fall(module, lr):
    """Losses of 20 steps on one batch."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    losses = []
    for _ in range(20):
        loss = module.training_step(dots(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
