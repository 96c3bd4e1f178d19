import csv
import pickle
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
import yaml

from datamodules import video_faces, video_order
from datamodules.batch import LandmarkBatch, VideoBatch
from datamodules.perturbations import BLUR_LENGTHS, EllipseOcclusion, MotionBlur, Perturbation, line_kernel
from datamodules.pts_files import read_pts
from datamodules.video_batches import GroupsInSequence
from datamodules.video_frames import VideoFrames
from datamodules.w300vw import TRAIN, W300VW
from tests.drawn_pts import write_pts
from tests.drawn_videos import number, write_w300vw
from tests.experiment import run

TEST = {"114": 8, "203": 5, "410": 6, "411": 3}  # the drawn test videos in order: rows 0-7, 8-12, 13-18, 19-21


class SomeUnscored(W300VW):
    """300VW in which other frames are not scored: the drawn videos are short."""

    unscored: ClassVar = {"114": "2-3", "410": "6"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("300VW")
    write_w300vw(folder)
    return folder


def prepared(root, stage="test", kind=W300VW, **options):
    data = kind(root, **{"num_workers": 0, "batch_size": 4, "size": 64, "validation_fraction": 0.4, **options})
    data.setup(stage)
    return data


def all_of(loader):
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


# Single frames


def test_batch_keeps_the_contract(root):
    batch = next(iter(prepared(root).predict_dataloader()))
    assert batch.keys() == LandmarkBatch.__annotations__.keys()
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["subsets"].shape == (4, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_test_frame_once_with_its_own_picture(root, workers):
    """The whole picture as crop shows the number of the frame; 160 pixels wide, so nothing is resampled."""
    data = prepared(root, box="image", size=160, num_workers=workers)
    found = all_of(data.predict_dataloader())
    assert sorted(found["index"].tolist()) == list(range(22))
    frames = [frame for count in TEST.values() for frame in range(count)]
    for index, image in zip(found["index"].tolist(), found["image"], strict=True):
        assert number(image[:, 20:140].permute(1, 2, 0).numpy()) == frames[index]


def test_landmarks_are_drawn_where_the_batch_says(root):
    """Lines lead through the landmarks: the crop is darker there than a little beside them."""
    for sample in prepared(root, size=96).predict_dataloader().dataset:
        image, points = sample["image"].float().mean(dim=0), sample["landmarks"][17:].round().long()  # within the face
        there, *beside = (
            image[tuple((points + torch.tensor(shift)).T.flip(0))].mean().item()
            for shift in ((0, 0), (4, 4), (-4, 4), (4, -4), (-4, -4))
        )
        assert there < min(beside) - 15


def test_a_pass_opens_each_video_once_and_decodes_each_frame_once(root, monkeypatch):
    starts, steps = [], []
    start, step = VideoFrames._start, VideoFrames._step
    monkeypatch.setattr(VideoFrames, "_start", lambda self: (starts.append(self.path), start(self)))
    monkeypatch.setattr(VideoFrames, "_step", lambda self: (steps.append(self.path), step(self)))
    list(prepared(root).predict_dataloader())
    assert len(starts) == len(set(starts)) == 4
    assert len(steps) == 22


def test_few_videos_stay_open(root, monkeypatch):
    monkeypatch.setattr(video_faces.OpenVideos, "__init__", limited(video_faces.OpenVideos.__init__, 2))
    dataset = prepared(root).predict_dataloader().dataset
    rows = (0, 8, 13, 19, 1, 9, 14, 20)
    shown = [dataset[row]["image"] for row in rows]
    assert len(dataset.read._open) == 2
    again = prepared(root).predict_dataloader().dataset
    assert all(
        torch.equal(image, again[row]["image"]) for row, image in zip((0, 8, 13, 19, 1, 9, 14, 20), shown, strict=True)
    )


def limited(init, most):
    return lambda self, faces, _: init(self, faces, most)


def test_a_forked_process_opens_videos_of_its_own(root):
    """It would share the place in the file with its parent."""
    dataset = prepared(root).predict_dataloader().dataset
    first = dataset[2]["image"]
    (parents,) = dataset.read._open.values()
    dataset.read._process -= 1  # as if it had been opened by another one
    assert torch.equal(dataset[2]["image"], first)
    assert list(dataset.read._open.values()) != [parents]


def test_dataset_can_be_sent_to_another_process(root):
    dataset = prepared(root).predict_dataloader().dataset
    first = dataset[9]["image"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[9]["image"], first)


def test_frames_that_do_not_count_are_left_out(root):
    data = prepared(root, kind=SomeUnscored)
    dataset = data.predict_dataloader().dataset
    assert len(dataset) == 22 - 3
    assert [name.partition("/114/")[2] for name in dataset.faces.image[:4]] == [
        "vid.avi#1", "vid.avi#4", "vid.avi#5", "vid.avi#6"
    ]  # fmt: skip
    assert all_of(data.predict_dataloader())["index"].tolist() == list(range(19))
    assert number(dataset.read(1)) == 3


# Training


def test_training_frame_is_that_of_the_dataset_and_validation_holds_whole_videos(root):
    data = prepared(root, "fit", every=2)
    train = data.train_dataloader()
    seen = []
    for batch in train:
        for i, row in enumerate(batch["index"].tolist()):
            seen.append(row)
            assert torch.equal(batch["image"][i], train.dataset[(0, row)]["image"])
            torch.testing.assert_close(batch["landmarks"][i], train.dataset[(0, row)]["landmarks"])
    assert len(seen) == len(set(seen)) == len(train) * 4
    held, kept = data.val_dataloader().dataset.faces, train.dataset.faces
    assert not set(held.photograph) & set(kept.photograph)
    assert set(held.photograph) | set(kept.photograph) == {"001", "002", "009"}
    assert sorted(all_of(data.val_dataloader())["index"].tolist()) == list(range(len(held)))


def test_training_is_the_same_with_any_number_of_workers(root):
    """Not the order, but the frames and what is done to them."""
    found = []
    for workers in (0, 2):
        found.append({})
        for batch in prepared(root, "fit", every=2, batch_size=1, num_workers=workers).train_dataloader():
            found[-1][int(batch["index"])] = batch["image"]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][row], found[1][row]) for row in found[0])


