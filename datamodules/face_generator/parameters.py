"""Everything a generated face depends on, and how faces are drawn at random.

Parameters are arrays with one row a face, so a row is a face, and rows that change slowly are a video.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.shape import EXPRESSION, IDENTITY

Domain = Literal["photo", "infrared"]
DOMAINS: tuple[Domain, ...] = ("photo", "infrared")
SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
OCCLUDERS = ("none", "sunglasses", "mask", "hand", "object", "strand", "scarf")


@dataclass(frozen=True)
class FaceParameters:
    """M faces (or one, without the leading axis). Lengths in cm, colours as sRGB from 0 to 1, angles in radians.

    Args:
        identity: (M, 24) standard deviations, named by `shape.IDENTITY`.
        expression: (M, 16) 1 is full extent, named by `shape.EXPRESSION`.
        gaze: (M, 2) how far the pupils are off the eyes' centres.
        angles: (M, 3) yaw to the image's right, pitch down, roll clockwise.
        camera: (M, 4) distance in cm, then scale (canvas sides a cm) and place x, y (canvas sides) of the head.
        skin, lips, brow, iris, hair, shadow, blush, clothes: (M, 3) colours.
        makeup: (M, 4) amounts from 0 to 1 of lipstick, eye shadow, blush, lid line.
        surface: (M, 5) amounts of beard, moustache, freckles, wrinkles, shine.
        hairdo: (M, 9) see `hair`.
        glasses: (M,) share of clear glasses, 0 none to 1.
        light: (M, 3) unit vector to the lamp in the camera's frame.
        key, sky: (M, 3) strength of the lamp and of the light from everywhere.
        occluder: (M,) index into `OCCLUDERS`; ``place`` (M, 6) where it is and how large; ``cover`` (M, 3) its colour.
        blur: (M,) sigma in canvas sides; ``motion`` (M, 2) the camera's path in canvas sides.
        grain: (M,) noise of the sensor; ``contrast``, ``saturation`` (M,) 1 unchanged.
        scene: (M,) seed of background, clothes and grain.
        infrared: (M,) 0 a colour photograph, 1 a grey image lit from the camera.
        box: (M, 4) how loose the provided box is at each edge, 0 to 1.
    """

    identity: Floats
    expression: Floats
    gaze: Floats
    angles: Floats
    camera: Floats
    skin: Floats
    lips: Floats
    brow: Floats
    iris: Floats
    hair: Floats
    shadow: Floats
    blush: Floats
    clothes: Floats
    makeup: Floats
    surface: Floats
    hairdo: Floats
    glasses: Floats
    light: Floats
    key: Floats
    sky: Floats
    occluder: NDArray[np.int64]
    place: Floats
    cover: Floats
    blur: Floats
    motion: Floats
    grain: Floats
    contrast: Floats
    saturation: Floats
    scene: NDArray[np.int64]
    infrared: Floats
    box: Floats

    def __len__(self) -> int:
        return len(self.gaze)

    def __getitem__(self, rows: int | slice | NDArray[np.int64]) -> "FaceParameters":
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def subsets(faces: FaceParameters) -> NDArray[np.bool_]:
    """Which of the six `SUBSETS` each face belongs to (M, 6); thresholds give about WFLW's shares."""
    yaw, pitch = np.abs(np.rad2deg(faces.angles[:, :2])).T
    strong = [EXPRESSION.index(n) for n in ("jaw_open", "snarl", "pucker", "frown", "mouth_shift", "brow_inner")]
    return np.stack([
        (yaw > 40) | (pitch > 24),
        faces.expression[:, strong].max(axis=1) > 0.68,
        faces.sky[:, 1] < 0.275,
        faces.makeup[:, 0] > 0.5,
        faces.occluder > 0,
        (faces.blur > 0.005) | (np.linalg.norm(faces.motion, axis=1) > 0.005),
    ], axis=1)  # fmt: skip


