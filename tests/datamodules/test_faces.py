import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.batch import LandmarkBatch
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.face_dataset import EpochSampler, FaceDataset
from datamodules.faces import Faces, split_validation
from datamodules.landmark_data import LandmarkDataModule
from datamodules.markup import WFLW_98
from datamodules.markup_file import load_markup
from tests.drawn_faces import random_face, write_csv


def faces(count, photographs=None):
    rng = np.random.default_rng(0)
    landmarks = np.stack([random_face(rng, (60, 50), 25) for _ in range(count)])
    return Faces(
        source=Path("list.txt"),
        line=np.arange(count) + 11,
        image=np.array([f"{i}.png" for i in range(count)]),
        landmarks=landmarks,
        visible=np.ones((count, 98), bool),
        box=np.concatenate([landmarks.min(axis=1) - 3, landmarks.max(axis=1) + 3], axis=1),
        subsets=np.zeros((count, 0), bool),
        photograph=np.array(photographs or [f"{i}.png" for i in range(count)]),
    )


def dataset(some, box="landmarks-1.2", normalizer="inter-ocular", size=64, image_size=(100, 120)):
    return FaceDataset(
        some, WFLW_98, normalizer, size, box, read=lambda row: np.full((*image_size, 3), 10 * row, np.uint8)
    )


@pytest.fixture
def own(tmp_path):
    data = CSVLandmarks(write_csv(tmp_path / "own", train=12), "wflw-98", size=64, num_workers=0, batch_size=4)
    data.setup("fit")
    data.setup("test")
    return data


# Faces


def test_a_face_is_the_same_one_in_any_selection_order_and_folder():
    some = faces(6, ["a.png", "a.png", "b.png", "b.png", "c.png", "d.png"])
    some = replace(some, image=some.photograph)  # two images of two faces
    known = [some.identity(row) for row in range(6)]
    assert len(set(known)) == 6
    rows = np.array([5, 3, 0])
    assert [some.select(rows).identity(row) for row in range(3)] == [known[row] for row in rows]
    for root in ("/far/away", "sets/../sets/own", "."):
        for source in ("list.txt", "other.txt"):
            moved = replace(some, source=Path(root, source), image=np.array([f"{root}/{name}" for name in some.image]))
            assert [moved.identity(row) for row in range(6)] == known
        folder = replace(some, source=Path(root), image=np.array([f"{root}/afw/{name}" for name in some.image]))
        assert folder.identity(1) == replace(some, source=Path("x"), image=np.array(["x/afw/a.png"] * 6)).identity(1)
    assert replace(some, image=np.array(["e.png"] * 6)).identity(0) != known[0]


# Batches


def test_batch_keeps_the_contract(own):
    batch = next(iter(own.train_dataloader()))
    assert batch.keys() == LandmarkBatch.__annotations__.keys()
    found = {key: (tuple(value.shape), value.dtype) for key, value in batch.items()}
    assert found == {
        "image": ((4, 3, 64, 64), torch.uint8),
        "landmarks": ((4, 98, 2), torch.float32),
        "visible": ((4, 98), torch.bool),
        "norm": ((4,), torch.float32),
        "index": ((4,), torch.int64),
        "crop": ((4, 2, 3), torch.float32),
        "subsets": ((4, 0), torch.bool),
    }


def test_norm_is_in_crop_pixels():
    """NME is the same number in crop and image pixels: both error and norm scale."""
    some = faces(3)
    for box in ("landmarks-1.2", "provided-1.2", "landmarks-1.25"):
        data = dataset(some, box)
        for row in range(3):
            for key in (row, (5, row)):
                sample = data[key]
                corners = sample["landmarks"][[60, 72]]
                assert sample["norm"].item() == pytest.approx((corners[0] - corners[1]).norm().item(), rel=1e-5)


def test_norm_of_crop_size_is_the_side_of_the_crop():
    data = dataset(faces(2), normalizer="crop-size", size=64)
    assert data[0]["norm"] == 64
    assert data[2, 1]["norm"] == 64


def test_crop_leads_predictions_back_to_the_image():
    some = faces(4)
    data = dataset(some, "provided-1.2")
    for row in range(4):
        sample = data[row]
        linear, offset = sample["crop"][:, :2], sample["crop"][:, 2]
        np.testing.assert_allclose(sample["landmarks"] @ linear.T + offset, some.landmarks[row], atol=1e-4)


def test_crop_shows_the_box_with_its_margin():
    some = faces(1)
    box = some.box[0]
    side = 1.2 * max(box[2] - box[0], box[3] - box[1])
    crop = dataset(some, "provided-1.2", size=64)[0]["crop"].numpy()
    assert crop[0, 0] == pytest.approx(side / 64)
    middle = crop @ (31.5, 31.5, 1)
    np.testing.assert_allclose(middle, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], rtol=1e-6)


def test_whole_image_is_centred_in_the_crop():
    some = faces(1)
    crop = dataset(some, "image", size=60, image_size=(100, 120))[0]["crop"].numpy()
    np.testing.assert_allclose(crop @ (-0.5, -0.5, 1), [-0.5, -10.5], atol=1e-5)  # 120 wide, so 10 black rows above
    np.testing.assert_allclose(crop @ (59.5, 59.5, 1), [119.5, 109.5], atol=1e-5)


