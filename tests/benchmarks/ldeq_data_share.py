"""The share of an LDEQ training step on CPU that waits for data, for 0, 1 and 2 loading processes.

    python tests/benchmarks/ldeq_data_share.py [--threads 1] [--steps 12] [--full_steps 4] [--full_batch 2]

The network, the crops and all augmentation are those of configs/ldeq_300w_cpu.yaml (128 px, width 64) and of
configs/ldeq_300w.yaml (256 px, full size), with the implicit gradient, and Lightning trains. Faces are JPEG files of
480 x 400 pixels. Loading processes share the cores that this one may use with the training.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.drawn_photographs import photograph
from tests.drawn_faces import draw, random_face

CONFIGS = Path(__file__).parents[2] / "configs"
FACES, TIMES, WARM_UP = 64, 4, 2  # FACES in the list, each many times; steps that are not counted


def write(root: Path) -> None:
    """A CSV of 1,280 lines, and its images."""
    rng, lines = np.random.default_rng(0), []
    (root / "train").mkdir()
    for i in range(FACES):
        face = random_face(rng, (60, 50), 25)
        Image.fromarray(photograph(draw([face], 120, 100), TIMES, rng)).save(root / f"train/{i}.jpg", quality=90)
        points = TIMES * (face[:68] + 0.5) - 0.5
        lines.append(",".join([f"{i}.jpg", *(f"{v:.3f}" for v in points.ravel())]))
    header = ",".join(["file", *(f"{axis}{i}" for i in range(68) for axis in "xy")])
    (root / "train.csv").write_text("\n".join([header, *(20 * lines)]) + "\n")


def made(config: dict[str, Any]) -> Any:
    """The model and the data of a config."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningModule, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    return parser.instantiate(parser.parse_object({key: config[key] for key in ("model", "data")}))


def train(config: dict[str, Any], steps: int) -> tuple[float, float]:
    """Median seconds of a step with its data, and the share of all steps' time that waits for data."""
    torch.manual_seed(0)
    parts, profiler = made(config), SimpleProfiler()
    trainer = Trainer(
        accelerator="cpu",
        precision=config["trainer"]["precision"],
        max_steps=steps + WARM_UP,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        profiler=profiler,
    )
    trainer.fit(parts.model, parts.data)
    times = profiler.recorded_durations
    waiting = times["[_TrainingEpochLoop].train_dataloader_next"][WARM_UP : WARM_UP + steps]
    computing = times["run_training_batch"][WARM_UP:]
    whole = [wait + compute for wait, compute in zip(waiting, computing, strict=True)]
    return statistics.median(whole), sum(waiting) / sum(whole)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("threads", 1), ("steps", 12), ("full_steps", 4), ("full_batch", 2)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print("config          size  batch  workers  seconds a step  share that waits for data")
    with tempfile.TemporaryDirectory() as root:
        write(Path(root))
        for name, steps, batch in (
            ("ldeq_300w_cpu", options.steps, 16),
            ("ldeq_300w", options.full_steps, options.full_batch),
        ):
            config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
            config["model"]["init_args"]["early_epochs"] = 0
            for workers in (0, 1, 2):
                config["data"]["init_args"] |= {"root": root, "num_workers": workers, "batch_size": batch}
                seconds, share = train(config, steps)
                size = config["data"]["init_args"]["size"]
                print(f"{name:15} {size:4} {batch:6} {workers:8} {seconds:15.2f} {share:26.1%}", flush=True)


if __name__ == "__main__":
    main()