_SKIN = np.array([
    (0.98, 0.87, 0.80), (0.94, 0.78, 0.68), (0.87, 0.69, 0.56), (0.76, 0.57, 0.43),
    (0.60, 0.42, 0.31), (0.44, 0.30, 0.22), (0.31, 0.21, 0.16),
])  # fmt: skip
_HAIR = np.array([(0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.36, 0.23, 0.13), (0.55, 0.38, 0.2), (0.78, 0.62, 0.4)])
_IRIS = np.array([(0.16, 0.09, 0.05), (0.3, 0.18, 0.09), (0.38, 0.32, 0.15), (0.33, 0.42, 0.36), (0.36, 0.5, 0.66)])


def _palette(colours: Floats, at: Floats) -> Floats:
    position = np.clip(at, 0, 1) * (len(colours) - 1)
    return np.stack([np.interp(position, np.arange(len(colours)), c) for c in colours.T], axis=-1)


class _Draws:
    """Hands out the columns of independent random numbers, one row a face."""

    def __init__(self, seed: tuple[int, ...], index: NDArray[np.int64], normals: int = 64, uniforms: int = 128) -> None:
        rngs = [np.random.default_rng((*seed, int(i))) for i in index]
        self._normal = np.stack([rng.standard_normal(normals) for rng in rngs])
        self._uniform = np.stack([rng.random(uniforms) for rng in rngs])
        self._used = [0, 0]

    def normal(self, columns: int | None = None) -> Floats:
        start, self._used[0] = self._used[0], self._used[0] + (columns or 1)
        return self._normal[:, start] if columns is None else self._normal[:, start : start + columns]

    def uniform(self, low: float = 0, high: float = 1, columns: int | None = None) -> Floats:
        start, self._used[1] = self._used[1], self._used[1] + (columns or 1)
        share = self._uniform[:, start] if columns is None else self._uniform[:, start : start + columns]
        return low + (high - low) * share

    def chance(self, probability: float) -> NDArray[np.bool_]:
        return self.uniform() < probability


