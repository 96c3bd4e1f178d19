"""What each round of self-training does."""

import csv
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from datamodules.batch import MixedBatch
from datamodules.mixture import Mixture
from lightning_modules.pipnet import PIPNet, SelfTraining
from tests.drawn_faces import draw, random_face, save
from tests.experiment import run, weights
from tests.mixed_experiment import infrared, make, synthetic, write_mixed

SMALL = {"backbone": "test_resnet", "pretrained": False}


def column(name, path="runs/run/metrics.csv"):
    with Path(path).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of four rounds of two epochs, what it told, and the epochs that loaders were made before."""
    folder = tmp_path_factory.mktemp("trained")
    write_mixed(folder, trainer={"reload_dataloaders_every_n_epochs": 3})
    loader, epochs = Mixture.train_dataloader, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(
            Mixture, "train_dataloader", lambda self: epochs.append(self.trainer.current_epoch) or loader(self)
        )
        with redirect_stdout(StringIO()) as told:
            cli = run("fit", "--config", "mixed.yaml", "--name", "run")
        Path("told").write_text(told.getvalue())
        Path("loaders").write_text(str(epochs))
        yield cli


def test_rounds_tasks_and_learning_rates(trained):
    assert column("train/round") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert column("train/task") == [32, 32, 128, 128, 64, 64, 32, 32]
    rates = np.array(column("lr-Adam"))
    steps = [len(list(group)) for group in np.split(rates, np.flatnonzero(np.diff(rates)) + 1)]
    labelled = trained.datamodule.mixed.num_labelled
    supervised, mixed = labelled // 4, (labelled + round(labelled / 2)) // 4
    assert mixed > supervised
    assert steps == [supervised] * 2 + [mixed] * 6
    np.testing.assert_allclose(rates[[0, supervised, 2 * supervised, -1]], [1e-3, 1e-4, 1e-3, 1e-4])
    counts = {value.item() for key, value in weights("runs/run").items() if key.endswith("num_batches_tracked")}
    assert counts == {2 * mixed}  # batch norms began anew in the last round, and learn after labels were made


def test_each_round_is_told(trained):
    told = Path("told").read_text().splitlines()
    learning = ["labelled faces only", *(f"pseudo-labels at stride {task}" for task in (128, 64, 32))]
    assert [line for line in told if ", epochs " in line] == [
        f"round {k} of 3, epochs {2 * k} to {2 * k + 1}: {learning[k]}, learning rate 0.001 at first" for k in range(4)
    ]
    assert [line for line in told if "finding" in line] == [
        f"round {k}: finding the landmarks of 7 faces without labels" for k in (1, 2, 3)
    ]
    sure, least, moved = (column(f"pseudo/{name}") for name in ("confidence", "confidence_low", "moved"))
    since = ["", *(f"moved by {value:.2f} % of the crop's side since the last round, " for value in moved)]
    assert [line for line in told if "mean confidence" in line] == [
        f"round {k}: pseudo-labels of 7 faces, mean confidence {sure[k - 1]:.3f}, the least sure tenth below "
        f"{least[k - 1]:.3f}, {since[k - 1]}kept in runs/run/pseudo_labels/round_{k}.npz"
        for k in (1, 2, 3)
    ]


def test_loaders_are_made_anew_for_labels_and_where_the_trainer_is_told_to(trained):
    assert Path("loaders").read_text() == "[0, 2, 4, 6]"
    assert trained.trainer.reload_dataloaders_every_n_epochs == 3  # the user's


def test_fast_dev_run_is_one_mixed_batch_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path)
    seen, step = [], SelfTraining.training_step
    monkeypatch.setattr(
        SelfTraining,
        "training_step",
        lambda self, batch, i: seen.append(batch["labelled"].tolist()) or step(self, batch, i),
    )
    run("fit", "--config", "mixed.yaml", "--name", "run", "--trainer.fast_dev_run=true")
    assert [set(labelled) for labelled in seen] == [{True, False}]
    assert not Path("runs").exists()


def test_what_is_told_of_the_labels_is_that_of_the_files(trained):
    files = [np.load(f"runs/run/pseudo_labels/round_{number}.npz") for number in (1, 2, 3)]
    np.testing.assert_allclose(column("pseudo/confidence"), [file["confidence"].mean() for file in files], rtol=1e-5)
    lowest = [np.quantile(file["confidence"].mean(axis=1), 0.1) for file in files]
    np.testing.assert_allclose(column("pseudo/confidence_low"), lowest, rtol=1e-5)
    boxes = make(infrared()).load("train").box
    side = 1.2 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)  # provided-1.2
    points = [file["landmarks"] for file in files]
    moved = [np.linalg.norm(a - b, axis=2).mean(axis=1) / side for a, b in pairwise(points)]
    np.testing.assert_allclose(column("pseudo/moved"), [100 * one.mean() for one in moved], rtol=1e-4)


def test_labels_of_the_last_file_are_those_in_the_last_batches(trained):
    landmarks = np.load("runs/run/pseudo_labels/round_3.npz")["landmarks"]
    mixed = trained.datamodule.mixed
    np.testing.assert_array_equal(mixed.parts[1].landmarks, landmarks)
    assert not mixed[(7, mixed.num_labelled)]["labelled"]
    assert mixed[(7, mixed.num_labelled)]["landmarks"].isfinite().all()


def test_labels_are_what_the_network_finds_in_clean_crops(trained, monkeypatch):
    """One face at a time, and without the mixture: from a run that ended after the supervised round."""
    callbacks = [{"class_path": "tests.experiment.StopAfterEpoch"}]
    write_mixed(Path(), trainer={"callbacks": callbacks})
    monkeypatch.setenv("STOP_AFTER_EPOCH", "1")
    run("fit", "--config", "mixed.yaml", "--name", "supervised")
    labels = np.load("runs/supervised/pseudo_labels/round_1.npz")
    assert np.array_equal(labels["landmarks"], np.load("runs/run/pseudo_labels/round_1.npz")["landmarks"])
    module = SelfTraining.load_from_checkpoint("runs/supervised/checkpoints/last.ckpt").eval()
    faces = make(infrared()).dataset(make(infrared()).load("train"))
    for row, sample in enumerate(faces[i] for i in range(7)):
        with torch.no_grad():
            found = module(sample["image"].unsqueeze(0))
        linear, offset = sample["crop"][:, :2], sample["crop"][:, 2]
        np.testing.assert_allclose(labels["landmarks"][row], found.landmarks[0] @ linear.T + offset, atol=1e-2)
        np.testing.assert_allclose(labels["confidence"][row], found.confidence[0], atol=1e-5)
        assert labels["images"][row].endswith(f"infrared/train/{row}")
    check_plain_pipnet()


def check_plain_pipnet():
    """The supervised round is a training of `PIPNet` on the labelled faces, to the last bit."""
    config = yaml.safe_load(Path("mixed.yaml").read_text())
    config["model"]["class_path"] = "lightning_modules.pipnet.PIPNet"
    del config["model"]["init_args"]["tasks"]
    config["data"] = synthetic(validation_fraction=0.25)
    config["trainer"]["max_epochs"] = 2
    Path("plain.yaml").write_text(yaml.safe_dump(config))
    run("fit", "--config", "plain.yaml", "--name", "plain")
    plain, supervised = weights("runs/plain"), weights("runs/supervised")
    assert set(supervised) - set(plain) == {"round_seed"}
    assert all(torch.equal(plain[key], supervised[key]) for key in plain)


def made(seed=0, **options):
    torch.manual_seed(seed)
    return SelfTraining(5, num_neighbours=2, **{**SMALL, **options})


class Rounding:
    """As much of a trainer as a round's beginning needs."""

    def __init__(self, module):
        self.optimizers = [torch.optim.Adam(module.parameters())]


