"""Cat Head: drawn cats in the seven folders, with an annotation file of one line beside each image."""

import numpy as np

from datamodules.markup import CAT_9
from tests.drawn_faces import cat_face, draw, save


def write_cat(path, points):
    """A ``.cat`` file: the count, then x and y of each point, whole numbers with a space behind each and no end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{v} " for v in (len(points), *points.ravel().tolist())))


def write_cats(root, groups=12, seed=0):
    """``groups`` times two images over the seven folders in ``root``; the points (9, 2) by image, in order."""
    rng, points = np.random.default_rng(seed), {}
    for group in range(groups):
        for image in (0, 7):
            name = f"CAT_0{group * 7 // groups}/{group + 1:08d}_{image:03d}.jpg"
            face = (cat_face() * rng.uniform(28, 34) + rng.uniform((55, 45), (65, 55))).round().astype(int)
            points[name] = face
            save(draw([face], 120, 100, CAT_9), root / name)
            write_cat(root / f"{name}.cat", face)
    return points
