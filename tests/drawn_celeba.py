"""CelebA with MAFL: aligned images of 178 x 218 pixels with discs for eyes, nose and corners of the mouth."""

import numpy as np
from PIL import Image, ImageDraw

FACE = np.array([(69, 111), (108, 111), (88, 135), (72, 152), (105, 152)])
HEADER = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
PARTITION = [0] * 24 + [1] * 6 + [2] * 6  # of the images 000001.jpg and so on
MAFL = {"training": [*range(1, 11), 25], "testing": [12, 31, 11, 26]}  # the test list is not in order


def image_name(number):
    return f"{number:06d}.jpg"


def draw_discs(points, width, height):
    """A light image with a dark disc at each point."""
    image = Image.new("RGB", (width, height), (220, 200, 180))
    pen = ImageDraw.Draw(image)
    for x, y in points:
        pen.ellipse([x - 5, y - 5, x + 5, y + 5], fill=(30, 20, 20))
    return image


def write_celeba(root, seed=0):
    """CelebA and MAFL in ``root``; the points (M, 5, 2)."""
    rng = np.random.default_rng(seed)
    points = FACE + rng.integers(-4, 5, (len(PARTITION), 5, 2))
    names = [image_name(i + 1) for i in range(len(points))]
    for folder in ("Anno", "Eval", "MAFL", "Img/img_align_celeba"):
        (root / folder).mkdir(parents=True)
    lines = [f"{name}  " + "  ".join(f"{v:3d}" for v in face.ravel()) for name, face in zip(names, points, strict=True)]
    (root / "Anno/list_landmarks_align_celeba.txt").write_text("\n".join([str(len(names)), HEADER, *lines]) + "\n")
    lines = [f"{name} {part}" for name, part in zip(names, PARTITION, strict=True)]
    (root / "Eval/list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    for split, numbers in MAFL.items():
        (root / f"MAFL/{split}.txt").write_text("".join(image_name(i) + "\n" for i in numbers))
    for name, face in zip(names, points, strict=True):
        draw_discs(face, 178, 218).save(root / "Img/img_align_celeba" / name, quality=95)
    return points