def sample_parameters(seed: tuple[int, ...], index: NDArray[np.int64], domain: Domain) -> FaceParameters:
    """The faces (M,) of these indices; each is a function of seed, index and domain alone."""
    draw = _Draws(seed, index)
    m = len(index)
    infrared = domain == "infrared"
    masculine = np.clip(0.5 + 0.9 * (draw.chance(0.5) - 0.5) + 0.12 * draw.normal(), 0, 1)
    age = draw.uniform()

    identity = np.clip(1.15 * draw.normal(len(IDENTITY)), -2.5, 2.5)
    lean = 2 * masculine - 1
    for name, amount in (("jaw_width", 0.8), ("brow_thickness", 0.9), ("lower_lip", -0.5), ("upper_lip", -0.6), ("eye_size", -0.5),
                         ("brow_height", -0.6), ("chin_length", 0.5), ("nose_forward", 0.4), ("brow_arch", -0.5)):  # fmt: skip
        identity[:, IDENTITY.index(name)] += amount * lean
    identity[:, IDENTITY.index("skew")] *= 0.6

    expressive = draw.chance(0.13)
    expression, gaze = _expressions(draw, expressive)
    angles = _poses(draw, draw.chance(0.13), wide=infrared)

    tone = draw.uniform() ** 1.15
    skin = np.clip(_palette(_SKIN, tone) * (1 + 0.035 * draw.normal(3)), 0.1, 1)
    lips = np.clip(skin * [0.93, 0.66, 0.66] + [0.02, 0, 0.01] + 0.02 * draw.normal(3), 0.05, 1)
    dark = 1 - np.clip((tone - 0.3) / 0.3, 0, 1)
    hair = _palette(_HAIR, draw.uniform() ** 1.4 * (0.25 + 0.75 * dark))
    grey = np.clip((age - 0.72) / 0.2, 0, 1) * draw.uniform(0.2, 1)
    dyed = draw.chance(0.03)
    hair = hair + (np.array([0.68, 0.67, 0.66]) - hair) * grey[:, None]
    hair = np.where(dyed[:, None], draw.uniform(0.15, 0.8, 3), hair)
    brow = np.where(dyed[:, None], hair * 0.6, hair * (0.78 - 0.3 * (hair.mean(axis=1, keepdims=True) - 0.1)))
    iris = _palette(_IRIS, draw.uniform() ** 1.5 * dark) * draw.uniform(0.85, 1.2)[:, None]

    made_up = draw.chance(0.085)
    amount = np.where(made_up, draw.uniform(0.7, 1), draw.uniform(0.05, 0.3) * (masculine < 0.5) * draw.chance(0.5))
    lipstick = np.stack([draw.uniform(0.45, 0.85), draw.uniform(0.02, 0.3), draw.uniform(0.1, 0.4)], axis=1)
    lips = lips + (lipstick - lips) * (0.8 * amount * draw.uniform(0.4, 1))[:, None]
    makeup = np.clip(np.stack([amount, amount * draw.uniform(0.3, 1), amount * draw.uniform(0.2, 0.9), 0.5 + 0.5 * amount], axis=1), 0, 1)
    bearded = (masculine > 0.5) * draw.chance(0.5)
    beard = bearded * draw.uniform(0.1, 1) ** 1.5
    surface = np.stack([
        beard * (draw.uniform() > 0.25), np.maximum(beard, bearded * draw.chance(0.3) * 0.8), draw.chance(0.15) * draw.uniform(0.4, 1) * dark,
        np.clip((age - 0.45) / 0.4, 0, 1) * draw.uniform(0.5, 1), draw.uniform(0.1, 0.5) + 0.25 * (age < 0.5),
    ], axis=1)  # fmt: skip
    hairdo = _hairdos(draw, masculine, age, tone)

    odd_light = draw.chance(0.28)
    light, key, sky = _lights(draw, odd_light, infrared)
    occluded = draw.chance(0.29)
    kind = np.where(occluded, 1 + (draw.uniform(0, 0.999) * (len(OCCLUDERS) - 1)).astype(int), 0)
    blurred = draw.chance(0.31)
    moved = blurred & draw.chance(0.35)
    path = draw.uniform(0.008, 0.03) * moved
    turn = draw.uniform(0, np.pi)
    if infrared:  # melanin hardly absorbs it, so skin, lips, hair and eyes come closer to each other
        skin = 0.62 + 0.3 * (skin - 0.5)
        lips, hair, brow, iris = 0.92 * skin, 0.25 + 0.5 * hair, 0.12 + 0.6 * brow, 0.35 + 0.5 * iris
    distance = draw.uniform(24, 45) if infrared else np.exp(draw.uniform(np.log(45), np.log(220)))
    scale = 0.0345 * np.exp(0.05 * draw.normal())
    camera = np.stack([distance, scale, 0.5 + 0.02 * draw.normal(), 0.5 + 0.02 * draw.normal()], axis=1)
    return FaceParameters(
        identity=identity,
        expression=expression,
        gaze=gaze,
        angles=angles,
        camera=camera,
        skin=skin,
        lips=lips,
        brow=brow,
        iris=iris,
        hair=hair,
        shadow=np.clip(draw.uniform(0.1, 0.6, 3) * skin * 1.2, 0, 1),
        blush=np.clip(skin * [1.0, 0.62, 0.6], 0, 1),
        clothes=draw.uniform(0.05, 0.9, 3) * 0.7 + draw.uniform(0, 0.3)[:, None],
        makeup=makeup,
        surface=surface,
        hairdo=hairdo,
        glasses=(draw.chance(0.13) & (kind != OCCLUDERS.index("sunglasses"))).astype(float),
        light=light,
        key=key,
        sky=sky,
        occluder=kind,
        place=draw.uniform(0, 1, 6),
        cover=draw.uniform(0.03, 0.95, 3),
        blur=np.where(blurred & ~moved, draw.uniform(0.008, 0.02), draw.uniform(0, 0.0025)),
        motion=np.stack([path * np.cos(turn), path * np.sin(turn)], axis=1),
        grain=draw.uniform(0.004, 0.03) + 0.03 * infrared,
        contrast=1 + 0.1 * draw.normal(),
        saturation=np.clip(1 + 0.15 * draw.normal(), 0.4, 1.5) * ~draw.chance(0.06),
        scene=np.array([int(u * 2**31) for u in draw.uniform()]),
        infrared=np.full(m, float(infrared)),
        box=draw.uniform(0, 1, 4),
    )


