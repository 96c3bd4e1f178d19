from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from datamodules.face_generator.camera import Shot, project
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.motion import INNER, sample_video
from datamodules.face_generator.occluders import outlines
from datamodules.face_generator.parameters import OCCLUDERS
from datamodules.face_generator.render import render

LIDS_AND_PUPILS = [*range(60, 76), 96, 97]
PASSING = [OCCLUDERS.index(name) for name in ("hand", "object")]
LASTING = [OCCLUDERS.index(name) for name in ("sunglasses", "mask", "strand", "scarf")]
OF_A_PERSON = (
    "identity", "skin", "lips", "brow", "iris", "hair", "shadow", "blush", "clothes", "makeup", "surface", "hairdo",
    "glasses", "place", "cover", "grain", "contrast", "saturation", "scene", "infrared",
)  # fmt: skip


@cache
def video(index, domain="photo"):
    return sample_video((0, 3), index, 75, domain)


@cache
def seen(index):
    return landmarks(video(index))


def videos():
    return [video(index) for index in range(40)]


@cache
def passes():
    """The frames of each hand and object that comes and goes within some longer videos."""
    found = []
    for index in range(40):
        faces = sample_video((0, 3), index, 200, "photo")
        spans = np.split(np.arange(200), np.flatnonzero(np.diff(faces.occluder) != 0) + 1)
        found += [faces[s] for s in spans if faces.occluder[s[0]] in PASSING and s[0] > 0 and s[-1] < 199]
    return found


# What a video depends on


@pytest.mark.parametrize("domain", ["photo", "infrared"])
def test_a_shorter_video_is_the_beginning_of_a_longer_one(domain):
    """Of 3 s: some episodes that a longer video has are not drawn for a shorter one."""
    for index in range(20):
        short = sample_video((0, 3), index, 31, domain)
        for field in fields(short):
            longer = getattr(video(index, domain), field.name)
            np.testing.assert_array_equal(getattr(short, field.name), longer[:31], err_msg=field.name)


def test_another_index_seed_or_domain_is_another_video():
    for other in (video(2), sample_video((1, 3), 1, 75, "photo")):
        for name in ("angles", "camera", "expression", "gaze", "box", "identity"):
            assert np.abs(getattr(video(1), name) - getattr(other, name)).max() > 1e-3, name
    infrared = video(1, "infrared")  # of the same people, who do the same
    assert np.abs(infrared.camera[:, 0] - video(1).camera[:, 0]).min() > 10
    assert np.abs(infrared.angles - video(1).angles).max() > 0.02
    np.testing.assert_array_equal(infrared.expression, video(1).expression)


def test_one_person_in_one_place_but_new_grain_in_each_frame():
    for faces in videos():
        for name in OF_A_PERSON:
            column = getattr(faces, name)
            np.testing.assert_array_equal(column, np.broadcast_to(column[:1], column.shape), err_msg=name)
        assert len(set(faces.exposure.tolist())) == len(faces)
    assert len({faces.scene[0] for faces in videos()}) == 40


# Motion


def test_landmarks_move_smoothly():
    """A landmark that jumps by d and stays has a third difference of 2 d at least, and one that jumps back 3 d.

    A limit of 0.05 canvas sides finds jumps of a sixth of the distance between the eyes; lids and pupils are faster.
    """
    for index in range(40):
        places = np.delete(seen(index)[0], LIDS_AND_PUPILS, axis=1)
        assert np.linalg.norm(np.diff(places, 3, axis=0), axis=-1).max() < 0.05
        assert np.linalg.norm(np.diff(places, axis=0), axis=-1).max() < 0.06


def test_landmarks_between_two_frames_go_there_without_a_jump():
    """Where all between them is halved again and again, so are the steps."""
    for index in (5, 9, 13, 21, 23, 33):
        faces = video(index)
        for start in range(0, 70, 10):
            share = np.linspace(0, 1, 33)[:, None]
            between = {
                name: (1 - share) * getattr(faces, name)[start] + share * getattr(faces, name)[start + 1]
                for name in ("angles", "camera", "expression", "gaze")
            }
            one = faces[np.full(33, start)]
            steps = np.linalg.norm(np.diff(landmarks(replace(one, **between))[0], axis=0), axis=-1)
            assert (steps.max(axis=0) < 0.004 + 3 * np.median(steps, axis=0)).all()


def test_the_face_stays_in_the_picture():
    places = np.concatenate([seen(index)[0] for index in range(40)])
    assert places.min() > 0.02
    assert places.max() < 0.99


def test_heads_turn_and_some_turn_far():
    turned = np.array([np.rad2deg(np.ptp(faces.angles[:, 0])) for faces in videos()])
    assert (turned > 1).all()
    assert 0.15 < (turned > 40).mean() < 0.6
    assert np.abs(np.rad2deg(np.concatenate([faces.angles for faces in videos()]))).max() < 78


def test_lids_blink_as_long_and_as_often_as_people_do():
    lengths = []
    for index in range(40):
        gap = np.linalg.norm(seen(index)[0][:, 66] - seen(index)[0][:, 62], axis=1)
        shut = gap < 0.35 * np.percentile(gap, 90)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], shut, [False]]).astype(int)))
        lengths += [(b - a) / 25 for a, b in zip(edges[::2], edges[1::2], strict=True) if a and b < len(shut)]
    assert 0.05 < np.median(lengths) < 0.25  # seconds below a third
    assert 5 < len(lengths) / (40 * 3 / 60) < 40  # a minute