def test_training_opens_each_video_once(tmp_path, monkeypatch):
    """Three of eight are read in turn."""
    write_w300vw(tmp_path, dict.fromkeys(TRAIN.split()[:12], 6))
    data = prepared(tmp_path, "fit", every=1, batch_size=2)
    monkeypatch.setattr(video_order, "OPEN_VIDEOS", 3)
    train, starts, start = data.train_dataloader(), [], VideoFrames._start
    train.dataset.read.most = 6
    monkeypatch.setattr(VideoFrames, "_start", lambda self: (starts.append(self.path), start(self)))
    list(train)
    assert len(starts) == len(set(starts)) == len(set(train.dataset.faces.photograph)) > 6


def test_stride_must_be_a_stride(root):
    with pytest.raises(ValueError, match=r"data\.init_args\.every is 0, expected at least 1"):
        W300VW(root, every=0)


# Motion


class Remembered(Perturbation):
    kind = "nothing"
    seen: ClassVar = []

    def __call__(self, rng, image, face, landmarks, motion):
        self.seen.append(motion)
        return image, np.zeros(len(landmarks), bool)


def test_motion_is_that_of_the_nose_in_crop_pixels(root):
    points = read_points(root)
    Remembered.seen.clear()
    data = prepared(root, perturbation=Remembered())
    samples = [data.predict_dataloader().dataset[row] for row in (0, 1, 4, 7)]
    nose = points["114"][:, 33]
    expected = [nose[1] - nose[0], nose[2] - nose[0], nose[5] - nose[3], nose[7] - nose[6]]
    for sample, motion, moved in zip(samples, Remembered.seen, expected, strict=True):
        scale = sample["crop"][0, 0].item()  # pixels of the video per pixel of the crop
        np.testing.assert_allclose(motion, moved / scale, atol=1e-3)


def read_points(root):
    return {
        video: np.stack([read_pts(path, 68) for path in sorted((root / video / "annot").iterdir())]) for video in TEST
    }


def test_motion_about_a_frame_that_is_not_scored_is_that_of_the_video(root):
    nose = read_points(root)["114"][:, 33]
    motion = prepared(root, kind=SomeUnscored).predict_dataloader().dataset.motion
    np.testing.assert_allclose(motion[:2], [nose[1] - nose[0], nose[4] - nose[2]], atol=1e-5)


