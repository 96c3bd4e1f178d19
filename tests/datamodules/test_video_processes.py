"""Two processes share videos: evaluation sees what one process sees, training as many batches on both.

Run as a script, this file is what the Trainer starts once a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from lightning import Trainer

from datamodules.w300vw import W300VW
from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.metrics import face_metrics
from tests.drawn_videos import number, write_w300vw

ROOT = Path(__file__).parents[2]
TRAIN = {"001": 19, "002": 7, "010": 5}  # frames
VALIDATION = {"007": 13, "009": 9}  # by this fraction and seed
FRACTION = 0.547
TEST = {"114": 8, "124": 12, "203": 5, "410": 6, "411": 3}
UNSCORED = {"114": "2-3", "410": "6"}  # counted from 1
SCORED = {(v, t) for v, count in TEST.items() for t in range(count)} - {("114", 1), ("114", 2), ("410", 5)}
BATCH, EVERY, EPOCHS = 3, 2, 2


class SomeUnscored(W300VW):
    """300VW in which other frames are not scored: the drawn videos are short."""

    unscored: ClassVar = UNSCORED


class Guess(LandmarkModule):
    """Takes a colour of the picture for its landmarks, and keeps the (video, frame) of each batch it is shown."""

    def __init__(self):
        super().__init__(68)
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.train_epochs, self.validated, self.tested = [], [], []

    def forward(self, image):
        points = image[:, None, :2, 80, 80].float().expand(-1, 68, -1)
        return LandmarkPrediction(points, torch.ones(points.shape[:2]))

    def on_train_epoch_start(self):
        self.train_epochs.append([])

    def training_step(self, batch, batch_idx):
        self.train_epochs[-1].append(frames(self.trainer.train_dataloader.dataset, batch))
        return 0 * self.weight

    def validation_step(self, batch, batch_idx):
        self.validated.append(frames(self.trainer.val_dataloaders.dataset, batch, marked=True))
        super().validation_step(batch, batch_idx)

    def test_faces(self, batch):
        self.tested.append(frames(self.trainer.datamodule.test_faces, batch, marked=True))
        return super().test_faces(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def frames(dataset, batch, marked=False):
    """(video, frame) of each picture by its index and, where the picture is not augmented, by what is marked in it."""
    faces = dataset.faces
    found = [(str(faces.photograph[row]), int(faces.frame[row])) for row in batch["index"].tolist()]
    if marked:
        assert [shown(image) for image in batch["image"]] == [frame for _, frame in found]
    return found


def shown(image):
    """The number marked in a picture (3, 160, 160) that is the crop."""
    return number(image[:, 20:140].permute(1, 2, 0).numpy())


def run(root, devices):
    """What a process of ``devices`` sees and says in a training, a test and a pass of a tracker; and its rank."""
    data = SomeUnscored(root, every=EVERY, box="image", size=160, batch_size=BATCH, validation_fraction=FRACTION)
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=EPOCHS,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Guess()
    trainer.fit(model, datamodule=data)
    validated = {name: value.item() for name, value in trainer.callback_metrics.items()}
    tested = trainer.test(model, datamodule=data, verbose=False)[0]
    return {
        "train": model.train_epochs,
        "val": model.validated,
        "test": model.tested,
        "said": {**validated, **tested},
        "tracker": track(model, data),
    }, trainer.global_rank


def track(model, data):
    """The chunks of a tracker on this process, and the metrics over all processes."""
    metrics, chunks = face_metrics(data.subset_names), []
    for batch in data.video_dataloader(videos_per_batch=2, frames=4):
        valid = batch["valid"]
        found = model(batch["image"][valid]).landmarks
        subsets = batch["subsets"][:, None].expand(-1, 4, -1)[valid]
        metrics.update(found, batch["landmarks"][valid], batch["norm"][valid], batch["index"][valid], subsets)
        pictures = [[shown(image) for image in video] for video in batch["image"]]
        table = {key: batch[key].tolist() for key in ("video", "frame", "start", "valid")}
        chunks.append({**table, "picture": pictures})
    return {"chunks": chunks, "said": {name: value.item() for name, value in metrics.compute().items()}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("300VW")
    write_w300vw(folder, TRAIN | VALIDATION | TEST)
    return folder


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    """What two processes wrote, by rank."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, root, folder]
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def one(root):
    return json.loads(json.dumps(run(root, 1)[0]))


