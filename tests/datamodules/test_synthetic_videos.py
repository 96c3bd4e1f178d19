import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from datamodules.batch import LandmarkBatch, VideoBatch
from datamodules.crop import landmark_box
from datamodules.face_generator.motion import sample_video
from datamodules.face_generator.render import render
from datamodules.face_generator.sampling import sample_parameters
from datamodules.perturbations import EllipseOcclusion
from datamodules.ranking import upper_half
from datamodules.synthetic_videos import SyntheticVideos
from datamodules.video_order import FramesInSequence
from tests.experiment import run

SMALL = {"num_train": 5, "num_test": 4, "frames": 6, "size": 48, "batch_size": 4, "num_workers": 0}


def videos(**options):
    return SyntheticVideos(**(SMALL | options))


def prepared(stage="test", **options):
    data = videos(**options)
    data.setup(stage)
    return data


def all_of(loader):
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


def write_ranking(path, rows, header="video,variance"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


# What is drawn


def test_fewer_and_shorter_videos_are_the_beginning_of_more_and_longer_ones():
    few, many = videos(num_test=2, frames=3).load("test"), videos().load("test")
    for rows, part in zip(many.videos(), few.videos(), strict=False):
        np.testing.assert_allclose(few.landmarks[part], many.landmarks[rows[:3]], rtol=1e-12)
        np.testing.assert_allclose(few.box[part], many.box[rows[:3]], rtol=1e-12)
    assert few.image.tolist() == ["photo/test/0#1", "photo/test/0#2", "photo/test/0#3",
                                  "photo/test/1#1", "photo/test/1#2", "photo/test/1#3"]  # fmt: skip


def test_splits_and_seeds_show_other_people_and_none_of_the_pictures():
    first = [
        videos(faces_seed=seed).video(split, index).identity[0].tolist()
        for seed in (0, 1)
        for split in ("train", "test")
        for index in range(4)
    ]
    pictured = [sample_parameters((0, split), np.arange(4), "photo").identity.tolist() for split in (0, 1)]
    people = [tuple(identity) for identity in [*first, *pictured[0], *pictured[1]]]
    assert len(set(people)) == len(people) == 24


def test_a_picture_shows_the_frame_that_its_landmarks_are_of():
    """In the middle of an eye it is darker than on the forehead; the crop follows the face."""
    data = prepared(num_test=12, frames=3, size=96)
    dataset, faces = data.test_faces, data.load("test")
    darker = []
    for row in np.flatnonzero(faces.visible[:, [96, 97, 35, 44]].all(axis=1)):
        sample = dataset[int(row)]
        image, points = sample["image"].float().mean(dim=0).numpy(), sample["landmarks"].numpy()
        eye, brow = points[96], points[33:42].mean(axis=0)
        values = [image[tuple(np.round(at).astype(int)[::-1])] for at in (eye, 2 * brow - eye)]
        darker.append(values[0] < values[1])
    assert len(darker) > 8
    assert np.mean(darker) > 0.8


def test_a_row_shows_its_own_video_and_frame():
    dataset = prepared().test_faces
    for row in (0, 7, 23):
        expected = render(sample_video((0, 3), row // 6, 6, "photo")[row % 6], 60)  # 1.25 times the crop
        np.testing.assert_array_equal(dataset.read(row), expected)


def test_a_frame_is_the_same_every_time_and_in_another_process():
    dataset = prepared().test_faces
    sent = pickle.loads(pickle.dumps(dataset))
    for row in (0, 7, 23, 1):
        assert torch.equal(dataset[row]["image"], sent[row]["image"])
    again = prepared(num_test=2).test_faces
    assert torch.equal(dataset[7]["image"], again[7]["image"])


def test_the_provided_box_trembles_about_the_tight_one():
    data = videos(num_test=20, frames=40)
    faces = data.load("test")
    tight = landmark_box(faces.landmarks)
    side = (tight[:, 2:] - tight[:, :2]).max(axis=1, keepdims=True)
    spare = (faces.box - tight) * [-1, -1, 1, 1] / side
    assert spare.min() > -1e-9
    assert spare.max() < 0.12 + 1e-9
    steps = np.concatenate([np.diff(spare[rows], axis=0) for rows in faces.videos()])
    assert 0.002 < np.abs(steps).mean() < 0.015  # sides of the face
    assert np.diff(tight[faces.videos()[0]], axis=0).any()


@pytest.mark.parametrize("box", ["provided-1.2", "landmarks-1.2"])
def test_a_batch_keeps_the_contract(box):
    batch = next(iter(prepared(box=box).predict_dataloader()))
    assert batch.keys() == LandmarkBatch.__annotations__.keys()
    assert batch["image"].shape == (4, 3, 48, 48)
    assert batch["landmarks"].shape == (4, 98, 2)
    assert batch["subsets"].shape == (4, 2)
    assert (batch["landmarks"] > -1).all()
    assert (batch["landmarks"] < 48).all()


def test_landmarks_of_another_markup():
    data = prepared(convert_to="ibug-68")
    assert data.num_landmarks == 68
    assert next(iter(data.predict_dataloader()))["landmarks"].shape == (4, 68, 2)


def test_a_perturbation_of_a_frame_is_the_same_at_any_size():
    small, large = (prepared(size=size, perturbation=EllipseOcclusion("large")) for size in (48, 96))
    hidden = []
    for row in range(0, 24, 5):
        pair = [data.test_faces[row]["visible"] for data in (small, large)]
        hidden.append((~pair[0]).sum())
        assert (pair[0] != pair[1]).float().mean() < 0.05
    assert max(hidden) > 10


# Order


@pytest.mark.parametrize("workers", [0, 2])
def test_every_test_frame_once(workers):
    found = all_of(prepared(num_workers=workers).predict_dataloader())
    assert sorted(found["index"].tolist()) == list(range(24))


def test_training_takes_every_nth_frame_and_validation_whole_videos():
    data = prepared("fit", every=2, batch_size=1, validation_fraction=0.4)
    train, val = data.train_dataloader(), data.val_dataloader()
    kept, held = train.dataset.faces, val.dataset.faces
    assert {len(set(kept.photograph)), len(set(held.photograph))} == {3, 2}
    assert set(kept.photograph) | set(held.photograph) == {f"photo/train/{i}" for i in range(5)}
    rows = [int(batch["index"]) for batch in train]
    assert len(rows) == len(set(rows)) == 9
    for video in set(kept.photograph):
        assert len(set(kept.frame[[row for row in rows if kept.photograph[row] == video]] % 2)) == 1
    assert sorted(all_of(val)["index"].tolist()) == list(range(12))


@pytest.mark.parametrize("seed", range(12))
def test_each_seed_holds_out_a_share_of_few_videos(seed):
    train, val = SyntheticVideos(frames=1, seed=seed).fit_faces()
    assert (len(train), len(val)) == (18, 2)


def test_seeds_hold_out_different_videos():
    assert len({tuple(SyntheticVideos(frames=1, seed=seed).fit_faces()[1].photograph) for seed in range(6)}) > 3


def test_a_test_takes_videos_side_by_side():
    data = prepared(batch_size=6)
    batches = list(data.test_dataloader())
    assert all(batch.keys() == VideoBatch.__annotations__.keys() for batch in batches)
    found = torch.cat([batch["index"][batch["valid"]] for batch in batches])
    assert sorted(found.tolist()) == list(range(24))
    names, subsets = data.test_videos([2, 0])
    assert names == ["photo/test/2", "photo/test/0"]
    np.testing.assert_array_equal(subsets, data.load("test").subsets[[12, 0]])


def test_ranks_share_whole_videos():
    rows = prepared().test_faces.faces.videos()
    shares = [list(FramesInSequence(rows, 4, 0, 2, rank)) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(24))
    assert [{row // 6 for row in share} for share in shares] == [{0, 2}, {1, 3}]


def test_video_batches_hold_the_samples_of_single_frames():
    data = prepared(num_test=3)
    dataset, seen = data.test_faces, []
    batches = list(data.video_dataloader(videos_per_batch=2, frames=4))
    assert [tuple(batch["image"].shape) for batch in batches] == [(2, 4, 3, 48, 48)] * 2 + [(1, 4, 3, 48, 48)] * 2
    for batch in batches:
        assert batch.keys() == VideoBatch.__annotations__.keys()
        for v, t in np.argwhere(batch["valid"].numpy()):
            single = dataset[int(batch["index"][v, t])]
            seen.append((int(batch["video"][v]), int(batch["frame"][v, t])))
            for key in ("image", "landmarks", "visible", "norm", "crop"):
                assert torch.equal(batch[key][v, t], single[key])
            assert torch.equal(batch["subsets"][v], single["subsets"])
        np.testing.assert_allclose(batch["seconds"], batch["frame"].clamp_max(5) / 25)
    assert sorted(seen) == [(video, frame) for video in range(3) for frame in range(6)]
    assert [batch["start"].tolist() for batch in batches] == [[True, True], [False, False], [True], [False]]


def test_motion_is_that_of_the_nose():
    data = prepared()
    faces, motion = data.load("test"), data.test_faces.motion
    nose = faces.landmarks[:, 57]
    np.testing.assert_allclose(motion[8], nose[9] - nose[7])
    np.testing.assert_allclose(motion[6], nose[7] - nose[6])


# Easy and hard


def test_without_a_ranking_hidden_landmarks_make_a_video_hard():
    faces = videos(num_test=16, frames=25).load("test")
    hidden = np.array([1 - faces.visible[rows].mean() for rows in faces.videos()])
    hard = np.array([faces.subsets[rows, 1].all() for rows in faces.videos()])
    assert hard.sum() == 8
    assert (faces.subsets.sum(axis=1) == 1).all()
    assert hidden[hard].min() >= hidden[~hard].max()
    assert hidden[hard].max() > 0.1


def test_the_upper_half():
    assert upper_half(np.array([3.0, 1.0, 2.0, 5.0])).tolist() == [True, False, False, True]
    assert upper_half(np.array([3.0, 1.0, 2.0])).tolist() == [True, False, False]
    assert upper_half(np.zeros(4)).tolist() == [False, False, True, True]


def test_a_ranking_by_an_ensemble_decides_instead(tmp_path):
    rows = [
        ("photo/test/9", 50.0),
        ("photo/test/2", 3),
        ("photo/test/0", 0.5),
        ("photo/test/3", 9),
        ("photo/test/1", 7),
    ]
    ranking = write_ranking(tmp_path / "variance.csv", rows)
    data = videos(ranking=ranking)
    faces = data.load("test")
    assert [bool(faces.subsets[rows, 1].all()) for rows in faces.videos()] == [False, True, False, True]
    np.testing.assert_array_equal(data.load("train").subsets, videos().load("train").subsets)


GOOD = [(f"photo/test/{i}", i) for i in range(4)]


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        (GOOD[:3], "video,variance",
         r"variance\.csv: does not list photo/test/3 \(1 of 4 test videos are missing\); set data\.init_args\.ranking"),
        ([*GOOD, GOOD[1]], "video,variance", r"variance\.csv: line 6 lists photo/test/1 again, expected each video"),
        ([*GOOD[:3], ("photo/test/3", "much")], "video,variance",
         r"variance\.csv: line 5, column variance is 'much', expected a finite number"),
        ([*GOOD[:3], ("photo/test/3", "nan")], "video,variance", r"line 5, column variance is 'nan', expected a fin"),
        ([*GOOD[:3], ("photo/test/3", -1)], "video,variance", r"line 5, column variance is -1, expected 0 or more"),
        ([*GOOD[:3], ("", 4)], "video,variance", r"variance\.csv: line 5, column video is empty, expected text"),
        (GOOD, "video,score", r"variance\.csv: line 1 has no column 'variance', expected the columns video and var"),
        ([(name.replace("photo", "infrared"), value) for name, value in GOOD], "video,variance",
         r"does not list photo/test/0 \(4 of 4 test videos are missing\)"),
    ],
)  # fmt: skip
def test_a_wrong_ranking_is_a_sentence(tmp_path, rows, header, sentence):
    ranking = write_ranking(tmp_path / "variance.csv", rows, header)
    with pytest.raises(ValueError, match=sentence):
        videos(ranking=ranking).load("test")


def test_a_missing_ranking_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv not found; set data\.init_args\.ranking to a"):
        videos(ranking=tmp_path / "none.csv").load("test")


# Options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_test": 0}, r"data\.init_args\.num_test is 0, expected at least 1"),
        ({"frames": 0}, r"data\.init_args\.frames is 0, expected at least 1"),
        ({"every": 0}, r"data\.init_args\.every is 0, expected at least 1"),
        ({"faces_seed": -1}, r"data\.init_args\.faces_seed is -1, expected at least 0"),
        ({"domain": "sketch"}, r"data\.init_args\.domain is 'sketch', expected one of: photo, infrared"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        SyntheticVideos(**options)


def test_one_video_cannot_be_trained_on_and_held_out():
    with pytest.raises(ValueError, match=r"data\.init_args\.num_train is 1, of which validation takes 1; add"):
        videos(num_train=1).fit_faces()


def test_the_infrared_videos_are_other_pictures_of_the_same_people():
    photo, infrared = (sample_video((0, 3), 2, 2, domain) for domain in ("photo", "infrared"))
    np.testing.assert_array_equal(photo.identity, infrared.identity)
    assert prepared(domain="infrared").title == "generated videos (infrared)"
    image = next(iter(prepared(domain="infrared").predict_dataloader()))["image"].float()
    assert (image.amax(dim=1) - image.amin(dim=1)).mean() < 20


def test_a_run_trains_and_tests_on_generated_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "name": "run",
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 98}},
        "data": {"class_path": "datamodules.synthetic_videos.SyntheticVideos", "init_args": {**SMALL, "size": 32}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    Path("videos.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "videos.yaml")
    run("test", "--config", "videos.yaml")
    (found,) = Path("runs/run/test").glob("generated_videos*_provided-1.2.csv")
    with found.open() as file:
        table = {row["subset"]: row for row in csv.DictReader(file)}
    assert {name: int(row["faces"]) for name, row in table.items()} == {"full": 24, "easy": 12, "hard": 12}
