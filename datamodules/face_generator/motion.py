"""Generated videos: one person before a camera for a while, as face parameters with one row a frame.

Half of the videos are clear, as a call is: bright, sharp, the face free and hardly turned. The others have several of
the things that make landmarks ambiguous: darkness and noise, something in front, a head turned far, blur.

What a camera that moves does to a picture is done to the head in front of a background that rests.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from datamodules.crop import Floats
from datamodules.face_generator.camera import project
from datamodules.face_generator.deformation import EXPRESSION
from datamodules.face_generator.parameters import DENSITY, OCCLUDERS, Domain, FaceParameters
from datamodules.face_generator.sampling import Draws, expressions, lights, poses, sample_parameters
from datamodules.face_generator.surface import landmark_chart, surface
from datamodules.face_generator.timeline import Episode, Wander, episodes, levels, limited

FRAME_RATE = 25.0  # a second
LASTING = ("sunglasses", "mask", "strand", "scarf")  # occluders that stay for a whole video; the others pass
OUTSIDE = 44.0  # cm from its place at which a hand or an object is out of the picture
FARTHEST = np.deg2rad([78, 36, 40])  # yaw, pitch and roll
INNER = surface(*landmark_chart()[[60, 72, 57, 76, 82]].T)  # eyes, nose and mouth: their mean moves as the face does


class _Part(IntEnum):
    """Parts of a video, each of which has random numbers of its own: none shifts those of another."""

    MANNER = 1
    HEAD = 2
    CAMERA = 3
    EYES = 4
    SPEECH = 5
    MOOD = 6
    FACES = 7
    LIGHT = 8
    LAMP = 9
    OCCLUDER = 10
    FOCUS = 11
    BOX = 12
    POSE = 13
    LIDS = 14
    WORDS = 15


@dataclass(frozen=True)
class _Take:
    """What a video is drawn from: its seed and index, its end in seconds, the person in it, and what happens in it.

    ``exposure`` is the share of the time between two frames for which light is collected; ``vigour`` is 1 for a head
    that moves as in a lively talk.
    """

    key: tuple[int, ...]
    end: float
    person: FaceParameters
    domain: Domain
    turned: bool
    turning: bool
    talking: bool
    expressive: bool
    shaky: bool
    bouncing: bool
    dark: bool
    odd_light: bool
    unsteady_light: bool
    passing: bool
    lasting: bool
    defocused: bool
    exposure: float
    vigour: float
    dimmed: float
    noise: float

    def generator(self, part: _Part) -> np.random.Generator:
        """Random numbers of a part of the video."""
        return np.random.default_rng((*self.key, part))

    def draws(self, part: _Part, count: int = 1) -> Draws:
        """``count`` rows of random numbers of a part of the video, for the functions of `sampling`."""
        return Draws((*self.key, part), np.arange(count))


def sample_video(seed: tuple[int, ...], index: int, frames: int, domain: Domain) -> FaceParameters:
    """The frames (T,) of a video at 25 a second; a function of seed, index and domain alone.

    A shorter video is the beginning of a longer one. Person, hairdo, glasses, clothes and surroundings stay the same.
    A hand or an object that passes begins and ends out of the picture. ``motion`` is that of the head while the frame
    is exposed.
    """
    person = sample_parameters(seed, np.array([index]), domain)
    take = _take((*seed, index), frames / FRAME_RATE, person, domain)
    time = np.arange(frames) / FRAME_RATE
    moving = {
        **_head(take, time),
        **_face(take, time),
        **_light(take, time),
        **_occluder(take, time),
        **_picture(take, time),
    }
    return replace(person[np.zeros(frames, np.int64)], **moving)


def _take(key: tuple[int, ...], end: float, person: FaceParameters, domain: Domain) -> _Take:
    rng = np.random.default_rng((*key, _Part.MANNER))
    clear = bool(rng.random() < 0.5)

    def happens(in_clear: float, in_others: float) -> bool:
        return bool(rng.random() < (in_clear if clear else in_others))

    def between(in_clear: tuple[float, float], in_others: tuple[float, float]) -> float:
        return float(rng.uniform(*(in_clear if clear else in_others)))

    return _Take(
        key=key,
        end=end,
        person=person,
        domain=domain,
        turned=happens(0.0, 0.35),
        turning=happens(0.0, 0.45),
        talking=happens(0.6, 0.6),
        expressive=happens(0.15, 0.45),
        shaky=happens(0.1, 0.4),
        bouncing=happens(0.0, 0.3),
        dark=happens(0.0, 0.35),
        odd_light=happens(0.1, 0.4),
        unsteady_light=happens(0.0, 0.25),
        passing=happens(0.04, 0.5),
        lasting=happens(0.05, 0.35),
        defocused=happens(0.0, 0.3),
        exposure=between((0.1, 0.3), (0.4, 1.0)),
        vigour=between((0.35, 0.9), (0.7, 1.8)),
        dimmed=float(rng.uniform(0.05, 0.16)),
        noise=between((0.0, 0.3), (0.3, 1.0)),
    )


def _head(take: _Take, time: Floats) -> dict[str, Any]:
    """How the head is turned, where it is in the picture, and its path there while a frame is exposed."""
    rng = take.generator(_Part.HEAD)
    mean = poses(take.draws(_Part.POSE), np.array([take.turned]), take.domain == "infrared")[0]
    mean *= 1.0 if take.turned else 0.5
    sway = Wander(rng, 3, 0.06, 1.1)
    pause, size = ((0.4, 2.5), (25, 60)) if take.turning else ((2.0, 9.0), (6, 20))
    turns = episodes(rng, take.end, gap=pause, rise=(0.5, 1.1), hold=(0.1, 1.8), fall=(0.5, 1.1))

    def angles(at: Floats) -> Floats:
        turned = mean + take.vigour * np.deg2rad([6.0, 3.5, 2.5]) * sway(at)
        for turn in turns:
            to_side = np.sign(turn.draws[0] - 0.5) * (size[0] + (size[1] - size[0]) * turn.draws[1])
            up_down = 0.6 * size[1] * (turn.draws[2] - 0.5)
            turned += turn.level(at)[:, None] * np.deg2rad([to_side, up_down, 0.25 * to_side * turn.draws[3]])
        return limited(turned, FARTHEST)

    camera = _camera(take)
    half = take.exposure / FRAME_RATE / 2
    before, after = (project(INNER[None], angles(at), camera(at)).mean(axis=1) for at in (time - half, time + half))
    return {"angles": angles(time), "camera": camera(time), "motion": after - before}


def _camera(take: _Take) -> Callable[[Floats], Floats]:
    """Distance, scale and place of the head (T, 4) as a function of time (T,)."""
    rng = take.generator(_Part.CAMERA)
    drift, lean = Wander(rng, 2, 0.03, 0.3), Wander(rng, 3, 0.1, 0.9)
    shake, bounce = Wander(rng, 2, 2.0, 6.0), Wander(rng, 2, 0.8, 2.2)
    shaken = rng.uniform(0.003, 0.011) * take.shaky
    bounced = rng.uniform(0.012, 0.035) * take.bouncing
    distance, scale, *place = take.person.camera[0]

    def camera(at: Floats) -> Floats:
        leant = take.vigour * lean(at)
        nearer = np.exp(0.03 * leant[:, 0])
        moved = np.array(place) - 0.5 + 0.012 * drift(at) + 0.008 * leant[:, 1:]
        moved = limited(moved + shaken * shake(at) + bounced * np.array([0.5, 1.0]) * bounce(at), 0.11)
        return np.stack([distance / nearer, scale * nearer, *(0.5 + moved).T], axis=1)

    return camera


def _face(take: _Take, time: Floats) -> dict[str, Any]:
    """Expression and gaze: moods come and go, the mouth talks, the lids blink, the eyes jump from place to place."""
    rng = take.generator(_Part.MOOD)
    pause = (0.6, 3.0) if take.expressive else (1.5, 7.0)
    moods = episodes(rng, take.end, gap=pause, rise=(0.25, 0.6), hold=(0.3, 2.2), fall=(0.3, 0.8))
    strong = np.full(len(moods) + 1, take.expressive)
    strong[0] = False  # the face at rest
    rest, *others = expressions(take.draws(_Part.FACES, len(strong)), strong)[0]
    lids = [EXPRESSION.index(name) for name in ("blink_left", "blink_right")]
    expression = np.tile(rest, (len(time), 1))
    for mood, other in zip(moods, others, strict=True):
        expression += mood.level(time)[:, None] * (other - rest)
    expression[:, lids] = np.clip(expression[:, lids], -0.4, 0.25)
    if take.talking:
        _talk(take, time, expression)
    rng = take.generator(_Part.EYES)
    jumps = episodes(rng, take.end, gap=(0.25, 2.2), rise=(0.05, 0.08), hold=(0, 0), fall=(0.01, 0.01))
    rng = take.generator(_Part.LIDS)
    blinks = episodes(rng, take.end, gap=(0.8, 6.0), rise=(0.07, 0.1), hold=(0.03, 0.06), fall=(0.11, 0.16))
    gaze = np.zeros((len(time), 2))
    for last, jump in zip([jumps[0], *jumps], jumps, strict=False):
        gaze += jump.come(time)[:, None] * (_looked_at(jump) - (_looked_at(last) if jump is not last else 0))
    closed = levels(blinks, time)[:, None]
    expression[:, lids] += closed * (0.97 - expression[:, lids])
    return {"expression": expression, "gaze": gaze}


def _looked_at(jump: Episode) -> Floats:
    """Gaze (2,) after a jump of the eyes: most often near the middle."""
    return np.array([0.42, 0.17]) * (jump.draws[:2] + jump.draws[2:4] - 1)


def _talk(take: _Take, time: Floats, expression: Floats) -> None:
    """Let jaw and lips of expressions (T, 16) move as in speech."""
    rng = take.generator(_Part.WORDS)
    talk = levels(episodes(rng, take.end, gap=(0.2, 1.5), rise=(0.15, 0.3), hold=(0.5, 3.0), fall=(0.2, 0.35)), time)
    rng = take.generator(_Part.SPEECH)
    jaw, part, pucker, stretch, smile = Wander(rng, 5, 1.2, 4.0)(time).T
    for name, change in {
        "jaw_open": rng.uniform(0.12, 0.28) * (0.5 + 0.5 * np.tanh(jaw)),
        "pucker": 0.2 * pucker,
        "stretch": 0.2 * stretch,
        "smile_left": 0.06 * smile,
        "smile_right": 0.06 * smile,
    }.items():
        expression[:, EXPRESSION.index(name)] += talk * change
    parted = EXPRESSION.index("lips_part")
    expression[:, parted] += talk * (limited(0.3 * part - 0.2, 0.8) - expression[:, parted])


def _light(take: _Take, time: Floats) -> dict[str, Any]:
    """The lamp wanders a little and is not quite steady."""
    odd = np.array([take.odd_light and not take.dark])  # both would leave nothing to see
    light, key, sky = lights(take.draws(_Part.LAMP), odd, take.domain == "infrared")
    rng = take.generator(_Part.LIGHT)
    around = np.deg2rad(20 if odd[0] else 6) * Wander(rng, 1, 0.03, 0.3)(time)[:, 0]
    slow, fast = Wander(rng, 2, 0.03, 0.3)(time), Wander(rng, 2, 0.3, 2.0)(time)
    level = np.exp(0.04 * slow + (0.35 if take.unsteady_light else 0.0) * fast) * (take.dimmed if take.dark else 1.0)
    (x, y, z), cos, sin = light[0], np.cos(around), np.sin(around)
    return {
        "light": np.stack([cos * x - sin * z, np.full(len(time), y), sin * x + cos * z], axis=1),
        "key": key * level[:, :1],
        "sky": sky * level[:, 1:],
    }


def _occluder(take: _Take, time: Floats) -> dict[str, Any]:
    """Something in front all the time, hands and objects that pass one after another, or nothing."""
    rng, count = take.generator(_Part.OCCLUDER), len(time)
    bald = take.person.hairdo[0, DENSITY] == 0
    lasting = LASTING[int(rng.integers(len(LASTING)))]
    tremor = 0.5 * Wander(rng, 2, 0.2, 1.5)(time)
    occluder, passage = np.zeros(count, np.int64), np.zeros((count, 2))
    if take.lasting and not take.passing:
        occluder[:] = OCCLUDERS.index("mask" if bald and lasting == "strand" else lasting)
    elif take.passing:
        for passing in episodes(rng, take.end, gap=(0.2, 1.6), rise=(0.6, 1.1), hold=(0.2, 1.7), fall=(0.6, 1.1)):
            kind = "hand" if passing.draws[0] < 0.5 else "object"
            on = (time >= passing.start) & (time < passing.stop)
            occluder[on] = OCCLUDERS.index(kind)
            passage[on] = (_passage(take, passing, kind, time) + tremor)[on]
    glasses = take.person.glasses & (occluder[0] != OCCLUDERS.index("sunglasses"))
    return {"occluder": occluder, "passage": passage, "glasses": np.repeat(glasses, count)}


def _passage(take: _Take, passing: Episode, kind: str, time: Floats) -> Floats:
    """How far (T, 2) in cm a hand or an object is off its place: it comes, stays and goes, or moves past."""
    _, across, there_x, there_y, entry, leave = passing.draws
    side = np.sign(take.person.place[0, 0] - 0.5)
    if kind == "object" and across < 0.4:
        gone = (time - passing.start) / (passing.stop - passing.start)
        way = np.array([np.sign(entry - 0.5), 0.4 * leave - 0.2])
        return np.array([0, 3 - 8 * there_y]) + OUTSIDE * way * (1 - 2 * gone)[:, None]
    angles = np.array([entry, leave])
    angles = 0.7 * side * angles if kind == "hand" else 2.4 * angles - 1.2
    start, end = OUTSIDE * np.stack([np.sin(angles), np.cos(angles)], axis=1)  # from below and beside
    there = np.array([6 * there_x - 3, (1 if kind == "hand" else 2) - 8 * there_y])
    return there + start * (1 - passing.come(time))[:, None] + end * passing.gone(time)[:, None]


def _picture(take: _Take, time: Floats) -> dict[str, Any]:
    """Focus, noise, and how a detector's box trembles."""
    rng, count = take.generator(_Part.FOCUS), len(time)
    blur = np.full(count, rng.uniform(0, 0.0025))
    lost = episodes(rng, take.end, gap=(0.5, 3.0), rise=(0.3, 0.9), hold=(0.0, 1.0), fall=(0.3, 0.9))
    if take.defocused:
        blur += np.sum([(0.006 + 0.012 * episode.draws[0]) * episode.level(time) for episode in lost], axis=0)
    grain = 0.004 + 0.026 * take.noise + 0.03 * (take.domain == "infrared") + (0.03 + 0.03 * take.noise) * take.dark
    rng = take.generator(_Part.BOX)
    slow = Wander(rng, 4, 0.1, 1.0)(time)
    box = take.person.box + 0.1 * slow + 0.06 * rng.standard_normal((count, 4))
    return {
        "blur": blur,
        "grain": np.full(count, grain),
        "exposure": take.person.exposure + np.arange(count),
        "box": np.clip(box, 0, 1),
    }