def afresh(module, number):
    module._trainer = Rounding(module)
    sum(p.square().sum() for p in module.parameters()).backward()
    module._trainer.optimizers[0].step()
    module._start_afresh(number)
    return {key: value.clone() for key, value in module.network.state_dict().items()}


def test_new_weights_depend_on_seed_and_round_alone():
    module = made()
    before = [p.data_ptr() for p in module.parameters()]
    first = afresh(module, 1)
    assert [p.data_ptr() for p in module.parameters()] == before  # in place: the optimiser and DDP hold on to them
    assert not module._trainer.optimizers[0].state
    torch.rand(17)  # other random numbers were drawn meanwhile
    second, again, other = afresh(module, 2), afresh(module, 1), afresh(made(seed=1), 1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    for different in (second, other):
        assert not torch.equal(first["offset.weight"], different["offset.weight"])
    assert first["offset.weight"].std().item() == pytest.approx(1e-3, rel=0.2)
    assert not first["offset.bias"].any()
    counts = [value for key, value in first.items() if key.endswith("num_batches_tracked")]
    assert counts
    assert not any(counts)


def test_drawing_new_weights_leaves_the_random_numbers_alone():
    module = made()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    afresh(module, 1)
    assert torch.equal(torch.rand(3), expected)


def test_new_weights_are_those_of_imagenet_where_training_began_with_them(monkeypatch):
    def load(backbone):
        for p in backbone.parameters():
            p.data.fill_(0.5)

    monkeypatch.setattr("lightning_modules.backbones.timm_backbone.TimmBackbone.load_imagenet", load)
    found = afresh(made(pretrained=True), 1)
    assert all((value == 0.5).all() for key, value in found.items() if key.endswith("conv1.weight"))
    assert found["offset.weight"].abs().max() < 0.01


def mixed_batch():
    generator = torch.Generator().manual_seed(0)
    batch: MixedBatch = {
        "image": torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8, generator=generator),
        "landmarks": 128 * torch.rand(4, 5, 2, generator=generator),
        "labelled": torch.tensor([True, False, True, False]),
        "index": torch.arange(4),
    }
    return batch