def _expressions(draw: _Draws, strong: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Expressions (M, 16) and gaze (M, 2): mild ones, and for ``strong`` faces one of seven full ones."""
    m = len(strong)
    value = dict.fromkeys(EXPRESSION, np.zeros(m))
    smile = np.clip(draw.normal() * 0.35 + 0.2, -0.2, 1)
    talk = np.clip(draw.normal() * 0.16, 0, 0.5) * draw.chance(0.5)
    lean = 0.12 * draw.normal()
    value |= {
        "jaw_open": talk,
        "smile_left": smile + lean,
        "smile_right": smile - lean,
        "frown": np.clip(0.25 * draw.normal(), 0, 1),
        "pucker": np.clip(0.2 * draw.normal(), -0.2, 0.6),
        "stretch": 0.15 * draw.normal(),
        "lips_part": np.where(draw.chance(0.4), draw.uniform(-0.6, 0.7), -1.0) + 0.5 * (smile > 0.6),
        "brow_inner": 0.25 * draw.normal(),
        "brow_outer": 0.25 * draw.normal(),
        "brow_furrow": np.clip(0.3 * draw.normal(), -0.2, 1),
        "squint": np.clip(0.3 * draw.normal() + 0.4 * np.maximum(smile, 0), 0, 1),
        "mouth_shift": 0.2 * draw.normal(),
        "jaw_shift": 0.2 * draw.normal(),
    }
    lids = np.clip(0.1 * draw.normal() + 0.02, -0.15, 0.5)
    shut = draw.chance(0.04)
    left, right = (np.where(shut, 0.97, lids) for _ in range(2))
    full = (
        {"jaw_open": 0.75, "smile_left": 0.9, "smile_right": 0.9, "lips_part": 0.8, "squint": 0.7, "snarl": 0.4},  # laugh
        {"jaw_open": 0.95, "brow_inner": 1.0, "brow_outer": 1.0, "lips_part": 0.2},  # surprise
        {"snarl": 1.0, "brow_furrow": 1.0, "squint": 0.8, "stretch": 0.5, "lips_part": 0.7},  # disgust
        {"pucker": 1.1, "lips_part": -0.6, "brow_outer": 0.5},  # kiss
        {"frown": 1.1, "brow_inner": 0.9, "brow_furrow": 0.5, "lips_part": -1.0},  # sorrow
        {"jaw_open": 1.1, "snarl": 0.6, "brow_furrow": 0.9, "stretch": 0.7, "lips_part": 0.6, "squint": 0.5},  # shout
        {"mouth_shift": 1.2, "jaw_shift": 1.0, "smile_left": 0.8, "squint": 0.5, "lips_part": -0.8},  # smirk
    )
    which = (draw.uniform(0, 0.999) * len(full)).astype(int)
    extent = draw.uniform(0.75, 1.1)
    for i, target in enumerate(full):
        here = strong & (which == i)
        for name in EXPRESSION[:12] + EXPRESSION[14:]:
            goal = target.get(name, 0.3 * value[name])
            value[name] = np.where(here, goal * (extent if goal is not value[name] else 1), value[name])
    wink = strong & draw.chance(0.2)
    left = np.where(wink, 0.97, np.where(strong & (which == 1), -0.35, left))
    right = np.where(wink & draw.chance(0.6), 0.97, np.where(strong & (which == 1), -0.35, right))
    value |= {"blink_left": left, "blink_right": right}
    gaze = np.clip(draw.normal(2) * [0.2, 0.09], [-0.45, -0.2], [0.45, 0.2])
    return np.stack([value[name] for name in EXPRESSION], axis=1), gaze


def _poses(draw: _Draws, large: NDArray[np.bool_], wide: bool) -> Floats:
    """Angles (M, 3): mostly near frontal, ``large`` ones far to a side, up or down."""
    yaw = np.clip(draw.normal() * (24 if wide else 17), -38, 38)
    pitch = np.clip(draw.normal() * 9 - (10 if wide else 0), -22, 22)
    roll = np.clip(draw.normal() * 10, -35, 35)
    sideways = draw.chance(0.8)
    sign = np.where(draw.chance(0.5), 1, -1)
    yaw = np.where(large & sideways, sign * draw.uniform(42, 78), yaw)
    pitch = np.where(large & ~sideways, sign * draw.uniform(25, 36), pitch)
    return np.deg2rad(np.stack([yaw, pitch, roll], axis=1))


def _hairdos(draw: _Draws, masculine: Floats, age: Floats, tone: Floats) -> Floats:
    """(M, 9): hairline, temples, side length, parting, volume, waves, fringe, density, curls; see `hair`."""
    man = masculine > 0.5
    long = draw.uniform() < np.where(man, 0.1, 0.72)
    length = np.where(long, draw.uniform(4, 22), draw.uniform(-3, 1.2))
    fringe = draw.chance(0.25) * draw.uniform(0.4, 1.0) * np.where(man, 0.7, 1)
    curls = np.where(draw.chance(0.12) | ((tone > 0.55) & draw.chance(0.6)), draw.uniform(0.6, 1), 0.0)
    cropped = ~long & (draw.uniform() < np.where(man, 0.3, 0.05))
    volume = np.where(long, draw.uniform(0.6, 1.8), draw.uniform(0.3, 1.7))
    volume = np.where(cropped, 0.1, volume + curls * draw.uniform(0, 2.2))
    density = np.where(man & draw.chance(0.12), 0.0, np.where(cropped, draw.uniform(0.5, 0.9), 1.0))
    receding = 1.3 * man * np.clip((age - 0.5) * 2, 0, 1) * draw.uniform()
    return np.stack([
        draw.uniform(-7.7, -6.5) - receding, draw.uniform(0, 1) - receding, length, draw.uniform(-0.9, 0.9),
        volume, draw.uniform(0, 1) ** 1.5 * (curls == 0), fringe * ~cropped, density, curls,
    ], axis=1)  # fmt: skip


def _lights(draw: _Draws, odd: NDArray[np.bool_], infrared: bool) -> tuple[Floats, Floats, Floats]:
    """Unit vectors to the lamp (M, 3), its strength (M, 3) and that of the sky (M, 3)."""
    side = np.where(odd, draw.uniform(-85, 85), np.clip(draw.normal() * 30, -60, 60)) * (0.15 if infrared else 1)
    height = np.where(odd, draw.uniform(-35, 70), draw.uniform(10, 50)) * (0.2 if infrared else 1)
    a, e = np.deg2rad(side), np.deg2rad(height)
    light = np.stack([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)], axis=1)
    strength = np.where(odd, draw.uniform(0.35, 1.9), draw.uniform(0.75, 1.1))
    fill = np.where(odd, draw.uniform(0.05, 0.27), draw.uniform(0.28, 0.5))
    warmth = draw.normal() * np.where(odd, 0.16, 0.06)
    tint = np.stack([1 + warmth, np.ones_like(warmth), 1 - warmth], axis=1)
    tinted = np.where((odd & draw.chance(0.12))[:, None], draw.uniform(0.35, 1.2, 3), tint)
    cool = np.stack([1 - 0.5 * warmth, np.ones_like(warmth), 1 + 0.6 * warmth], axis=1)
    return light, strength[:, None] * np.clip(tinted, 0.2, 1.5), fill[:, None] * np.clip(cool, 0.4, 1.5)
