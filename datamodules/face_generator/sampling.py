"""How generated faces are drawn at random: people, what they do, and the conditions they are photographed in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.crop import Floats
from datamodules.face_generator.deformation import EXPRESSION, IDENTITY
from datamodules.face_generator.parameters import DENSITY, OCCLUDERS, Domain, FaceParameters

Flags = NDArray[np.bool_]

SCALE = 0.0345  # canvas sides a cm: a face fills half of its picture

_SKIN = np.array([
    (0.98, 0.87, 0.80), (0.94, 0.78, 0.68), (0.87, 0.69, 0.56), (0.76, 0.57, 0.43), (0.60, 0.42, 0.31),
    (0.44, 0.30, 0.22), (0.31, 0.21, 0.16),
])  # fmt: skip
_HAIR = np.array([
    (0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.36, 0.23, 0.13), (0.55, 0.38, 0.2),
    (0.78, 0.62, 0.4),
])  # fmt: skip
_IRIS = np.array([(0.16, 0.09, 0.05), (0.3, 0.18, 0.09), (0.38, 0.32, 0.15), (0.33, 0.42, 0.36), (0.36, 0.5, 0.66)])
_MASCULINE = {
    "jaw_width": 0.8, "brow_thickness": 0.9, "lower_lip": -0.5, "upper_lip": -0.6, "eye_size": -0.5,
    "brow_height": -0.6, "chin_length": 0.5, "nose_forward": 0.4, "brow_arch": -0.5,
}  # fmt: skip
_FULL_EXPRESSIONS = {
    "laugh": {
        "jaw_open": 0.75, "smile_left": 0.9, "smile_right": 0.9, "lips_part": 0.8, "squint": 0.7, "snarl": 0.4,
    },
    "surprise": {
        "jaw_open": 0.95, "brow_inner": 1.0, "brow_outer": 1.0, "lips_part": 0.2, "blink_left": -0.4,
        "blink_right": -0.4,
    },
    "disgust": {"snarl": 1.0, "brow_furrow": 1.0, "squint": 0.8, "stretch": 0.5, "lips_part": 0.7},
    "kiss": {"pucker": 1.1, "lips_part": -0.6, "brow_outer": 0.5},
    "sorrow": {"frown": 1.1, "brow_inner": 0.9, "brow_furrow": 0.5, "lips_part": -1.0},
    "shout": {"jaw_open": 1.1, "snarl": 0.6, "brow_furrow": 0.9, "stretch": 0.7, "lips_part": 0.6, "squint": 0.5},
    "smirk": {"mouth_shift": 1.2, "jaw_shift": 1.0, "smile_left": 0.8, "squint": 0.5, "lips_part": -0.8},
}  # fmt: skip


class Draws:
    """Hands out columns of independent random numbers, one row a face."""

    def __init__(self, seed: tuple[int, ...], index: NDArray[np.int64], normals: int = 64, uniforms: int = 128) -> None:
        generators = [np.random.default_rng((*seed, int(i))) for i in index]
        self._normals = iter(np.stack([g.standard_normal(normals) for g in generators]).T)
        self._uniforms = iter(np.stack([g.random(uniforms) for g in generators]).T)

    def normal(self) -> Floats:
        """(M,) of the standard normal distribution."""
        return next(self._normals)

    def normals(self, columns: int) -> Floats:
        """(M, columns) of the standard normal distribution."""
        return np.stack([next(self._normals) for _ in range(columns)], axis=1)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Floats:
        """(M,) between two numbers."""
        return low + (high - low) * next(self._uniforms)

    def uniforms(self, columns: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """(M, columns) between two numbers."""
        return np.stack([self.uniform(low, high) for _ in range(columns)], axis=1)

    def chance(self, probability: float | Floats) -> Flags:
        """(M,) true with this probability."""
        return next(self._uniforms) < probability

    def choice(self, count: int) -> NDArray[np.int64]:
        """(M,) from 0 to count - 1."""
        return (next(self._uniforms) * count).astype(np.int64)


def sample_parameters(seed: tuple[int, ...], index: NDArray[np.int64], domain: Domain) -> FaceParameters:
    """The faces (M,) of these indices; each is a function of seed, index and domain alone.

    The two domains show the same people; in ``infrared`` the camera is close, below, and lights the face itself.
    """
    draw, infrared = Draws(seed, index), domain == "infrared"
    masculine = np.clip(np.where(draw.chance(0.5), 0.95, 0.05) + 0.12 * draw.normal(), 0, 1)
    age, tone = draw.uniform(), draw.uniform() ** 1.15
    expression, gaze = expressions(draw, draw.chance(0.13))
    light, key, sky = lights(draw, draw.chance(0.28), infrared)
    distance = np.exp(draw.uniform(np.log(45), np.log(220)))
    if infrared:
        distance = 24 + 0.12 * (distance - 45)
    place = 0.5 + 0.02 * draw.normals(2)
    hairdo = _hairdos(draw, masculine > 0.5, age, tone)
    return FaceParameters(
        identity=_identities(draw, masculine),
        expression=expression,
        gaze=gaze,
        angles=poses(draw, draw.chance(0.13), infrared),
        camera=np.stack([distance, SCALE * np.exp(0.05 * draw.normal()), *place.T], axis=1),
        light=light,
        key=key,
        sky=sky,
        hairdo=hairdo,
        **_colours(draw, age, tone, masculine > 0.5, infrared),
        **_obstacles(draw, bald=hairdo[:, DENSITY] == 0),
        **_photographs(draw, infrared),
        infrared=np.full(len(index), float(infrared)),
        box=draw.uniforms(4),
    )


def _identities(draw: Draws, masculine: Floats) -> Floats:
    """Coefficients (M, 24)."""
    identity = np.clip(1.15 * draw.normals(len(IDENTITY)), -2.5, 2.5)
    for name, amount in _MASCULINE.items():
        identity[:, IDENTITY.index(name)] += amount * (2 * masculine - 1)
    identity[:, IDENTITY.index("skew")] *= 0.6
    return identity


def expressions(draw: Draws, strong: Flags) -> tuple[Floats, Floats]:
    """Expressions (M, 16) and gaze (M, 2): mild ones, and for ``strong`` faces one of seven full ones."""
    smile, lean = np.clip(0.35 * draw.normal() + 0.2, -0.2, 1), 0.12 * draw.normal()
    lids = np.where(draw.chance(0.04), 0.97, np.clip(0.1 * draw.normal() + 0.02, -0.15, 0.5))
    value: dict[str, Floats] = {
        "jaw_open": np.clip(0.16 * draw.normal(), 0, 0.5) * draw.chance(0.5),
        "smile_left": smile + lean,
        "smile_right": smile - lean,
        "frown": np.clip(0.25 * draw.normal(), 0, 1),
        "pucker": np.clip(0.2 * draw.normal(), -0.2, 0.6),
        "stretch": 0.15 * draw.normal(),
        "snarl": np.zeros(len(strong)),
        "lips_part": np.where(draw.chance(0.4), draw.uniform(-0.6, 0.7), -1.0) + 0.5 * (smile > 0.6),
        "brow_inner": 0.25 * draw.normal(),
        "brow_outer": 0.25 * draw.normal(),
        "brow_furrow": np.clip(0.3 * draw.normal(), -0.2, 1),
        "squint": np.clip(0.3 * draw.normal() + 0.4 * np.maximum(smile, 0), 0, 1),
        "blink_left": lids,
        "blink_right": lids,
        "mouth_shift": 0.2 * draw.normal(),
        "jaw_shift": 0.2 * draw.normal(),
    }
    kind, extent, winks = draw.choice(len(_FULL_EXPRESSIONS)), draw.uniform(0.75, 1.1), draw.chance(0.2)
    for number, full in enumerate(_FULL_EXPRESSIONS.values()):
        here = strong & (kind == number)
        for name in EXPRESSION:
            value[name] = np.where(here, extent * full[name] if name in full else 0.3 * value[name], value[name])
    value["blink_left"] = np.where(strong & winks, 0.97, value["blink_left"])
    value["blink_right"] = np.where(strong & winks & draw.chance(0.6), 0.97, value["blink_right"])
    gaze = np.clip(draw.normals(2) * [0.2, 0.09], [-0.45, -0.2], [0.45, 0.2])
    return np.stack([value[name] for name in EXPRESSION], axis=1), gaze


def poses(draw: Draws, large: Flags, infrared: bool) -> Floats:
    """Angles (M, 3): mostly near frontal, ``large`` ones far to a side, up or down."""
    yaw = np.clip((24 if infrared else 17) * draw.normal(), -38, 38)
    pitch = np.clip(9 * draw.normal() - (10 if infrared else 0), -22, 22)
    roll = np.clip(10 * draw.normal(), -35, 35)
    sideways, sign = draw.chance(0.8), np.where(draw.chance(0.5), 1, -1)
    yaw = np.where(large & sideways, sign * draw.uniform(42, 78), yaw)
    pitch = np.where(large & ~sideways, sign * draw.uniform(25, 36), pitch)
    return np.deg2rad(np.stack([yaw, pitch, roll], axis=1))


def _palette(colours: Floats, at: Floats) -> Floats:
    """Colours (M, 3) at positions (M,) from 0 to 1 along a row of colours."""
    position = np.clip(at, 0, 1) * (len(colours) - 1)
    return np.stack([np.interp(position, np.arange(len(colours)), c) for c in colours.T], axis=-1)


def _colours(draw: Draws, age: Floats, tone: Floats, man: Flags, infrared: bool) -> dict[str, Any]:
    """Colours of skin, hair, eyes and make-up, and how much make-up, beard, freckles and wrinkles there are."""
    fair = 1 - np.clip((tone - 0.3) / 0.3, 0, 1)
    skin = np.clip(_palette(_SKIN, tone) * (1 + 0.035 * draw.normals(3)), 0.1, 1)
    lips = np.clip(skin * [0.93, 0.66, 0.66] + [0.02, 0, 0.01] + 0.02 * draw.normals(3), 0.05, 1)
    hair = _palette(_HAIR, draw.uniform() ** 1.4 * (0.25 + 0.75 * fair))
    grey, dyed = np.clip((age - 0.72) / 0.2, 0, 1) * draw.uniform(0.2, 1), draw.chance(0.03)[:, None]
    hair = np.where(dyed, draw.uniforms(3, 0.15, 0.8), hair + grey[:, None] * ([0.68, 0.67, 0.66] - hair))
    brow = hair * (0.78 - 0.3 * (hair.mean(axis=1, keepdims=True) - 0.1))
    iris = _palette(_IRIS, draw.uniform() ** 1.5 * fair) * draw.uniform(0.85, 1.2)[:, None]

    made_up, daily = draw.chance(0.085), draw.uniform(0.05, 0.3) * (~man & draw.chance(0.5))
    amount = np.where(made_up, draw.uniform(0.7, 1), daily)
    lipstick = np.stack([draw.uniform(0.45, 0.85), draw.uniform(0.02, 0.3), draw.uniform(0.1, 0.4)], axis=1)
    lips = lips + (lipstick - lips) * (0.8 * amount * draw.uniform(0.4, 1))[:, None]
    makeup = [amount, amount * draw.uniform(0.3, 1), amount * draw.uniform(0.2, 0.9), 0.5 + 0.5 * amount]

    bearded = man & draw.chance(0.5)
    beard = bearded * draw.uniform(0.1, 1) ** 1.5
    surface = [
        beard * draw.chance(0.75),
        np.maximum(beard, bearded * draw.chance(0.3) * 0.8),
        draw.chance(0.15) * draw.uniform(0.4, 1) * fair,
        np.clip((age - 0.5) / 0.35, 0, 1) * draw.uniform(0.5, 1),
        draw.uniform(0.1, 0.5) + 0.25 * (age < 0.5),
    ]
    if infrared:  # melanin hardly absorbs it, so skin, lips, hair and eyes come closer to each other
        skin = 0.62 + 0.3 * (skin - 0.5)
        lips, hair, brow, iris = 0.92 * skin, 0.25 + 0.5 * hair, 0.12 + 0.6 * brow, 0.35 + 0.5 * iris
    return {
        "skin": skin,
        "lips": lips,
        "brow": brow,
        "iris": iris,
        "hair": hair,
        "shadow": np.clip(1.2 * draw.uniforms(3, 0.1, 0.6) * skin, 0, 1),
        "blush": np.clip(skin * [1.0, 0.62, 0.6], 0, 1),
        "makeup": np.stack(makeup, axis=1),
        "surface": np.stack(surface, axis=1),
    }


def _hairdos(draw: Draws, man: Flags, age: Floats, tone: Floats) -> Floats:
    """Hairdos (M, 9)."""
    long = draw.chance(np.where(man, 0.1, 0.72))
    length = np.where(long, draw.uniform(4, 22), draw.uniform(-3, 1.2))
    fringe = draw.chance(0.25) * draw.uniform(0.4, 1.0) * np.where(man, 0.7, 1)
    curls = draw.uniform(0.6, 1) * draw.chance(np.where(tone > 0.55, 0.65, 0.12))
    cropped = ~long & draw.chance(np.where(man, 0.3, 0.05))
    volume = np.where(long, draw.uniform(0.6, 1.8), draw.uniform(0.3, 1.7)) + curls * draw.uniform(0, 2.2)
    density = np.where(cropped, draw.uniform(0.5, 0.9), 1.0) * ~(man & draw.chance(0.12))
    receding = 1.3 * man * np.clip((age - 0.5) * 2, 0, 1) * draw.uniform()
    hairline, temples = draw.uniform(-7.7, -6.5) - receding, draw.uniform() - receding
    parting, waves = draw.uniform(-0.9, 0.9), draw.uniform() ** 1.5 * (curls == 0)
    volume, fringe = np.where(cropped, 0.1, volume), fringe * ~cropped
    return np.stack([hairline, temples, length, parting, volume, waves, fringe, density, curls], axis=1)


def lights(draw: Draws, odd: Flags, infrared: bool) -> tuple[Floats, Floats, Floats]:
    """Unit vectors to the lamp (M, 3), its strength (M, 3) and that of the light from everywhere (M, 3)."""
    side = np.where(odd, draw.uniform(-85, 85), np.clip(30 * draw.normal(), -60, 60)) * (0.15 if infrared else 1)
    height = np.where(odd, draw.uniform(-35, 70), draw.uniform(10, 50)) * (0.2 if infrared else 1)
    a, e = np.deg2rad(side), np.deg2rad(height)
    light = np.stack([np.sin(a) * np.cos(e), -np.sin(e), -np.cos(a) * np.cos(e)], axis=1)
    strength = np.where(odd, draw.uniform(0.35, 1.9), draw.uniform(0.75, 1.1))
    fill = np.where(odd, draw.uniform(0.05, 0.27), draw.uniform(0.28, 0.5))
    warmth, one = draw.normal() * np.where(odd, 0.16, 0.06), np.ones(len(odd))
    coloured = (odd & draw.chance(0.12))[:, None]
    tint = np.where(coloured, draw.uniforms(3, 0.35, 1.2), np.stack([1 + warmth, one, 1 - warmth], axis=1))
    cool = np.stack([1 - 0.5 * warmth, one, 1 + 0.6 * warmth], axis=1)
    return light, strength[:, None] * np.clip(tint, 0.2, 1.5), fill[:, None] * np.clip(cool, 0.4, 1.5)


def _obstacles(draw: Draws, bald: Flags) -> dict[str, Any]:
    """What is in front of the face."""
    occluder = np.where(draw.chance(0.29), 1 + draw.choice(len(OCCLUDERS) - 1), 0)
    occluder[bald & (occluder == OCCLUDERS.index("strand"))] = OCCLUDERS.index("hand")
    glasses = draw.chance(0.13) & (occluder != OCCLUDERS.index("sunglasses"))
    return {
        "occluder": occluder,
        "glasses": glasses,
        "place": draw.uniforms(6),
        "passage": np.zeros((len(bald), 2)),
        "cover": draw.uniforms(3, 0.03, 0.95),
    }


def _photographs(draw: Draws, infrared: bool) -> dict[str, Any]:
    """Surroundings, blur, and what the camera makes of it."""
    blurred, moving = draw.chance(0.31), draw.chance(0.35)
    path, turn = draw.uniform(0.008, 0.03) * (blurred & moving), draw.uniform(0, np.pi)
    return {
        "clothes": 0.7 * draw.uniforms(3, 0.05, 0.9) + draw.uniform(0, 0.3)[:, None],
        "scene": draw.choice(2**31),
        "exposure": draw.choice(2**31),
        "blur": np.where(blurred & ~moving, draw.uniform(0.008, 0.02), draw.uniform(0, 0.0025)),
        "motion": np.stack([path * np.cos(turn), path * np.sin(turn)], axis=1),
        "grain": draw.uniform(0.004, 0.03) + 0.03 * infrared,
        "contrast": 1 + 0.1 * draw.normal(),
        "saturation": np.clip(1 + 0.15 * draw.normal(), 0.4, 1.5) * ~draw.chance(0.06),
    }