@pytest.mark.parametrize(("epoch", "task"), [(0, 32), (1, 128), (2, 64), (3, 32), (5, 32)])
def test_each_sample_is_taught_its_task(monkeypatch, epoch, task):
    module = made()
    seen = []
    monkeypatch.setattr(SelfTraining, "current_epoch", epoch)
    monkeypatch.setattr(SelfTraining, "loss", lambda self, features, landmarks, *tasks: seen.append(tasks))
    module.training_step(mixed_batch(), 0)
    assert [(tasks.tolist(), coarsest) for tasks, coarsest in seen] == [([32, task, 32, task], task)]


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_every_parameter_has_a_gradient_in_every_batch(monkeypatch, epoch):
    """DistributedDataParallel waits for the gradient of each, so also where a batch has no labelled face."""
    for labelled in ([True] * 4, [False] * 4):
        module = made()
        monkeypatch.setattr(SelfTraining, "current_epoch", epoch)
        monkeypatch.setattr(SelfTraining, "log", lambda *args, **kwargs: None)
        monkeypatch.setattr(SelfTraining, "log_dict", lambda *args, **kwargs: None)
        module.training_step({**mixed_batch(), "labelled": torch.tensor(labelled)}, 0).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_the_options_of_pipnet_are_its_options_and_travel_in_the_checkpoint(trained):
    again = SelfTraining.load_from_checkpoint("runs/run/checkpoints/last.ckpt")
    assert isinstance(again, PIPNet)
    assert again.tasks == (128, 64, 32)
    assert again.hparams["lr"] == 1e-3
    tested = run("test", "--name", "run", "--ckpt_path", "last")
    assert tested.trainer.callback_metrics["test/nme"] > 0


BAD = {
    "no mixture": (
        {"data": synthetic()},
        "SelfTraining learns from faces without labels too, which SyntheticFaces has not; set data to "
        "datamodules.mixture.Mixture",
    ),
    "tasks upwards": ({"tasks": [32, 64]}, "model.init_args.tasks is [32, 64], where 64 follows 32"),
    "tasks off": ({"tasks": [48, 32]}, "48 is not the network's stride 32"),
    "no tasks": ({"tasks": []}, "expected the strides of at least one round"),
    "epochs": ({"trainer": {"max_epochs": 6}}, "trainer.max_epochs is 6, expected a multiple of 4"),
    "no end": ({"trainer": {"max_epochs": -1}}, "trainer.max_epochs is -1, expected a multiple of 4"),
    "size": (
        {"tasks": [256, 128, 32]},
        "size is 128, expected a multiple of 256, the coarsest of model.init_args.tasks",
    ),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_bad_settings_are_one_sentence(tmp_path, monkeypatch, capsys, change, words):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path, **change)
    with pytest.raises(SystemExit):
        run("fit", "--config", "mixed.yaml")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert words in said


def photographs(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        save(draw([random_face(rng, (60, 50), 25)], 120, 100), folder / f"{i}.png")
    options = {"root": str(folder), "size": 128, "num_workers": 0}
    others = {"class_path": "datamodules.unlabeled.UnlabeledFaces", "init_args": options}
    mixture = {"labelled": synthetic(num_workers=1), "unlabelled": [others]}
    return {"class_path": "datamodules.mixture.Mixture", "init_args": mixture}


def test_an_empty_folder_is_told_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path, data=photographs(tmp_path / "photos", 0))
    with pytest.raises(SystemExit):
        run("fit", "--config", "mixed.yaml")
    said = capsys.readouterr()
    assert (
        said.err.strip()
        .splitlines()[-1]
        .startswith(f"error: data.init_args.unlabelled: number 0: {tmp_path}/photos has no ")
    )
    assert "round 0" not in said.out


def test_a_broken_image_is_named_and_no_label_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path, data=photographs(tmp_path / "photos", 5), tasks=[32], trainer={"max_epochs": 2})
    broken = tmp_path / "photos/3.png"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(SystemExit):
        run("fit", "--config", "mixed.yaml", "--name", "run")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: {broken}: image is damaged or truncated")
    assert not Path("runs/run/pseudo_labels").exists()