def test_landmark_outside_the_crop_keeps_its_place_and_is_not_visible():
    some = faces(1)
    some.landmarks[0, 0] = (-500, 50)
    sample = dataset(some, "provided-1.2")[0]
    assert sample["landmarks"][0, 0] < -100
    assert sample["visible"].tolist() == [False] + [True] * 97


def test_index_is_the_row(own):
    rows = torch.cat([batch["index"] for batch in own.test_dataloader()])
    assert rows.tolist() == [0, 1, 2, 3]


# Sampling


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_sampler_gives_every_index_once_an_epoch(ranks):
    items = list(range(12))
    seen = [list(EpochSampler(items, num_replicas=ranks, rank=rank, seed=1)) for rank in range(ranks)]
    assert all(epoch == 0 for share in seen for epoch, _ in share)
    assert sorted(index for share in seen for _, index in share) == items


def test_sampler_shuffles_by_seed_and_epoch():
    def order(seed, epoch):
        sampler = EpochSampler(list(range(50)), num_replicas=1, rank=0, seed=seed)
        sampler.set_epoch(epoch)
        assert {e for e, _ in sampler} == {epoch}
        return [index for _, index in sampler]

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)
    assert order(0, 0) != list(range(50))


def test_training_leaves_out_an_incomplete_batch_unless_it_is_the_only_one(own):
    trained_on = len(own.train_dataloader().dataset)
    assert {len(batch["index"]) for batch in own.train_dataloader()} == {4}
    own.batch_size = 100
    assert [len(batch["index"]) for batch in own.train_dataloader()] == [trained_on]


def test_training_augments_and_evaluation_does_not(own):
    train = own.train_dataloader()
    clean = train.dataset
    augmented = next(iter(train))
    assert not torch.equal(augmented["image"][0], clean[int(augmented["index"][0])]["image"])
    batch = next(iter(own.val_dataloader()))
    assert torch.equal(batch["image"][0], own.val_dataloader().dataset[0]["image"])


# Validation


def test_validation_keeps_photographs_apart():
    some = faces(200, [f"photo {i // 4}" for i in range(200)])
    train, val = split_validation(some, 0.3, seed=0)
    assert len(train) + len(val) == 200
    assert not set(train.photograph) & set(val.photograph)
    assert len(set(val.photograph)) == pytest.approx(15, abs=8)
    np.testing.assert_array_equal(np.sort(np.concatenate([train.line, val.line])), some.line)


def test_validation_stays_when_faces_are_added():
    few, many = faces(60), faces(90)
    held_out = set(split_validation(few, 0.3, 0)[1].photograph)
    assert {p for p in split_validation(many, 0.3, 0)[1].photograph if p in set(few.photograph)} == held_out
    assert set(split_validation(few, 0.3, seed=1)[1].photograph) != held_out


def test_validation_needs_photographs_on_both_sides():
    with pytest.raises(ValueError, match=r"list\.txt: 1 photographs are too few to hold out 10% for validation"):
        split_validation(faces(8, ["one"] * 8), 0.1, seed=0)


def test_validation_faces_do_not_depend_on_where_the_data_lies(tmp_path):
    held_out = []
    for place in ("here", "somewhere/else"):
        data = CSVLandmarks(write_csv(tmp_path / place, train=12), "wflw-98", validation_fraction=0.3)
        data.setup("fit")
        held_out.append([Path(path).name for path in data.val_dataloader().dataset.faces.image])
    assert held_out[0] == held_out[1]


# The mean shape


@pytest.mark.parametrize("box", ["landmarks-1.2", "image"])
def test_mean_shape_is_the_mean_of_the_training_crops(tmp_path, box):
    data = CSVLandmarks(write_csv(tmp_path, train=12), "wflw-98", size=64, box=box)
    data.setup("fit")
    clean = data.train_dataloader().dataset
    expected = torch.stack([clean[row]["landmarks"] for row in range(len(clean))]).mean(dim=0)
    torch.testing.assert_close(data.mean_shape() * 64 - 0.5, expected, atol=1e-4, rtol=0)


# Workers that are started afresh get the dataset as bytes


def test_dataset_can_be_sent_to_another_process(own):
    clean = own.test_dataloader().dataset
    copy = pickle.loads(pickle.dumps(clean))
    assert torch.equal(copy[1]["image"], clean[1]["image"])


# Bad columns and options


def change(column, row, value):
    def of(some):
        values = getattr(some, column).copy()
        values[row] = value
        return replace(some, **{column: values})

    return of