def test_motion_blur_is_along_the_way_of_the_nose(root):
    nose = read_points(root)["114"][:, 33]
    clean, blurred = (
        prepared(root, size=96, perturbation=blur).predict_dataloader().dataset[3]
        for blur in (None, MotionBlur("large"))
    )
    way = nose[4] - nose[2]
    extent = (clean["landmarks"].amax(dim=0) - clean["landmarks"].amin(dim=0)).max().item()
    kernel = line_kernel(BLUR_LENGTHS["large"] * extent, float(np.arctan2(way[1], way[0])))
    image = clean["image"].permute(1, 2, 0).numpy()
    expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(blurred["image"].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


# Videos side by side


def test_video_batches_by_hand(root):
    """Videos of 8, 5, 6 and 3 frames: 114 with 410, then 203 with 411; five frames at a time."""
    data = prepared(root)
    batches = list(data.video_dataloader(videos_per_batch=2, frames=5))
    assert all(batch.keys() == VideoBatch.__annotations__.keys() for batch in batches)
    assert [batch["video"].tolist() for batch in batches] == [[0, 2], [0, 2], [1, 3]]
    assert [batch["start"].tolist() for batch in batches] == [[True, True], [False, False], [True, True]]
    assert [batch["frame"].tolist() for batch in batches] == [
        [[0, 1, 2, 3, 4]] * 2,
        [[5, 6, 7, 8, 9]] * 2,
        [[0, 1, 2, 3, 4]] * 2,
    ]
    assert [batch["index"].tolist() for batch in batches] == [
        [[0, 1, 2, 3, 4], [13, 14, 15, 16, 17]],
        [[5, 6, 7, -1, -1], [18, -1, -1, -1, -1]],
        [[8, 9, 10, 11, 12], [19, 20, 21, -1, -1]],
    ]
    for batch in batches:
        assert torch.equal(batch["valid"], batch["index"] >= 0)
    assert batches[2]["subsets"].tolist() == [[False, True, False], [False, False, True]]


@pytest.mark.parametrize("workers", [0, 2])
def test_video_batches_hold_the_samples_of_single_frames(root, workers):
    data = prepared(root, num_workers=workers)
    dataset, seen = data.predict_dataloader().dataset, []
    for batch in data.video_dataloader(videos_per_batch=3, frames=4):
        for v, t in np.argwhere(batch["valid"].numpy()):
            single = dataset[int(batch["index"][v, t])]
            seen.append(int(batch["index"][v, t]))
            for key in ("image", "landmarks", "visible", "norm", "crop"):
                assert torch.equal(batch[key][v, t], single[key])
            assert torch.equal(batch["subsets"][v], single["subsets"])
        assert (batch["norm"] > 0).all()
        assert batch["landmarks"].isfinite().all()
    assert sorted(seen) == list(range(22))


@pytest.mark.parametrize("perturbation", [EllipseOcclusion("large"), MotionBlur()])
def test_a_tracker_meets_the_perturbations_of_single_frames(root, perturbation):
    """Where some frames are not scored, they have other rows than among all frames."""
    data = prepared(root, kind=SomeUnscored, perturbation=perturbation)
    dataset, clean, seen = data.predict_dataloader().dataset, prepared(root, kind=SomeUnscored).predict_dataloader(), []
    for batch in data.video_dataloader(videos_per_batch=2, frames=4):
        for v, t in np.argwhere(batch["valid"].numpy()):
            seen.append(int(batch["index"][v, t]))
            for key in ("image", "visible"):
                assert torch.equal(batch[key][v, t], dataset[seen[-1]][key])
            assert not torch.equal(batch["image"][v, t], clean.dataset[seen[-1]]["image"])
    assert sorted(seen) == list(range(19))


def test_a_tracker_sees_the_frames_that_do_not_count(root):
    data = prepared(root, kind=SomeUnscored, box="image", size=160)
    batch = next(iter(data.video_dataloader(videos_per_batch=1, frames=8)))
    assert batch["valid"].tolist() == [[True, False, False, True, True, True, True, True]]
    assert batch["index"].tolist() == [[0, -1, -1, 1, 2, 3, 4, 5]]
    assert [number(image[:, 20:140].permute(1, 2, 0).numpy()) for image in batch["image"][0]] == list(range(8))


@pytest.mark.parametrize(("stage", "split"), [("test", "test"), ("validate", "val")])
def test_labels_are_read_once(root, monkeypatch, stage, split):
    """For the frames that count and for whole videos, which are the same though some frames do not count."""
    loaded, load = [], W300VW.load
    monkeypatch.setattr(W300VW, "load", lambda self, part: (loaded.append(part), load(self, part))[1])
    monkeypatch.setattr(SomeUnscored, "unscored", {"114": "2-3", "001": "4-5", "002": "2", "009": "3"})
    data = prepared(root, stage, kind=SomeUnscored)
    batches = list(data.video_dataloader(2, 5, split))
    if split == "test":
        data.test_videos([0])
    assert len(loaded) == 1
    assert sum(int(batch["shown"].sum()) for batch in batches) > sum(int(batch["valid"].sum()) for batch in batches)


def test_ranks_share_groups_of_videos(root):
    data = prepared(root)
    chunks = data.video_dataloader(2, 5).dataset
    shares = [list(GroupsInSequence(chunks, 1, 2, rank)) for rank in range(2)]
    assert shares == [[0, 1], [2]]
    assert list(GroupsInSequence(chunks, 2, 1, 0)) == [0, 2, 1]  # a stream for each process, a group in one of them
    assert list(GroupsInSequence(chunks, 1, 3, 2)) == [0]  # a rank without a group


@pytest.mark.parametrize(("videos", "frames", "name"), [(0, 5, "videos_per_batch"), (2, 0, "frames")])
def test_a_video_batch_holds_something(root, videos, frames, name):
    with pytest.raises(ValueError, match=f"{name} is 0, expected at least 1"):
        prepared(root).video_dataloader(videos, frames)


# Damage


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), r"video .*203/vid\.avi is not there \(1 of 4 videos are missing\); get it again"),
        (
            lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10]),
            r"203/vid\.avi: frame \d is damaged",
        ),
        (lambda path: (path.parent / "annot/000005.pts").unlink(), r"203/vid\.avi: has 5 frames, but labels for 4"),
    ],
)
def test_a_broken_video_is_a_sentence(tmp_path, spoil, sentence):
    write_w300vw(tmp_path)
    spoil(tmp_path / "203/vid.avi")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        list(prepared(tmp_path).predict_dataloader())


