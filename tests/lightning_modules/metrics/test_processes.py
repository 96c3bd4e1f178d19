"""Evaluation on two processes gives what one gives, directly and through a Trainer.

Run as a script, this file is what the Trainer starts once a process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from datamodules.markup import Markup
from lightning_modules.base import LandmarkModule, LandmarkPrediction
from lightning_modules.metrics import face_metrics, video_metrics
from tests.lightning_modules.metrics import test_videos

ROOT = Path(__file__).parents[3]
FACES, POINTS, SUBSETS = 101, 5, ("pose", "make-up")
RNG = np.random.default_rng(0)
# A face is an image of one grey value, which is the error of its prediction. The first and last are the worst, so
# that counting one of them twice shows; nobody else wears make-up.
ERROR = np.concatenate([[200], RNG.integers(0, 60, FACES - 2), [250]])
NORM = RNG.uniform(100, 300, FACES)
# Where a prediction of error 1 lies: all points err by as much, two of them in the other direction.
DIRECTION = torch.tensor([0.6, 0.8]) * torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0]).unsqueeze(-1)
MEMBER = np.stack([RNG.random(FACES) < 0.3, np.isin(np.arange(FACES), [0, FACES - 1])], axis=1)


def sample(row):
    return {
        "image": torch.full((3, 8, 8), ERROR[row], dtype=torch.uint8),
        "landmarks": torch.zeros(POINTS, 2),
        "norm": torch.tensor(NORM[row], dtype=torch.float32),
        "index": torch.tensor(row),
        "subsets": torch.from_numpy(MEMBER[row]),
    }


def expected(scale, failure_rates=True):
    """The table of all faces where a prediction is wrong by ``scale`` times the grey value."""
    nme = scale * ERROR / NORM
    table = {}
    for suffix, rows in {"": np.full(FACES, True), "/pose": MEMBER[:, 0], "/make-up": MEMBER[:, 1]}.items():
        table[f"nme{suffix}"] = 100 * nme[rows].mean()
        table[f"fr10{suffix}"] = 100 * (nme[rows] > 0.10).mean()
        table[f"fr10_landmarks{suffix}"] = table[f"fr10{suffix}"]  # a face's points all err by the same
        if failure_rates:
            for at in (5, 8, 15, 20):
                table[f"fr{at:02}_landmarks{suffix}"] = 100 * (nme[rows] > at / 100).mean()
            table[f"fr08{suffix}"] = table[f"fr08_landmarks{suffix}"]
        table[f"auc10{suffix}"] = np.maximum(0, 1 - nme[rows] / 0.10).mean()
        table[f"point_var{suffix}"] = 1e4 * (nme[rows] ** 2).mean() * (1 - (1 / POINTS) ** 2)
    return table


# --- torchmetrics alone


def rows_of_rank(scenario, rank):
    """Which samples a process sees, and by how much its errors are scaled."""
    if scenario == "padded":
        return np.arange(rank, FACES + 1, 2) % FACES, 1.0  # as a distributed sampler: the first sample comes twice
    if scenario == "uneven":
        return (np.arange(FACES - 1), np.arange(FACES - 3, FACES))[rank], 1.0
    if scenario == "one without":
        return (np.arange(FACES), np.arange(0))[rank], 1.0
    if scenario == "first without":
        return (np.arange(0), np.arange(FACES))[rank], 1.0
    if scenario == "disagreeing":
        return np.arange(FACES), (1.0, 3.0)[rank]
    return np.arange(0), 1.0  # "nobody"


SCENARIOS = ("padded", "uneven", "one without", "first without", "disagreeing", "nobody")


def gather(rank):
    """The metrics of each scenario on this process of two, by its rank."""
    table = {}
    for scenario in SCENARIOS:
        metrics = face_metrics(SUBSETS, failure_rates=True)
        rows, scale = rows_of_rank(scenario, rank)
        for first in range(0, len(rows), 16):
            batch = torch.utils.data.default_collate([sample(row) for row in rows[first : first + 16]])
            pred = scale * batch["image"][:, :1, 0, :1].float() * DIRECTION
            metrics.update(pred, batch["landmarks"], batch["norm"], batch["index"], batch["subsets"])
        table[scenario] = {name: value.item() for name, value in metrics.compute().items()}
    return table


def gather_videos(rank):
    """The metrics of videos of which this process has some; the second has one of the first's again, or none."""
    table = {}
    for scenario, shares in {"shared out": ((3, 12), (7, 1, 3)), "one without": ((1, 3, 7, 12), ())}.items():
        videos, metrics = test_videos.make_videos(), video_metrics(test_videos.SUBSETS)
        for number in shares[rank]:
            metrics.update(*test_videos.given(videos[number], number))
        table[scenario] = {name: value.item() for name, value in metrics.compute().items()}
    return table


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes wrote, by rank: started once, as they take seconds to import what they need."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, folder], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def gathered(two_processes):
    return [written["gathered"] for written in two_processes]


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "nobody"])
def test_two_processes_give_what_one_gives(gathered, scenario):
    for rank in range(2):
        assert gathered[rank][scenario] == pytest.approx(expected(1.0), rel=1e-5)
        assert gathered[rank][scenario] == gathered[0]["one without"]  # to the last digit


