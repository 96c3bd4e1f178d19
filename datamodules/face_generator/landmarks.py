"""Where the landmarks of generated faces are, and which of them can be seen; nothing is drawn.

Follows the habit of WFLW's annotators: the jaw's points on the far side of a turned face lie on its visible outline.
Those of them that are far from their place on the jaw count as not visible.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator import hair
from datamodules.face_generator.camera import project, viewpoint
from datamodules.face_generator.deformation import deformations
from datamodules.face_generator.occluders import hidden
from datamodules.face_generator.parameters import FaceParameters
from datamodules.face_generator.surface import bare_surface, landmark_chart, surface

CHUNK = 500  # faces at once
SLIDE = 14  # places along each parallel of the face where its outline may be
EDGE = 0.1  # cm within which places are as good as the outermost
HIDDEN_SLIDE = 1.5  # cm from the jaw at which an outline point no longer shows the jaw
UPPER_LIDS = ((60, 61, 62, 63, 64), (68, 69, 70, 71, 72))
LOWER_LIDS = ((60, 67, 66, 65, 64), (68, 75, 74, 73, 72))


@cache
def _points() -> tuple[Floats, Floats, Floats, Floats]:
    """Neutral points (98 + 33 * SLIDE, 3), their two deformations, and the landmarks' outward normals (98, 3)."""
    chart = landmark_chart()
    share = np.linspace(1, 0.1, SLIDE)
    parallels = np.stack([chart[:33, :1] * share, np.repeat(chart[:33, 1:], SLIDE, axis=1)], axis=-1).reshape(-1, 2)
    # The far jaw's outline is that of the cheek: it does not jump to a nose or to lips that stand out behind it.
    neutral = np.concatenate([surface(*chart.T), bare_surface(*parallels.T)])
    identity, expression = deformations(neutral)
    step = 0.15
    across = surface(chart[:, 0] + step, chart[:, 1]) - surface(chart[:, 0] - step, chart[:, 1])
    down = surface(chart[:, 0], chart[:, 1] + step) - surface(chart[:, 0], chart[:, 1] - step)
    normal = np.cross(down, across)
    normal *= np.where((normal * neutral[:98]).sum(axis=1) < 0, -1, 1)[:, None]
    return neutral, identity, expression, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def landmarks(parameters: FaceParameters) -> tuple[Floats, NDArray[np.bool_]]:
    """Landmarks (M, 98, 2), from 0 to 1 across the canvas, and which (M, 98) can be seen."""
    parts = [_landmarks(parameters[i : i + CHUNK]) for i in range(0, len(parameters), CHUNK)]
    places, visible = zip(*parts, strict=True)
    return np.concatenate(places), np.concatenate(visible)


def _landmarks(faces: FaceParameters) -> tuple[Floats, NDArray[np.bool_]]:
    neutral, identity, expression, normal = _points()
    moved = neutral + np.tensordot(faces.identity, identity, 1) + np.tensordot(faces.expression, expression, 1)
    moved[:, 96:98] = pupils(moved[:, :98], faces.gaze)
    places = project(moved, faces.angles, faces.camera)
    sight = viewpoint(faces.angles, faces.camera)[:, None] - moved[:, :98]
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    visible = (sight * normal).sum(axis=-1) > -0.1  # faces the camera, or is seen edgewise
    places[:, :33], slid = _outline(places, faces)
    visible[:, :33] = slid < HIDDEN_SLIDE * faces.camera[:, 1:2]
    visible &= ~_behind_nose(places[:, :98], moved[:, :98], faces)
    closed = np.stack([moved[:, low, 1] - moved[:, up, 1] < 0.15 for up, low in ((62, 66), (70, 74))], axis=1)
    visible[:, 96:98] &= ~closed
    for row in range(len(faces)):
        face = faces[row]
        visible[row] &= ~hidden(face, places[row, :98]) & ~hair.hides(face, moved[row, :98], sight[row])
    return places[:, :98], visible


def pupils(points: Floats, gaze: Floats) -> Floats:
    """Pupils (M, 2, 3) between the lids of landmarks (M, 98, 3), looking ``gaze`` (M, 2) cm off the eyes' centres."""
    out = np.empty((len(points), 2, 3))
    rows = np.arange(len(points))
    for eye in range(2):
        upper, lower = points[:, UPPER_LIDS[eye]], points[:, LOWER_LIDS[eye]]
        x = points[:, 96 + eye, 0] + gaze[:, 0]
        ends = np.sort(upper[:, [0, -1], 0], axis=1)
        x = np.clip(x, ends[:, 0] + 0.5, ends[:, 1] - 0.5)
        between = []
        for lid in (upper, lower):
            left = np.clip((x[:, None] > lid[..., 0]).sum(axis=1) - 1, 0, 3)
            a, b = lid[rows, left], lid[rows, left + 1]
            between.append(a + ((x - a[:, 0]) / (b[:, 0] - a[:, 0]))[:, None] * (b - a))
        top, bottom = between
        share = (points[:, 96 + eye, 1] + gaze[:, 1] - top[:, 1]) / np.maximum(bottom[:, 1] - top[:, 1], 1e-6)
        share = np.clip(share, 0.15, 0.85)
        out[:, eye] = top + share[:, None] * (bottom - top)
    return out


def _outline(places: Floats, faces: FaceParameters) -> tuple[Floats, Floats]:
    """Jaw landmarks (M, 33, 2): of each parallel the place farthest out; and how far (M, 33) it lies from the jaw.

    Where several are about as far out, their mean, by the softmax of how far: so a landmark moves smoothly from one to
    another as the head turns or the jaw opens.
    """
    roll = faces.angles[:, 2]
    sideways = np.stack([np.cos(roll), np.sin(roll)], axis=1)
    parallels = places[:, 98:].reshape(len(places), 33, SLIDE, 2)
    out = np.einsum("mjkc,mc->mjk", parallels, sideways) * np.sign(np.arange(33) - 15.5)[:, None]
    share = np.exp((out - out.max(axis=-1, keepdims=True)) / (EDGE * faces.camera[:, 1, None, None]))
    share /= share.sum(axis=-1, keepdims=True)
    outline = np.einsum("mjk,mjkc->mjc", share, parallels)
    outline[:, 16] = places[:, 16]
    return outline, np.linalg.norm(outline - places[:, :33], axis=-1)


def _behind_nose(places: Floats, points: Floats, faces: FaceParameters) -> NDArray[np.bool_]:
    """Which points (M, 98) of the far half of the face the bridge of the nose hides."""
    roll = faces.angles[:, 2]
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    across = places[..., 0] * cos + places[..., 1] * sin
    down = places[..., 1] * cos - places[..., 0] * sin
    far = np.sign(faces.angles[:, :1])
    hidden = np.zeros(across.shape, bool)
    for top, bottom in ((51, 52), (52, 53), (53, 54), (54, 57)):
        y0, y1, x0, x1 = (v[:, i : i + 1] for v, i in ((down, top), (down, bottom), (across, top), (across, bottom)))
        share = (down - y0) / np.where(np.abs(y1 - y0) < 1e-9, 1e-9, y1 - y0)
        ridge = x0 + share * (x1 - x0)
        hidden |= (share >= 0) & (share < 1) & (far * (ridge - across) > 0.002) & (far * points[..., 0] > 0.3)
    hidden[:, 51:58] = False
    return hidden
