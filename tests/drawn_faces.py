"""Faces drawn by ruler and compass, and datasets of them in the formats of the real ones."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datamodules.markup import WFLW_98

WFLW_LISTS = Path("WFLW_annotations/list_98pt_rect_attr_train_test")
SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")


def ring(centre, radii, count):
    """Points of an ellipse, clockwise from its left end."""
    angle = np.pi + 2 * np.pi * np.arange(count) / count
    return np.array(centre) + np.array(radii) * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def jaw(count):
    """From the left ear over the chin to the right ear."""
    angle = np.linspace(np.pi, 0, count)
    return np.stack([np.cos(angle), 1.2 * np.sin(angle) - 0.2], axis=-1)


def row(x0, x1, count, y):
    return np.stack([np.linspace(x0, x1, count), np.full(count, y)], axis=-1)


def wflw_face():
    """A symmetric face of 98 points (98, 2), about 2 wide; x runs right, y down, the middle at x = 0."""
    brows = [row(-0.8, -0.2, 5, -0.6), row(-0.2, -0.6, 4, -0.5), row(0.2, 0.8, 5, -0.6), row(0.6, 0.2, 4, -0.5)]
    nose = [np.stack([np.zeros(4), np.linspace(-0.3, 0.15, 4)], axis=-1), row(-0.2, 0.2, 5, 0.25)]
    eyes = [ring((-0.45, -0.3), (0.2, 0.1), 8), ring((0.45, -0.3), (0.2, 0.1), 8)]
    mouth = [ring((0, 0.55), (0.4, 0.15), 12), ring((0, 0.55), (0.3, 0.06), 8)]
    return np.concatenate([jaw(33), *brows, *nose, *eyes, *mouth, [(-0.45, -0.3), (0.45, -0.3)]])


def ibug_face():
    """The same with the 68 points of 300-W."""
    brows = [row(-0.8, -0.2, 5, -0.6), row(0.2, 0.8, 5, -0.6)]
    nose = [np.stack([np.zeros(4), np.linspace(-0.3, 0.15, 4)], axis=-1), row(-0.2, 0.2, 5, 0.25)]
    eyes = [ring((-0.45, -0.3), (0.2, 0.1), 6), ring((0.45, -0.3), (0.2, 0.1), 6)]
    mouth = [ring((0, 0.55), (0.4, 0.15), 12), ring((0, 0.55), (0.3, 0.06), 8)]
    return np.concatenate([jaw(17), *brows, *nose, *eyes, *mouth])


def cat_face():
    """A cat's eyes, mouth and ears: 9 points."""
    return np.array(
        [(-0.4, 0), (0.4, 0), (0, 0.5), (-0.9, -0.3), (-0.8, -0.9), (-0.4, -0.6), (0.4, -0.6), (0.8, -0.9), (0.9, -0.3)]
    )


def random_face(rng, centre, scale):
    """The 98 points turned, stretched and moved at random, in pixels."""
    angle = rng.uniform(-0.3, 0.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (wflw_face() * rng.uniform(0.8, 1.2, 2)) @ turn.T * scale + centre


def draw(faces, width, height, markup=WFLW_98):
    """An RGB image (height, width, 3) of the lines of these faces, each (N, 2) in pixels."""
    image = Image.new("RGB", (width, height), (60, 90, 120))
    pen = ImageDraw.Draw(image)
    for face in faces:
        pen.polygon([tuple(p) for p in face[: len(face) // 3]], fill=(220, 180, 150))
        for first, last in markup.edges:
            pen.line([tuple(face[first]), tuple(face[last])], fill=(40, 20, 20), width=2)
    return np.asarray(image)


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_wflw(root, train=8, test=6, seed=0):
    """WFLW in ``root``: two faces an image, flags that put face i of the test list into subset i % 6."""
    rng = np.random.default_rng(seed)
    (root / WFLW_LISTS).mkdir(parents=True)
    for split, count in (("train", train), ("test", test)):
        lines = []
        for image in range(count // 2):
            name = f"0--Parade/0_Parade_{split}_{image}.jpg"
            faces = [random_face(rng, centre, 22) for centre in ((50, 50), (120, 60))]
            save(draw(faces, 170, 110), root / "WFLW_images" / name)
            for face in faces:
                box = [*np.floor(face.min(axis=0)).astype(int), *np.ceil(face.max(axis=0)).astype(int)]
                flags = np.eye(6, dtype=int)[len(lines) % 6]
                numbers = [f"{v:.6f}" for v in face.ravel()]
                lines.append(" ".join([*numbers, *map(str, [*box, *flags]), name]))
        (root / WFLW_LISTS / f"list_98pt_rect_attr_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_wflw_cropped(root, train=8, test=6, seed=0):
    """WFLW's crops in ``root``: test face i is in subset i % 6, where its file has another running number."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    lines = {"train": [], "test": []}
    for split, count in (("train", train), ("test", test)):
        for index in range(count):
            name = f"{index}_0_Parade_{split}_{index // 2}_0.png"
            face = random_face(rng, (127, 115), 80)
            save(draw([face], 256, 256), root / split / name)
            lines[split].append(" ".join([name, *(f"{v / 256:.8f}" for v in face.ravel())]))
        (root / f"{split}.txt").write_text("\n".join(lines[split]) + "\n")
    for i, subset in enumerate(SUBSETS):
        faces = [f"{n}_{line}" for n, line in enumerate(lines["test"][i::6])]
        (root / f"test_{subset}.txt").write_text("\n".join(faces) + "\n")
    return root


def write_csv(root, train=8, test=4, seed=0, landmarks=98):
    """The user's own images in ``root`` with a CSV a split: the first ``landmarks`` of the markup wflw-98."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    header = ",".join(["file", *(f"{axis}{i}" for i in range(landmarks) for axis in "xy")])
    for split, count in (("train", train), ("test", test)):
        lines = [header]
        for index in range(count):
            face = random_face(rng, (60, 50), 25)
            save(draw([face], 120, 100), root / split / f"{index}.png")
            lines.append(",".join([f"{index}.png", *(f"{v:.4f}" for v in face[:landmarks].ravel())]))
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root
