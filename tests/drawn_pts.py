"""300-W and Menpo2D, drawn: images with a `.pts` file beside each, MATLAB files of boxes, the lists of Menpo2D."""

import numpy as np
from scipy.io import savemat

from datamodules.markup import IBUG_68, MENPO_39
from tests.drawn_faces import draw, ibug_face, row, save

W300_FILES = {
    "afw": ("134212_1.jpg", "134212_2.jpg", "156474328_1.jpg"),
    "helen/trainset": ("2908549_1.jpg", "2908549_2.jpg", "100032540_1.jpg", "10037099_1.jpg"),
    "lfpw/trainset": tuple(f"image_{i:04}.png" for i in range(1, 18)),
    "helen/testset": ("296814969_3.jpg", "30844800_1.jpg"),
    "lfpw/testset": ("image_0001.png",),
    "ibug": ("image_003_1.jpg", "image_092 _01.jpg"),
    "Test/01_Indoor": ("indoor_001.png", "indoor_002.png"),
    "Test/02_Outdoor": ("outdoor_001.png",),
}


def profile_face(turned=1):
    """39 points of a face seen from the side, its nose at the right for ``turned`` 1 and at the left for -1."""
    jaw = np.array([(-1, -0.4), (-1, -0.1), (-0.95, 0.2), (-0.9, 0.5), (-0.7, 0.7), (-0.4, 0.8), (-0.1, 0.9)])
    chin = np.array([(0.1, 1), (0.3, 1.05), (0.5, 1), (0.62, 0.9), (0.6, 0.75)])
    brow, eye = row(-0.1, 0.6, 4, -0.7), np.array([(0.4, -0.45), (0.3, -0.47), (0.2, -0.4), (0.3, -0.33), (0.4, -0.35)])
    nose = np.array([(0.62, -0.4), (0.7, -0.25), (0.8, -0.1), (0.95, 0.05), (0.7, 0.2), (0.5, 0.15)])
    lips = np.array([(0.75, 0.4), (0.6, 0.38), (0.45, 0.42), (0.3, 0.5), (0.45, 0.58), (0.6, 0.62), (0.72, 0.6)])
    inside = np.array([(0.7, 0.48), (0.55, 0.48), (0.38, 0.5), (0.55, 0.53), (0.68, 0.53)])
    return np.concatenate([jaw, chin, brow, nose, eye, lips, inside]) * (turned, 1)


def placed(face, rng):
    """The points in pixels of an image of 120 x 100, at the precision of `.pts` files."""
    return np.round(face * rng.uniform(28, 34) + rng.uniform((57, 45), (63, 52)), 6)


def write_pts(path, points, version="version: 1", end="\n"):
    """A `.pts` file of these points, which count from 0, as 300-W writes it: it counts from 1, with two spaces."""
    lines = [f"{x:.6f} {y:.6f}" for x, y in points + 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([version, f"n_points:  {len(points)}", "{", *lines, "}"]) + end)


def write_w300(root, seed=0):
    """300-W in ``root`` with `W300_FILES`; the points by file."""
    rng, points = np.random.default_rng(seed), {}
    for folder, names in W300_FILES.items():
        for name in names:
            path = root / folder / name
            points[f"{folder}/{name}"] = placed(ibug_face(), rng)
            save(draw([points[f"{folder}/{name}"]], 120, 100, IBUG_68), path)
            write_pts(path.with_suffix(".pts"), points[f"{folder}/{name}"])
    return points


def write_w300_boxes(root, points):
    """The organisers' files of boxes, in reversed order: a cell of structs, which count pixels from 1."""
    boxes = {}
    for folder in ("afw", "helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset", "ibug"):
        cells = np.empty((1, len(W300_FILES[folder])), object)
        for i, name in enumerate(reversed(W300_FILES[folder])):
            face = points[f"{folder}/{name}"]
            true = np.concatenate([face.min(axis=0), face.max(axis=0)])
            boxes[f"{folder}/{name}"] = true + np.array((-3, -7, 5, 2))
            detected = boxes[f"{folder}/{name}"][None] + 1
            cells[0, i] = {"imgName": name, "bb_detector": detected, "bb_ground_truth": true[None] + 1}
        path = root / f"Bounding Boxes/bounding_boxes_{folder.replace('/', '_')}.mat"
        path.parent.mkdir(exist_ok=True)
        savemat(path, {"bounding_boxes": cells})
    return boxes


def write_menpo2d(root, train=12, test=4, lists=True, seed=0):
    """Menpo2D in ``root``, with the benchmark's lists or with `.pts` files; the points by file."""
    rng, points = np.random.default_rng(seed), {}
    for split, count in (("Train", train), ("Test", test)):
        for pose, markup in (("semifrontal", IBUG_68), ("profile", MENPO_39)):
            lines = []
            for i in range(count):
                name = f"image/{pose}/aflw__face_{39800 + i}.jpg"
                face = placed(ibug_face() if pose == "semifrontal" else profile_face((-1) ** i), rng)
                points[f"{split}/{name}"] = face
                save(draw([face], 120, 100, markup), root / split / name)
                box = [*face.min(axis=0) - 3, *face.max(axis=0) + 3]
                numbers = [*box, *rng.uniform(30, 80, 10), *face.ravel()]
                lines.append(" ".join([name, *(f"{v:.6f}" for v in numbers)]))
                if not lists:
                    write_pts((root / split / name).with_suffix(".pts"), face)
            if lists:
                (root / split / f"Menpo2D_{pose}_{split.lower()}.txt").write_text("\n".join(lines) + "\n")
    return points