def test_no_faces_on_any_process_give_nan(gathered):
    for rank in range(2):
        assert all(np.isnan(value) for value in gathered[rank]["nobody"].values())


def test_two_processes_give_what_one_gives_of_videos(two_processes):
    alone = test_videos.expected(test_videos.make_videos())
    for written in two_processes:
        for table in written["videos"].values():
            assert table == pytest.approx(alone, rel=1e-4)
            assert table == two_processes[0]["videos"]["one without"]  # to the last digit


# --- through Lightning


class GreyFaces(LightningDataModule):
    num_landmarks, subset_names, size = POINTS, SUBSETS, 8
    markup = Markup("grey", POINTS, tuple(range(POINTS)))

    def mean_shape(self):
        return torch.zeros(POINTS, 2)

    def box_margins(self):
        return None

    def train_dataloader(self):
        return DataLoader([sample(row) for row in range(4)], batch_size=1)

    def val_dataloader(self):
        return DataLoader([sample(row) for row in range(FACES)], batch_size=16)

    test_dataloader = val_dataloader


class GreyReader(LandmarkModule):
    """Errs by the grey value in the first epoch, by twice as much in the second."""

    def __init__(self):
        super().__init__(POINTS)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, image):
        error = (1 + self.current_epoch) * image[:, 0, 0, 0].float()
        landmarks = error[:, None, None] * DIRECTION
        return LandmarkPrediction(landmarks, torch.ones(landmarks.shape[:2]))

    def training_step(self, batch, batch_idx):
        return 0 * self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Table(Callback):
    """What Lightning has logged by the end of each validation."""

    def __init__(self):
        self.epochs = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.epochs.append({name: value.item() for name, value in trainer.callback_metrics.items()})


def evaluate(devices, folder):
    """Tables of two epochs of validation and of a test, the number of processes and the rank of this one."""
    table = Table()
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=2,
        callbacks=[table],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    model = GreyReader()
    trainer.fit(model, datamodule=GreyFaces())
    test = trainer.test(model, datamodule=GreyFaces(), verbose=False)[0]
    return {"epochs": table.epochs, "test": test, "world_size": trainer.world_size}, trainer.global_rank


def with_prefix(prefix, table):
    return {prefix + name: value for name, value in table.items()}


def test_lightning_logs_and_resets_over_epochs(tmp_path):
    result, _ = evaluate(1, tmp_path)
    for epoch in range(2):
        assert result["epochs"][epoch] == pytest.approx(with_prefix("val/", expected(1.0 + epoch, False)), rel=1e-5)
    # After the fit the epoch stands at 2.
    assert result["test"] == pytest.approx(with_prefix("test/", expected(3.0)), rel=1e-5)


def test_lightning_on_two_processes_gives_what_one_gives(two_processes, tmp_path):
    alone, _ = evaluate(1, tmp_path)
    for written in two_processes:
        assert written["evaluated"] == {**alone, "world_size": 2}  # to the last digit


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    evaluated, rank = evaluate(2, folder)  # which makes the group of processes
    written = {"evaluated": evaluated, "gathered": gather(rank), "videos": gather_videos(rank)}
    (folder / f"{rank}.json").write_text(json.dumps(written))
    torch.distributed.destroy_process_group()