BAD_FACES = {
    "none": (lambda some: some.select(np.zeros(3, bool)), "list.txt: no faces found"),
    "not a number": (
        change("landmarks", (1, 4), (np.nan, 3)),
        "list.txt: line 12: landmark 4 is (nan, 3.0), expected two finite numbers",
    ),
    "infinite": (
        change("landmarks", (2, 97), (np.inf, 3)),
        "list.txt: line 13: landmark 97 is (inf, 3.0), expected two finite numbers",
    ),
    "absurd": (
        change("landmarks", (0, 5), (3, -2e6)),
        "list.txt: line 11: landmark 5 is at (3, -2e+06), expected pixels of an image",
    ),
    "at one point": (change("landmarks", 1, (5, 5)), "list.txt: line 12: all landmarks are at one point"),
    "box without area": (
        change("box", 1, (3, 4, 3, 9)),
        "list.txt: line 12: box is (3.0, 4.0, 3.0, 9.0), expected left < right and top < bottom",
    ),
    "box upside down": (
        change("box", 1, (3, 9, 5, 4)),
        "list.txt: line 12: box is (3.0, 9.0, 5.0, 4.0), expected left",
    ),
    "half a box": (
        change("box", 1, (3, 4, np.nan, 9)),
        "list.txt: line 12: box is (3.0, 4.0, nan, 9.0), expected left",
    ),
    "absurd box": (
        change("box", 1, (3, 4, 1e30, 9)),
        "list.txt: line 12: box is (3.0, 4.0, 1e+30, 9.0), expected left",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD_FACES.values(), ids=BAD_FACES)
def test_bad_faces_are_a_sentence(spoil, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        spoil(faces(3))
    assert str(error.value).startswith(sentence)


def test_zero_normaliser_is_a_sentence():
    some = faces(3)
    some.landmarks[1, 60] = some.landmarks[1, 72]
    sentence = (
        r"list\.txt: line 12: the inter-ocular distance is 0 pixels, .* choose another data\.init_args\.normalizer"
    )
    with pytest.raises(ValueError, match=sentence):
        dataset(some)
    assert len(dataset(some, normalizer="box-size")) == 3


def test_missing_box_is_a_sentence():
    some = change("box", 2, np.nan)(faces(3))
    with pytest.raises(ValueError, match=r"list\.txt: line 13 has no box; set data\.init_args\.box to landmarks-1\.2"):
        dataset(some, "provided-1.2")
    assert len(dataset(some, "landmarks-1.2")) == 3


def test_one_landmark_has_no_box(tmp_path):
    (tmp_path / "dot.yaml").write_text("name: dot\nnum_landmarks: 1\n")
    dot = load_markup(str(tmp_path / "dot.yaml"))
    some = faces(2)
    some = replace(some, landmarks=some.landmarks[:, :1], visible=some.visible[:, :1])
    with pytest.raises(ValueError, match=r"box is 'landmarks-1\.2', but dot has one landmark, which has no size"):
        FaceDataset(some, dot, "crop-size", 64, "landmarks-1.2")
    assert len(FaceDataset(some, dot, "crop-size", 64, "provided-1.2")) == 2


@pytest.mark.parametrize(
    ("column", "value", "box", "where"),
    [
        ("landmarks", 5000.0, "landmarks-1.2", "the image"),
        ("landmarks", 5000.0, "image", "the image"),
        ("box", (300, 300, 360, 360), "provided-1.2", "the crop"),
    ],
)
def test_face_of_another_image_is_a_sentence(column, value, box, where):
    some = faces(3)
    values = getattr(some, column).copy()
    values[1] = values[1] + value if column == "landmarks" else value
    data = dataset(replace(some, **{column: values}), box)
    sentence = rf"list\.txt: line 12: no landmark lies within {where} of 1\.png \(120 x 100 pixels\); .* another image"
    for key in (1, (0, 1)):
        with pytest.raises(ValueError, match=sentence):
            data[key]


@pytest.mark.parametrize(
    ("shift", "image_size"), [((-80, 0), (100, 120)), ((400, 0), (100, 500)), ((0, 400), (500, 100))]
)
def test_face_is_kept_while_a_landmark_is_in_its_image(shift, image_size):
    some = faces(1)
    some.landmarks[0] += shift
    sample = dataset(some, image_size=image_size)[0]
    assert sample["visible"].all()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("size", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("num_workers", -1, "at least 0"),
        ("seed", -1, "at least 0"),
        ("validation_fraction", 0.0, "between 0 and 1"),
        ("validation_fraction", 1.0, "between 0 and 1"),
        ("box", "face", "one of: provided-1.0"),
        ("normalizer", "nose", "wflw-98 has: inter-ocular"),
    ],
)
def test_bad_option_is_a_sentence(tmp_path, option, value, expected):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        CSVLandmarks(tmp_path, "wflw-98", **{option: value})
    assert str(error.value).startswith(f"data.init_args.{option} is ")
    assert expected in str(error.value)


def test_missing_images_are_counted(tmp_path):
    root = write_csv(tmp_path)
    for name in ("1.png", "3.png"):
        (root / "test" / name).unlink()
    data: LandmarkDataModule = CSVLandmarks(root, "wflw-98")
    sentence = r"test\.csv: line 3 names image .*1\.png, which is not there \(2 of 4 images are missing\)"
    with pytest.raises(FileNotFoundError, match=sentence):
        data.setup("test")
