"""Draws a generated face: the head's triangles are rasterised, textured and lit; hair, clothes and clutter are added.

Light is computed on linear colour (the square of sRGB from 0 to 1) and painted on an sRGB canvas.
"""

import cv2
import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.camera import Shot
from datamodules.face_generator.hair import back_hair, conceals, front_hair, hair_shell
from datamodules.face_generator.mesh import TEXELS, Material, Mesh, head
from datamodules.face_generator.occluders import occlude
from datamodules.face_generator.parameters import FaceParameters
from datamodules.face_generator.raster import (
    Canvas,
    Pixels,
    corner_mean,
    corner_values,
    mix_over,
    paint,
    pixels_of,
    rasterise,
    sampled,
    smooth_normals,
)
from datamodules.face_generator.scene import backdrop, clothe, develop
from datamodules.face_generator.texture import layers
from datamodules.transforms import Image


def render(face: FaceParameters, size: int) -> Image:
    """The picture (size, size, 3) of one face."""
    shot, rng = Shot(face, size), np.random.default_rng(int(face.scene))
    canvas = backdrop(shot, rng)
    shell = hair_shell(face)
    back_hair(canvas, shot, shell)
    depths = _head(canvas, shot)
    clothe(canvas, shot, rng)
    front_hair(canvas, shot, shell, depths)
    occlude(canvas, shot)
    return develop(canvas, face)


def _head(canvas: Canvas, shot: Shot) -> Floats:
    """Draw head and neck; the distance (S * S,) of what each pixel shows, infinite where there is no head."""
    mesh = head()
    vertices = mesh.deformed(shot.face.identity, shot.face.expression)
    places, depth = shot.place(vertices, mesh.torso)
    concealed = corner_mean(conceals(shot.face, mesh.angle, mesh.neutral[:, 1]), mesh.triangles) > 0.9
    if (vertices[95:92:-1, 1] - vertices[89:92, 1]).max() < 0.05:  # a closed mouth hides what is in it
        concealed |= mesh.material >= Material.CAVITY
    shown = np.flatnonzero(~concealed)
    pixels = rasterise(places, depth, mesh.triangles, shot.size, mesh.layer, shown)
    colour = _skin(shot, mesh, pixels, vertices)  # everywhere: to leave out the few pixels of eyes and mouth costs more
    material = mesh.material[pixels.triangle]
    for chosen, lit in (
        (np.flatnonzero((material == Material.LEFT_EYE) | (material == Material.RIGHT_EYE)), _eyes),
        (np.flatnonzero(material >= Material.CAVITY), _mouth),
    ):
        if len(chosen):
            colour[:, chosen] = lit(shot, mesh, pixels.where(chosen), vertices)
    size = shot.size
    depths = np.full(size * size, np.inf, np.float32)
    depths[pixels.at] = corner_mean(depth, mesh.triangles).astype(np.float32).take(pixels.triangle)
    mask = np.isfinite(depths).view(np.uint8).reshape(size, size) * np.uint8(255)
    softened = cv2.blur(mask, (3, 3)).ravel()[pixels.at]
    edge = np.flatnonzero(softened < 200)
    outline, behind = pixels.at[edge], pixels_of(canvas, pixels.at[edge])
    paint(canvas, pixels.at, colour)
    mix_over(canvas, outline, behind, softened[edge] * np.float32(1 / 200))
    return depths


_WRAP = np.array([0.35, 0.16, 0.1], np.float32)[:, None]  # red light goes farther under the skin: shadows begin red
_DIFFUSE = np.clip((np.linspace(-1, 1, 256, dtype=np.float32) + _WRAP) / (1 + _WRAP), 0, None) ** np.float32(1.15)
_GLINT = np.clip(np.linspace(-1, 1, 256, dtype=np.float32), 0, 1) ** 24


def _byte(value: Floats) -> np.ndarray:
    """Values from -1 to 1 as 0 to 255."""
    return np.minimum(np.maximum(value * np.float32(127.5) + np.float32(127.5), 0), 255).astype(np.uint8)


def _skin(shot: Shot, mesh: Mesh, pixels: Pixels, vertices: Floats) -> Floats:
    """Linear colour (3, K) of skin with brows, lips, beard and make-up."""
    face, triangles = shot.face, mesh.triangles
    normals = smooth_normals(vertices, mesh.faces)
    directions = np.stack([shot.light, shot.half, shot.up])
    u, v, *lit = pixels.of(np.concatenate([mesh.texels, corner_values(normals @ directions.T, triangles)]))
    mixture, base = _mixture(face, directions)
    mixed = np.repeat(base, len(u), axis=1)
    per_pixel = TEXELS / (face.camera[1] * shot.size)  # texels a pixel of the canvas
    shrink = 1 if per_pixel < 1.5 else 2 if per_pixel < 3 else 4  # so that none is skipped
    u, v = ((place + np.float32(0.5)) / np.float32(shrink) - np.float32(0.5) for place in (u, v))
    for texture, matrix in zip(layers(shrink), mixture, strict=True):
        if matrix.any():
            mixed += matrix @ sampled(texture, u, v).astype(np.float32).T
    albedo = np.maximum(mixed[:3], np.float32(0.002))
    hollow, shine = mixed[6:]
    lamp = _byte(lit[0] + mixed[3])
    glint = np.take(_GLINT, _byte(lit[1] + mixed[4])) * shine
    reached = np.float32(0.35) + np.float32(0.65) * hollow
    ambient = (np.float32(0.72) + np.float32(0.28) * (lit[2] + mixed[5])) * hollow
    for i in range(3):
        light = np.take(_DIFFUSE[i] * np.float32(face.key[i]), lamp) * reached + np.float32(face.sky[i]) * ambient
        albedo[i] = albedo[i] * light + np.float32(face.key[i]) * glint
    return albedo


