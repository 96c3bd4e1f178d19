import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from datamodules.bbc_pose import BBCPose
from datamodules.crop import invert, transform
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import WFLW_98
from datamodules.mixture import Mixture
from datamodules.transforms import Augmentation
from datamodules.unlabeled import UnlabeledFaces
from datamodules.wflw import WFLW
from tests.datamodules.test_mixture_sampler import shown
from tests.drawn_bbc import write_bbc
from tests.drawn_faces import draw, random_face, save, write_csv, write_wflw
from tests.experiment import run
from tests.image_pixels import landmarks_in_image
from tests.one_sentence import one_sentence
from tests.tiny import Tiny


class MaskedTiny(Tiny):
    """Learns from the landmarks that are known."""

    takes_unlabelled = True

    def training_step(self, batch, batch_idx):
        error = (self(batch["image"]).landmarks - batch["landmarks"]).abs()
        loss = error[batch["labelled"]].mean()
        self.log("train/loss", loss)
        return loss


SMALL = {"size": 32, "num_workers": 0, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """WFLW of 24 faces, a CSV of 5 landmarks with 10 faces, and 7 images."""
    root = tmp_path_factory.mktemp("mixture")
    write_wflw(root / "WFLW", train=24, test=6)
    write_csv(root / "five", train=10, landmarks=5)
    (root / "five.yaml").write_text("{name: five, num_landmarks: 5, flip_pairs: [[0, 1]]}")
    rng = np.random.default_rng(0)
    for i in range(7):
        save(draw([random_face(rng, (60, 50), 25)], 120, 100), root / f"photos/{i}.png")
    return root


def mixture(folder, ratio=1.0, **options):
    options = {**SMALL, **options}
    labelled = WFLW(folder / "WFLW", validation_fraction=0.3, **options)
    five = CSVLandmarks(folder / "five", str(folder / "five.yaml"), box="image", **options)
    data = Mixture(labelled, [UnlabeledFaces(folder / "photos", **options), five], ratio)
    data.setup("fit")
    return data


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_labelled_samples_are_those_of_the_labelled_set(folder):
    data = mixture(folder)
    plain = data.labelled._datasets["train"]
    seen = 0
    for batch in batches(data, epoch=2):
        for i in batch["labelled"].nonzero().flatten().tolist():
            sample = plain[(2, int(batch["index"][i]))]
            assert all(torch.equal(batch[key][i], sample[key]) for key in sample)
            assert batch["visible"][i].any()
            seen += 1
    assert seen >= len(plain) - 3


def test_landmarks_of_the_others_are_unknown(folder):
    data = mixture(folder, batch_size=1)
    found = batches(data)
    others = [batch for batch in found if not batch["labelled"]]
    assert len(others) == len(found) // 2
    for batch in others:
        assert batch["landmarks"].shape == (1, 98, 2)
        assert batch["landmarks"].isnan().all()
        assert not batch["visible"].any()
        assert batch["norm"].isnan().all()
        assert batch["subsets"].shape == (1, 6)
        assert not batch["subsets"].any()
        assert batch["index"] >= data.mixed.num_labelled


def test_crops_of_the_others_are_those_of_their_own_data(folder):
    """But for the random numbers."""
    data = mixture(folder)
    photos = UnlabeledFaces(folder / "photos", **SMALL, seed=data.unlabelled[0].seed)
    photos.setup("fit")
    five = CSVLandmarks(folder / "five", str(folder / "five.yaml"), box="image", **SMALL, seed=data.unlabelled[1].seed)
    five_faces = five.dataset(five.load("train"))
    first = data.mixed.num_labelled
    assert len(data.mixed) == first + 7 + 10
    for i in range(17):
        expected = photos._datasets["train"][(3, i)] if i < 7 else five_faces[(3, i - 7)]
        sample = data.mixed[(3, first + i)]
        assert torch.equal(sample["image"], expected["image"])
        assert torch.equal(sample["crop"], expected["crop"])
        assert int(sample["index"]) == first + i


def photographs(folder, labelled=None, **options):
    """The clean crops, then an augmentation, of the photographs as the others of labelled faces with these options."""
    wflw = WFLW(folder / "WFLW", validation_fraction=0.3, **SMALL, **(labelled or {}))
    data = Mixture(wflw, [UnlabeledFaces(folder / "photos", **SMALL, **options)])
    data.setup("fit")
    others = range(data.mixed.num_labelled, len(data.mixed))
    return [torch.stack([data.mixed[key]["crop"] for key in keys]) for keys in (others, [(1, i) for i in others])]


TURNED = Augmentation(rotation_p=1, translation_p=0, flip_p=0)


def test_others_are_augmented_by_the_seed_of_the_mixture(folder):
    _, one = photographs(folder, {"seed": 0})
    assert torch.equal(one, photographs(folder, {"seed": 0}, seed=3)[1])
    assert not torch.equal(one, photographs(folder, {"seed": 1})[1])


def test_the_parts_have_random_numbers_of_their_own(folder):
    options = {**SMALL, "augmentation": TURNED}
    faces = [UnlabeledFaces(folder / "photos", **options) for _ in range(2)]
    data = Mixture(WFLW(folder / "WFLW", validation_fraction=0.3, **options), faces)
    data.setup("fit")
    turned = [torch.atan2(*part[(1, 0)]["crop"][:, 0].flip(0)) for part in data.mixed.parts]
    assert np.diff(sorted(turned)).min() > 1e-3


def test_others_are_augmented_as_the_labelled_faces_unless_they_say_how(folder):
    still = Augmentation(rotation=0, translation=0, flip_p=0)
    clean, augmented = photographs(folder, {"augmentation": still})
    torch.testing.assert_close(augmented, clean)
    clean, augmented = photographs(folder)
    assert not torch.equal(augmented, clean)
    clean, augmented = photographs(folder, {"augmentation": still}, augmentation=TURNED)
    assert not torch.isclose(augmented[:, :, :2], clean[:, :, :2]).all(dim=(1, 2)).any()
    clean, augmented = photographs(folder, {"augmentation": TURNED}, augmentation=still)
    torch.testing.assert_close(augmented, clean)


def test_the_seed_is_that_of_the_labelled_faces(folder):
    data = mixture(folder, seed=5)
    assert data.seed == 5
    index = torch.cat([batch["index"] for batch in batches(data)])
    first = data.mixed.num_labelled
    assert index.tolist() == shown(first, 17, 1.0, 0, seed=5, batch_size=data.batch_size).tolist()[: len(index)]


def test_others_are_cached_where_they_say_so(folder, tmp_path, monkeypatch):
    options = {"augmentation": TURNED}
    expected = photographs(folder, options)
    assert all(map(torch.equal, photographs(folder, options, cache=tmp_path / "cache"), expected))
    assert [path.name.split("-")[0] for path in tmp_path.glob("cache/*.faces")] == ["UnlabeledFaces"]
    monkeypatch.setattr("datamodules.face_dataset.read_image", None)  # nothing is decoded any more
    data = UnlabeledFaces(folder / "photos", **SMALL, cache=tmp_path / "cache")
    data = Mixture(WFLW(folder / "WFLW", validation_fraction=0.3, **SMALL, **options), [data])
    data.setup("fit")
    assert len([data.mixed[(1, i)] for i in range(data.mixed.num_labelled, len(data.mixed))]) == 7


def test_ranks_are_taken_from_the_trainer_and_a_resumed_epoch_from_the_checkpoint(folder):
    data = mixture(folder)
    data.trainer = SimpleNamespace(world_size=2, global_rank=1, current_epoch=4)
    data.load_state_dict({"epoch": 5})
    assert data.first_epoch == 5
    sampler = data.train_dataloader().sampler
    assert (sampler.num_replicas, sampler.rank, sampler.epoch) == (2, 1, 5)
    data.trainer.current_epoch = 8  # a loader that is made in the middle of a training
    assert data.train_dataloader().sampler.epoch == 8


def test_an_epoch_that_was_shared_out_otherwise_is_not_gone_on_with(folder):
    data = mixture(folder, batch_size=4)
    data.trainer = SimpleNamespace(world_size=2, global_rank=1, current_epoch=4)
    data.load_state_dict({"epoch": 5, "batches": 0, "processes": 1})
    data.load_state_dict({"epoch": 5, "batches": 0, "processes": 2, "batch_size": 8})
    data.load_state_dict({"epoch": 5, "batches": 3, "processes": 2, "batch_size": 4})
    with one_sentence("in the middle of an epoch with another number of processes (1, now 2); resume with 1"):
        data.load_state_dict({"epoch": 5, "batches": 3, "processes": 1, "batch_size": 4})
    with one_sentence("epoch with another data.init_args.batch_size (8, now 4); resume with 8, or delete it"):
        data.load_state_dict({"epoch": 5, "batches": 3, "processes": 2, "batch_size": 8})


def test_all_others_may_be_seen_in_every_epoch(folder):
    assert sum(not flag for batch in batches(mixture(folder, None, batch_size=1)) for flag in batch["labelled"]) == 17


@pytest.mark.parametrize("world", [1, 2])
def test_supervised_epochs_are_those_of_the_labelled_set(folder, world):
    data, plain = mixture(folder), WFLW(folder / "WFLW", validation_fraction=0.3, **SMALL)
    plain.setup("fit")
    data.labelled_only = True
    data.trainer = plain.trainer = SimpleNamespace(world_size=world, global_rank=world - 1, current_epoch=0)
    for one, two in zip(batches(data, epoch=3), batches(plain, epoch=3), strict=True):
        assert one["labelled"].all()
        assert all(torch.equal(one[key], two[key]) for key in two)
    data.labelled_only = False
    assert not all(batch["labelled"].all() for batch in batches(data, epoch=3))


@pytest.mark.parametrize("world", [1, 2, 3, 20])
def test_ranks_find_landmarks_in_each_of_the_others_once(folder, world):
    data = mixture(folder)
    seen = []
    for rank in range(world):
        data.trainer = SimpleNamespace(world_size=world, global_rank=rank, current_epoch=0)
        found = [index for batch in data.unlabelled_dataloader() for index in batch["index"].tolist()]
        assert len(found) in (17 // world, -(-17 // world))
        seen += found
    assert sorted(seen) == list(range(data.mixed.num_labelled, len(data.mixed)))


def test_the_rest_is_the_labelled_set(folder):
    data = mixture(folder)
    plain = WFLW(folder / "WFLW", validation_fraction=0.3, **SMALL)
    plain.setup("fit")
    assert data.markup is WFLW_98
    assert data.subset_names == plain.subset_names
    assert data.measured_on == "WFLW"
    assert data.published == WFLW.published
    assert torch.equal(data.mean_shape(), plain.mean_shape())
    for one, two in zip(data.val_dataloader(), plain.val_dataloader(), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in two)
        assert "labelled" not in one
    data, plain = Mixture(plain, data.unlabelled), WFLW(folder / "WFLW", **SMALL)
    data.setup("test")
    plain.setup("test")
    for one, two in zip(data.test_dataloader(), plain.test_dataloader(), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in two)


def test_validation_faces_that_are_published_are_taken(folder, tmp_path):
    write_bbc(tmp_path)
    data = Mixture(BBCPose(tmp_path, **SMALL), [UnlabeledFaces(folder / "photos", **SMALL)])
    train, val = data.fit_faces()
    assert set(train.photograph) == {str(video) for video in range(1, 11)}
    assert set(val.photograph) == {str(video) for video in range(11, 16)}


def test_pseudo_labels_are_augmented_as_true_ones(folder):
    options = {"augmentation": Augmentation(occluder_p=0)}
    options |= {"box": "provided-1.2", **SMALL}
    data, truth = (WFLW(folder / "WFLW", **options) for _ in range(2))
    data = Mixture(data, [WFLW(folder / "WFLW", **options)])
    data.setup("fit")
    faces = truth.dataset(truth.load("train"))
    faces.seed = data.unlabelled[0].seed
    landmarks = faces.landmarks.copy()
    landmarks[3] = np.nan
    data.pseudo_label(landmarks)
    for row in range(len(faces)):
        sample, expected = data.mixed[(7, data.mixed.num_labelled + row)], faces[(7, row)]
        assert not sample["labelled"]
        if row == 3:
            assert sample["landmarks"].isnan().all()
            assert not sample["visible"].any()
        else:
            assert torch.equal(sample["landmarks"], expected["landmarks"])
            assert torch.equal(sample["visible"], expected["visible"])


def test_what_is_found_in_the_others_can_be_given_back(folder):
    data = mixture(folder)
    landmarks = np.full((17, 98, 2), np.nan)
    rng = np.random.default_rng(0)
    wanted = rng.uniform(4, 28, (17, 98, 2))  # in pixels of the clean crops
    for batch in data.unlabelled_dataloader():
        for index, crop in zip(batch["index"].tolist(), batch["crop"].double().numpy(), strict=True):
            u = index - data.mixed.num_labelled
            landmarks[u] = transform(crop, wanted[u])
    data.pseudo_label(landmarks)
    for u in range(17):
        sample = data.mixed[data.mixed.num_labelled + u]
        np.testing.assert_allclose(sample["landmarks"].numpy(), wanted[u], atol=1e-3)
        assert sample["visible"].all()
        augmented = data.mixed[(1, data.mixed.num_labelled + u)]
        back = landmarks_in_image(augmented)
        flipped = np.linalg.det(invert(augmented["crop"].double().numpy())[:, :2]) < 0
        np.testing.assert_allclose(back, landmarks[u][list(WFLW_98.flip)] if flipped else landmarks[u], atol=1e-2)


def test_pseudo_labels_may_lie_anywhere(folder):
    """A network may find a face's landmarks outside of its image; true ones there would be another image's."""
    data = mixture(folder)
    data.pseudo_label(np.full((17, 98, 2), 1e6) + np.arange(98)[:, None])
    sample = data.mixed[(1, data.mixed.num_labelled)]
    assert sample["landmarks"].isfinite().all()
    assert not sample["visible"].any()


def test_pseudo_labels_in_a_file_serve_where_the_folder_is_moved(folder, tmp_path):
    data = mixture(folder)
    landmarks, file = np.random.default_rng(0).uniform(0, 50, (17, 98, 2)), tmp_path / "labels/round_1.npz"
    data.write_pseudo_labels(file, landmarks, np.ones((17, 98)))
    assert data.unlabelled_images[:7].tolist() == [f"{i}.png" for i in range(7)]
    shutil.copytree(folder, tmp_path / "moved")
    moved = mixture(tmp_path / "moved")
    np.testing.assert_array_equal(moved.read_pseudo_labels(file), landmarks.astype(np.float32))
    (tmp_path / "moved/photos/3.png").rename(tmp_path / "moved/photos/8.png")
    with one_sentence(file, "face 3 is of image 3.png, but the data has 4.png there"):
        mixture(tmp_path / "moved").read_pseudo_labels(file)
    (tmp_path / "moved/photos/8.png").unlink()
    with one_sentence(file, "has the pseudo-labels of 17 faces, but there are 16"):
        mixture(tmp_path / "moved").read_pseudo_labels(file)


BAD = {
    "no others": (lambda a, b: Mixture(a, []), "data.init_args.unlabelled is empty, expected at least one datamodule"),
    "ratio": (lambda a, b: Mixture(a, [b], ratio=0), "data.init_args.ratio is 0, expected a number above 0"),
    "infinite": (lambda a, b: Mixture(a, [b], ratio=float("inf")), "data.init_args.ratio is inf, expected a number"),
    "no landmarks": (lambda a, b: Mixture(b, [a]), "data.init_args.labelled has no landmarks; set it to annotated"),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD)
def test_bad_options_are_one_sentence(folder, make, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
        make(WFLW(folder / "WFLW", **SMALL), UnlabeledFaces(folder / "photos", **SMALL))


def test_two_sizes_are_refused(folder):
    with pytest.raises(
        ValueError, match=r"unlabelled: number 0 has size 64, but labelled has 32; set both to one size"
    ):
        Mixture(WFLW(folder / "WFLW", **SMALL), [UnlabeledFaces(folder / "photos", size=64)])


def test_others_cut_by_their_landmarks_are_refused(folder):
    photos = UnlabeledFaces(folder / "photos", **SMALL)
    with pytest.raises(
        ValueError,
        match=r"data.init_args.unlabelled: number 1 \(WFLW\) has box 'landmarks-1.2', which is drawn around its "
        r"landmarks; set its box to image or to one of provided-\.\.\.$",
    ):
        Mixture(WFLW(folder / "WFLW", **SMALL), [photos, WFLW(folder / "WFLW", **SMALL)])


def test_pseudo_labels_of_another_shape_are_refused(folder):
    with pytest.raises(ValueError, match=r"pseudo-labels have shape \(3, 98, 2\), expected \(17, 98, 2\)"):
        mixture(folder).pseudo_label(np.zeros((3, 98, 2)))


def write_config(folder, tmp_path, model):
    def part(name, **options):
        return {"class_path": f"datamodules.{name}", "init_args": {**options, **SMALL}}

    config = {
        "model": {"class_path": model, "init_args": {"num_landmarks": 98}},
        "data": {
            "class_path": "datamodules.mixture.Mixture",
            "init_args": {
                "labelled": part("wflw.WFLW", root=str(folder / "WFLW"), validation_fraction=0.3),
                "unlabelled": [part("unlabeled.UnlabeledFaces", root=str(folder / "photos"))],
                "ratio": 0.5,
            },
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
    }
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(config))
    return ("--config", str(tmp_path / "mixed.yaml"), "--runs", str(tmp_path))


def test_a_method_that_needs_every_label_is_not_trained_on_a_mixture(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("fit", *write_config(folder, tmp_path, "tests.tiny.Tiny"))
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "Mixture trains on faces without labels too, of which Tiny cannot learn; set data to what "
        "data.init_args.labelled is"
    ) in said


def test_a_mixture_trains_and_tests_from_a_config(folder, tmp_path):
    words = write_config(folder, tmp_path, "tests.datamodules.test_mixture.MaskedTiny")
    trained = run("fit", *words)
    assert trained.trainer.global_step == (len(trained.datamodule.mixed.parts[0]) * 3 // 2) // 4
    assert 0 < trained.trainer.callback_metrics["train/loss"] < 100
    tested = run("test", *words)
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 1000