def listed(batches):
    return [tuple(frame) for batch in batches for frame in batch]


def videos(batches):
    return {video for video, _ in listed(batches)}


def test_every_test_frame_is_seen_once_and_videos_stay_whole(two):
    found = [listed(written["test"]) for written in two]
    assert sorted(found[0] + found[1]) == sorted(SCORED)
    assert not videos(two[0]["test"]) & videos(two[1]["test"])
    assert len(found[0]) % 2 != len(found[1]) % 2  # they do not divide
    assert len(two[0]["test"]) != len(two[1]["test"])  # neither do the batches


def test_every_validation_frame_is_seen_once_and_videos_stay_whole(one, two):
    shares = [listed(written["val"]) for written in two]
    once = [(video, frame) for video, count in VALIDATION.items() for frame in range(count)]
    assert sorted(shares[0] + shares[1]) == sorted(EPOCHS * once) == sorted(listed(one["val"]))
    assert [len(videos(written["val"])) for written in two] == [1, 1]


def test_two_processes_measure_what_one_does(one, two):
    assert one["said"].keys() >= {"val/nme", "test/nme", "test/nme/scenario 1"}
    for written in two:
        assert written["said"] == one["said"]  # to the last digit


def test_training_has_as_many_batches_on_both_and_repeats_only_to_fill_up(two):
    filled = 0
    for shares in zip(*(written["train"] for written in two), strict=True):
        assert len(shares[0]) == len(shares[1]) > 0
        assert not videos(shares[0]) & videos(shares[1])
        for batches in shares:
            assert {len(batch) for batch in batches} == {BATCH}
            rows = listed(batches)
            own = sum(TRAIN[video] // EVERY for video in videos(batches))
            assert len(set(rows)) == min(own, len(rows))
            assert rows[own:] == rows[: max(0, len(rows) - own)]  # from the beginning, as far as needed
            filled += max(0, len(rows) - own)
    assert filled


def test_a_tracker_sees_whole_videos_once(one, two):
    chunks = [written["tracker"]["chunks"] for written in two]
    seen = [{}, {}]
    for rank in range(2):
        for chunk in chunks[rank]:
            for v, video in enumerate(chunk["video"]):
                name = sorted(TEST)[video]
                before = seen[rank].setdefault(name, [])
                assert chunk["start"][v] == (not before)
                for frame, valid, picture in zip(
                    chunk["frame"][v], chunk["valid"][v], chunk["picture"][v], strict=True
                ):
                    assert frame == len(before)
                    assert valid == ((name, frame) in SCORED)
                    assert picture == min(frame, TEST[name] - 1)  # the last one is repeated
                    before.append(frame)
    assert not seen[0].keys() & seen[1].keys()
    lengths = {name: len(frames) for share in seen for name, frames in share.items()}
    assert lengths.keys() == TEST.keys()
    assert all(lengths[name] >= count for name, count in TEST.items())
    assert sorted(map(repr, chunks[0] + chunks[1])) == sorted(map(repr, one["tracker"]["chunks"]))


def test_a_tracker_measures_on_two_processes_what_one_does(one, two):
    for written in (one, *two):
        assert written["tracker"]["said"] == one["tracker"]["said"]
    tested = {f"test/{name}": value for name, value in one["tracker"]["said"].items()}
    assert tested == {name: one["said"][name] for name in tested}


if __name__ == "__main__":
    seen, rank = run(Path(sys.argv[1]), 2)
    Path(sys.argv[2], f"{rank}.json").write_text(json.dumps(seen))
    torch.distributed.destroy_process_group()