@pytest.mark.parametrize(("count", "found"), [(11, 12), (13, 12)])
def test_frames_are_counted_before_the_first_is_trained_on(tmp_path, count, found, monkeypatch):
    """Of a training video; its last frame is not among those that every epoch reads."""
    points = write_w300vw(tmp_path)
    annot = tmp_path / "001/annot"
    (annot / "000012.pts").unlink() if count == 11 else write_pts(annot / "000013.pts", points["001"][-1])
    data = prepared(tmp_path, "fit", every=5)
    dataset = next(loader.dataset for loader in (data.train_dataloader(), data.val_dataloader())
                   if "001" in loader.dataset.faces.photograph)  # fmt: skip
    row = int(np.flatnonzero(dataset.faces.photograph == "001")[0])
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"001/vid\.avi: has {found} frames, but labels for {count}; get the"):
            dataset[row]


def test_a_video_that_is_opened_again_is_not_counted_again(root, monkeypatch):
    counted, count = [], VideoFrames.check_count
    monkeypatch.setattr(VideoFrames, "check_count", lambda self: (counted.append(self.path), count(self)))
    dataset = prepared(root).predict_dataloader().dataset
    dataset.read.most = 1
    for row in (0, 8, 1, 9, 2):
        dataset[row]
    assert [path.split("/")[-2] for path in counted] == ["114", "203"]


# Through the command line


def test_a_run_trains_tests_and_predicts_on_videos(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"root": str(root), "size": 32, "batch_size": 4, "num_workers": 0, "validation_fraction": 0.4, "every": 2}
    config = {
        "name": "run",
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"num_landmarks": 68}},
        "data": {"class_path": "datamodules.w300vw.W300VW", "init_args": data},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (tmp_path / "videos.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "videos.yaml")
    tested = run("test", "--config", "videos.yaml")
    run("predict", "--config", "videos.yaml")
    with (tmp_path / "runs/run/test/300vw_landmarks-1.25.csv").open() as file:
        table = {row["subset"]: row for row in csv.DictReader(file)}
    assert {name: int(row["faces"]) for name, row in table.items()} == {
        "full": 22, "scenario 1": 8, "scenario 2": 5, "scenario 3": 9
    }  # fmt: skip
    module, dataset, errors = tested.model.eval(), tested.datamodule.test_faces, []
    for row in range(22):
        sample = dataset[row]
        with torch.inference_mode():
            found = module(sample["image"][None]).landmarks[0]
        errors.append(100 * ((found - sample["landmarks"]).norm(dim=-1) / sample["norm"]).mean().item())
    assert float(table["full"]["nme"]) == pytest.approx(np.mean(errors), abs=1e-3)
    assert float(table["scenario 3"]["nme"]) == pytest.approx(np.mean(errors[13:]), abs=1e-3)
    with (tmp_path / "runs/run/predictions/300vw_landmarks-1.25.csv").open() as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert files[:2] == ["114/vid.avi#1", "114/vid.avi#2"]
    assert len(files) == 22
