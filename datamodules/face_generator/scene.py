"""What surrounds a generated face: a cluttered background and clothes; and the camera that takes the picture."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.camera import Shot
from datamodules.face_generator.parameters import FaceParameters
from datamodules.face_generator.raster import Canvas
from datamodules.face_generator.sampling import SCALE
from datamodules.face_generator.texture import textures
from datamodules.perturbations import line_kernel
from datamodules.transforms import Image

SMALL = 56  # side in pixels at which a background is laid out before it is enlarged


def fixed(places: Any) -> NDArray[np.int32]:
    """Pixels (..., 2) in the sixteenths that OpenCV's ``shift=4`` wants."""
    return np.round(np.asarray(places) * 16).astype(np.int32)


def seen(colour: Floats, lamp: Floats) -> tuple[float, float, float]:
    """An sRGB colour (3,) from 0 to 1 under a lamp (3,), as 0 to 255."""
    r, g, b = np.clip(colour * np.sqrt(lamp), 0, 1) * 255
    return float(r), float(g), float(b)


def piece(texture: Canvas, width: int, height: int, rng: np.random.Generator) -> Canvas:
    """A random part (height, width, 3) of a texture, which is repeated where it is too small."""
    rows, columns = texture.shape[:2]
    if height > rows or width > columns:
        texture = np.tile(texture, (-(-height // rows), -(-width // columns), 1))
    y, x = rng.integers(0, texture.shape[0] - height + 1), rng.integers(0, texture.shape[1] - width + 1)
    return texture[y : y + height, x : x + width]


def backdrop(shot: Shot, rng: np.random.Generator) -> Canvas:
    """A background (S, S, 3): gradients and shapes out of focus."""
    face = shot.face
    lamp = (face.sky + 0.5 * face.key) * rng.uniform(0.5, 1.4) * (1 - 0.85 * face.infrared)  # its lamp is weak
    colours = rng.uniform(0.05, 0.95, (18, 3))
    colours += rng.uniform(0.3, 0.95, (18, 1)) * (colours.mean(axis=1, keepdims=True) - colours)
    tones = np.clip(colours * np.sqrt(lamp), 0, 1) * 255
    image = np.empty((SMALL, SMALL, 3), np.uint8)
    image[:] = tones[0] + _DOWN * (tones[1] - tones[0])
    shapes = int(rng.integers(0, 10))
    place = rng.uniform(-6, SMALL + 6, (shapes, 2))
    extent, kinds = rng.uniform(2, 26, (shapes, 2)), rng.random((shapes, 2))
    for (x, y), (width, height), (kind, angle), tone in zip(place, extent, kinds, tones[2:].tolist(), strict=False):
        if kind < 0.7:
            upright = kind < 0.45
            corners = cv2.boxPoints(((x, y), (width, 1.5 * height), 0.0 if upright else 180 * angle))
            cv2.fillConvexPoly(image, fixed(corners), tone, cv2.LINE_AA, 4)
        else:
            cv2.circle(image, (round(16 * x), round(16 * y)), round(7 * width), tone, -1, cv2.LINE_AA, 4)
    blurred: Any = image
    if rng.random() < 0.8:
        width = 2 * int(rng.integers(1, 6)) + 1
        blurred = cv2.blur(cv2.blur(image, (width, width)), (width, width))
    large = cv2.resize(blurred, (shot.size, shot.size), interpolation=cv2.INTER_LINEAR)
    clouds = piece(textures().clouds, shot.size, shot.size, rng)
    return np.asarray(cv2.addWeighted(large, 1.0, clouds, 0.2, -26), np.uint8)


_DOWN = np.linspace(0, 1, SMALL)[:, None, None]
_SHOULDERS = np.array([
    (-5.6, 14.0, 2.0), (-7.5, 15.3, 2.2), (-11, 16.6, 2), (-16.5, 18.3, 2), (-20, 21, 2), (-22, 27, 2), (-23, 45, 2),
    (23, 45, 2), (22, 27, 2), (20, 21, 2), (16.5, 18.3, 2), (11, 16.6, 2), (7.5, 15.3, 2.2), (5.6, 14.0, 2.0),
])  # fmt: skip
_ACROSS = np.linspace(1, -1, 13)


def clothe(canvas: Canvas, shot: Shot, rng: np.random.Generator) -> None:
    """Draw shoulders and collar below the neck on a canvas (S, S, 3).

    Nothing that is drawn at random depends on where they are: in a video, folds and stripes move with them.
    """
    face, size = shot.face, shot.size
    depth, square = rng.uniform(0.3, 1.7), rng.uniform(0.3, 1.6)
    start, striped, frequency = rng.uniform(0, 512, 2), rng.random() < 0.35, rng.uniform(0.2, 1.2)
    dip = 14.0 + 2.2 * (1 - _ACROSS**2) ** square + depth * (1 - np.abs(_ACROSS) ** (2 * square))
    neckline = np.stack([5.6 * _ACROSS, dip, 2.0 - 6.5 * (1 - _ACROSS**2)], axis=1)
    places, _ = shot.place(np.concatenate([_SHOULDERS, neckline]), 1.0)
    corners = fixed(np.clip(places, -3 * size, 4 * size))
    top = max(int(places[:, 1].min()) - 1, 0)
    if top >= size:
        return
    colour = np.array(seen(face.clothes, face.sky + 0.3 * face.key * (1 - face.light[2])))
    back = _back_to_cloth(places, start, size)
    folds = cv2.warpAffine(
        textures().clouds, back, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
    )
    if striped:
        down = np.arange(size)[:, None] * back[1, 1] + np.arange(size) * back[1, 0] + back[1, 2]
        step = frequency * 205 / size
        share = np.clip(0.5 + (np.sin(down * step) - 0.2) / step, 0, 1)[..., None]  # their edges are a pixel wide
        folds = (folds + share * (rng.integers(0, 127, 3) - folds / 2)).astype(np.uint8)
    shade = np.clip(np.linspace(0.55, 1.25, 256)[:, None, None] * colour, 0, 255)
    cv2.fillPoly(canvas, [corners], colour.tolist(), cv2.LINE_AA, 4)  # smooth edges; then the folds within them
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [corners], (255,), cv2.LINE_8, 4)
    cv2.copyTo(cv2.LUT(folds, shade.astype(np.uint8)), mask, canvas)
    collar = corners[len(_SHOULDERS) :]
    cv2.polylines(canvas, [collar], False, (colour * 0.6).tolist(), max(1, size // 160), cv2.LINE_AA, 4)


def _back_to_cloth(places: Floats, start: Floats, size: int) -> Floats:
    """The affine (2, 3) from pixels of the canvas to pixels of a cloth that hangs on shoulders at ``places``.

    Its pixels are those of the canvas where a head is as large as usual; ``start`` (2,) lies between the shoulders.
    """
    left, right = places[4], places[9]
    middle, across = (left + right) / 2, (right - left) / (40 * SCALE * size)
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]]) / (across @ across)
    return np.concatenate([turn, (start - turn @ middle)[:, None]], axis=1)


def develop(picture: Canvas, face: FaceParameters) -> Image:
    """The photograph of a scene (S, S, 3): out of focus, moved, with its contrast, colour and grain."""
    size = picture.shape[0]
    image: Any = picture
    sigma = float(face.blur * size)
    if sigma > 0.4:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    path = float(np.linalg.norm(face.motion)) * size  # of a point while the camera moves
    if path > 0.2:
        angle = float(np.arctan2(face.motion[1], face.motion[0]))
        image = cv2.filter2D(image, -1, line_kernel(path, angle))
    grey = np.tile([0.3, 0.59, 0.11], (3, 1))
    vivid = face.saturation * (1 - face.infrared)
    matrix = face.contrast * (grey + vivid * (np.eye(3) - grey))
    middle = np.full((3, 1), 255 * 0.45 * (1 - face.contrast))  # which contrast leaves alone
    image = cv2.transform(image, np.concatenate([matrix, middle], axis=1))
    if face.infrared:
        image = cv2.multiply(image, _vignette(size), scale=1 / 255)
    grain = piece(textures().grain, size, size, np.random.default_rng(int(face.exposure)))
    strength = float(face.grain) * 255 / 32
    return np.asarray(cv2.addWeighted(image, 1.0, grain, strength, -128 * strength), np.uint8)


@lru_cache(maxsize=4)
def _vignette(size: int) -> Canvas:
    """What a wide-angle lens lets through (S, S, 3), 255 in the middle."""
    y, x = np.indices((size, size)) / (size - 1) * 2 - 1
    return np.repeat((255 * (1 - 0.32 * (x**2 + y**2)))[..., None], 3, axis=2).astype(np.uint8)