def _mixture(face: FaceParameters, directions: Floats) -> tuple[Floats, Floats]:
    """How texels (0 to 255) add up: matrices (4, 8, 4) for the four `texture.layers`, and an offset (8, 1).

    The eight sums are linear colour, changes of the cosines to lamp, mirror direction and sky, hollows and shine.
    """
    beard, moustache, freckles, wrinkles, shine = face.surface
    lipstick, shadow, blush, lid = face.makeup
    skin = np.square(face.skin)
    out = np.zeros((4, 8, 4))
    for layer, channel, amount, colour in (
        (0, 0, 0.6 + 0.4 * lipstick, face.lips),
        (0, 1, 0.88, face.brow),
        (0, 2, 0.5 + 0.45 * lid, face.brow * 0.45),
        (2, 0, 0.75 * beard, face.brow),
        (2, 1, 0.75 * max(moustache - beard, 0), face.brow),
        (2, 2, 0.55 * freckles, face.skin * [0.62, 0.45, 0.35]),
        (3, 0, 0.75 * shadow, face.shadow),
        (3, 1, 0.35 * blush, face.blush),
    ):
        out[layer, :3, channel] = amount * (np.square(colour) - skin)
    out[0, 6, 3] = 1
    out[1, :3, 3] = 0.2 * skin
    out[1, 3:6, :2] = 2.4 * directions[:, :2]
    out[1, 7, 2] = 0.45 * shine
    out[2, 3:6, 3] = 2.0 * wrinkles * directions[:, 1]
    out /= 255
    base = np.zeros((8, 1))
    base[:3, 0] = 0.9 * skin
    base[3:6, 0] = -127 * (out[1, 3:6, :2].sum(axis=1) + out[2, 3:6, 3])  # where relief and wrinkles are flat
    return out.astype(np.float32), base.astype(np.float32)


def _eyes(shot: Shot, mesh: Mesh, pixels: Pixels, vertices: Floats) -> Floats:
    """Linear colour (3, K) of eyeballs."""
    face = shot.face
    right = np.take(mesh.material, pixels.triangle) == Material.RIGHT_EYE
    values = np.concatenate([vertices[:, :2], _below_lid(mesh, vertices)], axis=1)
    x, y, below = pixels.of(corner_values(values, mesh.triangles))
    left_eye, right_eye = (vertices[96:98, :2] + face.gaze).astype(np.float32)
    x -= np.where(right, right_eye[0], left_eye[0])
    y -= np.where(right, right_eye[1], left_eye[1])
    r = np.sqrt(x * x + y * y)
    rim, black = _step(r, 0.56, 0.63), _step(r, 0.2, 0.28)
    pupil = black * (1.6 - 1.2 * _step(r, 0.3, 0.6))
    shade = 0.4 + 0.6 * _step(below, 0, 0.34)
    spot = 0.9 * _step(-np.hypot(x - 0.32 * shot.light[0], y - 0.32 * shot.light[1]), -0.143, -0.033)
    lamp = face.sky + face.key * (0.2 + 0.6 * max(-shot.light[2], 0))
    iris, white = np.square(face.iris), np.square([0.8, 0.77, 0.75])
    depth = 0.004 + 0.75 * face.infrared  # a lamp beside the lens is thrown back by the retina
    out = np.empty((3, len(x)), np.float32)
    for i in range(3):
        ball = iris[i] * pupil + depth * (1 - black)
        out[i] = (ball + rim * (white[i] - ball)) * shade * lamp[i] + spot * face.key[i]
    return out


def _step(value: Floats, start: float, stop: float) -> Floats:
    """0 up to ``start``, 1 from ``stop``, a straight line between."""
    return np.minimum(np.maximum((value - start) * (1 / (stop - start)), 0), 1)


def _below_lid(mesh: Mesh, vertices: Floats) -> Floats:
    """Height (V, 1) in cm below the upper lid, which shades the eyeball."""
    below = np.zeros((len(vertices), 1))
    upper, lower = mesh.lids[:, 0], mesh.lids[:, 1]
    below[lower, 0] = vertices[lower, 1] - vertices[upper, 1]
    return below


def _mouth(shot: Shot, mesh: Mesh, pixels: Pixels, vertices: Floats) -> Floats:
    """Linear colour (3, K) of teeth and of the dark behind them."""
    teeth = np.take(mesh.material, pixels.triangle) == Material.TEETH
    (x,) = pixels.of(corner_values(mesh.neutral[:, :1], mesh.triangles))
    gap = 1 - 0.3 * np.exp(-((((x + 0.36) % 0.72 - 0.36) / 0.05) ** 2))
    shade = gap * (0.9 - 0.6 * (x / 2.3) ** 2)
    lamp = shot.face.sky + 0.45 * shot.face.key
    white, dark = np.square([0.86, 0.82, 0.75]) * lamp, np.square([0.25, 0.09, 0.08]) * lamp
    return np.stack([np.where(teeth, white[i] * shade, dark[i]) for i in range(3)]).astype(np.float32)