def test_eyes_rest_and_jump():
    """Most of the time the gaze stays where it is; when it moves, it arrives within three frames."""
    moved = np.concatenate([np.linalg.norm(np.diff(faces.gaze, axis=0), axis=1) for faces in videos()])
    assert 0.7 < (moved < 1e-9).mean() < 0.97
    assert moved.max() > 0.2  # cm


def test_some_talk_and_some_do_not():
    opened = np.array([np.abs(np.diff(faces.expression[:, 0])).max() for faces in videos()])
    assert (opened > 0.03).mean() > 0.4
    assert (opened < 0.02).any()


# What passes


def test_what_passes_begins_and_ends_out_of_the_picture():
    assert len(passes()) > 10
    assert {OCCLUDERS[faces.occluder[0]] for faces in passes()} == {"hand", "object"}
    for faces in passes():
        for end in (faces[0], faces[len(faces) - 1]):
            for outline in outlines(Shot(replace(end, glasses=np.bool_(False)), 100)):
                low, high = outline.corners.min(axis=0), outline.corners.max(axis=0)
                assert (low > 100).any() or (high < -1).any()


def test_what_passes_hides_landmarks_that_come_back():
    covered = []
    for faces in passes():
        by_it = landmarks(replace(faces, occluder=faces.occluder * 0))[1] & ~landmarks(faces)[1]
        assert not by_it[[0, -1]].any()
        covered.append(by_it.any(axis=1).sum() / 25)  # seconds
        assert np.linalg.norm(np.diff(faces.passage, axis=0), axis=1).max() < 8  # cm
    assert (np.array(covered) > 0.3).mean() > 0.7
    assert max(covered) < 3.5


def test_some_wear_something_all_the_time():
    kinds = [set(faces.occluder.tolist()) for faces in videos()]
    assert any(kind & set(LASTING) for kind in kinds)
    assert all(len(kind) == 1 for kind in kinds if kind & set(LASTING))


# Pictures


def test_the_blur_is_the_way_of_the_face_while_a_frame_is_exposed():
    """The exposure is a share of the time between frames, the same for a whole video."""
    shares = []
    for faces in videos():
        at = project(INNER[None], faces.angles, faces.camera).mean(axis=1)
        step = (at[2:] - at[:-2]) / 2
        motion = faces.motion[1:-1]
        share = (step * motion).sum() / (step**2).sum()
        assert np.linalg.norm(motion - share * step) < 0.5 * np.linalg.norm(motion)  # shaking is faster than frames
        shares.append(share)
    assert min(shares) > 0.1
    assert max(shares) < 1.2
    assert np.std(shares) > 0.1
    sharp = [np.linalg.norm(faces.motion, axis=1).max() for faces in videos()]
    assert min(sharp) < 0.002
    assert max(sharp) > 0.01


def test_focus_is_lost_and_found_again():
    ranges = np.array([[faces.blur.min(), faces.blur.max()] for faces in videos()])
    lost = ranges[:, 1] > 0.005
    assert 0.05 < lost.mean() < 0.4
    assert (ranges[lost, 0] < 0.004).mean() > 0.7
    assert max(np.abs(np.diff(faces.blur)).max() for faces in videos()) < 0.006


def test_pictures_of_a_head_at_rest_differ_in_grain_alone():
    faces = video(13)[:2]
    still = faces[np.array([0, 0])]
    first, second = (render(face, 96).astype(int) for face in (still[0], replace(still[1], exposure=faces.exposure[1])))
    assert (first != second).mean() > 0.3
    quiet = replace(still, exposure=faces.exposure, grain=np.zeros(2))
    np.testing.assert_array_equal(render(quiet[0], 96), render(quiet[1], 96))


def test_what_is_behind_a_moving_head_is_at_rest():
    """Sharp and without grain, under the same light, the upper corners stay pixel for pixel."""
    for index in (0, 13, 15):
        faces = video(index)
        rows = np.arange(0, 75, 15)
        quiet = {"grain": np.zeros(5), "motion": np.zeros((5, 2)), "blur": np.zeros(5)}
        lit = {name: getattr(faces, name)[[0] * 5] for name in ("light", "key", "sky")}
        bare = {"occluder": np.zeros(5, np.int64), "hairdo": faces.hairdo[[0] * 5] * 0}
        moving = replace(faces[rows], **quiet, **lit, **bare)
        first, *others = (render(moving[i], 96) for i in range(5))
        assert all((first != other).any() for other in others)
        for corner in (np.s_[:14, :14], np.s_[:14, -14:]):
            assert all((first[corner] == other[corner]).all() for other in others)


def test_half_of_the_videos_are_clear():
    noise = np.array([faces.grain[0] for faces in videos()])
    light = np.array([np.median(faces.key + faces.sky) for faces in videos()])
    covered = np.array([1 - seen(index)[1].mean() for index in range(40)])
    clear = noise < 0.0119
    assert 0.3 < clear.mean() < 0.7
    assert light[clear].min() > 0.3
    assert (light[~clear] < 0.2).mean() > 0.15
    assert np.median(covered[clear]) < 0.05
    assert np.mean(covered[~clear]) > 0.12


def test_a_box_trembles_a_little_about_a_slow_way():
    for faces in videos():
        assert faces.box.min() >= 0
        assert faces.box.max() <= 1
    step = np.abs(np.concatenate([np.diff(faces.box, axis=0) for faces in videos()]))
    assert 0.02 < step.mean() < 0.12
    assert np.mean([faces.box.std(axis=0).mean() for faces in videos()]) > 0.07
