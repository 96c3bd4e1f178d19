import pickle

import numpy as np
import pytest
import torch

from datamodules.crop import landmark_box
from datamodules.synthetic import SyntheticFaces, loose_boxes


def faces(split="train", **options):
    return SyntheticFaces(num_workers=0, **({"num_train": 300, "num_test": 200} | options)).load(split)


def batch(**options):
    data = SyntheticFaces(num_train=40, num_test=4, batch_size=4, num_workers=0, **options)
    data.setup("test")
    return next(iter(data.test_dataloader()))


def test_a_smaller_dataset_is_the_beginning_of_a_larger_one():
    few, many = faces(num_train=20), faces(num_train=50)
    np.testing.assert_array_equal(few.landmarks, many.landmarks[:20])
    np.testing.assert_array_equal(few.visible, many.visible[:20])


def test_training_and_test_faces_and_other_seeds_differ():
    train, test, other = faces(), faces("test"), faces(faces_seed=1)
    assert np.abs(train.landmarks[:200] - test.landmarks).max(axis=(1, 2)).min() > 1
    assert np.abs(train.landmarks - other.landmarks).max(axis=(1, 2)).min() > 1
    assert len(set(train.photograph)) == len(train)


def test_subsets_have_about_the_shares_of_wflw():
    shares = dict(zip(SyntheticFaces.subset_names, faces(num_train=4000).subsets.mean(axis=0), strict=True))
    wflw = {"pose": 326, "expression": 314, "illumination": 698, "makeup": 206, "occlusion": 736, "blur": 773}
    assert shares == pytest.approx({name: count / 2500 for name, count in wflw.items()}, abs=0.03)


def test_subsets_are_what_they_say():
    data = faces(num_train=2000)
    hidden = 1 - data.visible.mean(axis=1)
    pose, occlusion = (data.subsets[:, SyntheticFaces.subset_names.index(n)] for n in ("pose", "occlusion"))
    plain = ~pose & ~occlusion
    assert hidden[plain].mean() < 0.06
    assert hidden[occlusion].mean() > 0.15
    assert hidden[pose].mean() > 0.2


def test_provided_boxes_are_loose():
    data = faces()
    tight = landmark_box(data.landmarks)
    assert (data.box[:, :2] <= tight[:, :2]).all()
    assert (data.box[:, 2:] >= tight[:, 2:]).all()
    spare = (tight[:, 0] - data.box[:, 0]) / (tight[:, 2:] - tight[:, :2]).max(axis=1)
    assert spare.min() >= 0
    assert spare.mean() == pytest.approx(0.06, abs=0.01)
    np.testing.assert_allclose(loose_boxes(np.array([[0.0, 0, 10, 20]]), np.ones((1, 4))), [[-2.4, -2.4, 12.4, 22.4]])


def test_the_mean_shape_is_a_bad_predictor():
    data = SyntheticFaces(num_train=600, num_test=300, num_workers=0, size=128)
    data.setup("fit")
    data.setup("test")
    mean, dataset = data.mean_shape().numpy() * 128 - 0.5, data._datasets["test"]
    rows = range(0, 300, 10)
    samples = [dataset[row] for row in rows]
    error = [np.linalg.norm(s["landmarks"].numpy() - mean, axis=1).mean() / float(s["norm"]) for s in samples]
    assert np.mean(error) > 0.15


@pytest.mark.parametrize("box", ["provided-1.2", "landmarks-1.2", "image"])
def test_a_batch_keeps_the_contract(box):
    sample = batch(box=box, size=64)
    assert sample["image"].shape == (4, 3, 64, 64)
    assert sample["image"].dtype == torch.uint8
    assert sample["landmarks"].shape == (4, 98, 2)
    assert sample["subsets"].shape == (4, 6)
    assert (sample["norm"] > 3).all()
    assert sample["landmarks"].min() > -1
    assert sample["landmarks"].max() < 64
    assert sample["image"].float().std() > 15


def test_crops_are_the_same_every_time_and_in_a_worker():
    data = SyntheticFaces(num_train=40, num_test=4, num_workers=0, size=64)
    data.setup("test")
    dataset = data._datasets["test"]
    sent = pickle.loads(pickle.dumps(dataset))
    for row in range(4):
        assert torch.equal(dataset[row]["image"], sent[row]["image"])


def test_domains_differ_in_picture_and_geometry():
    photo, infrared = batch(size=64), batch(size=64, domain="infrared")
    spread = [
        (b["image"].float().max(dim=1).values - b["image"].float().min(dim=1).values).mean() for b in (photo, infrared)
    ]
    assert spread[0] > 2 * spread[1]
    assert not torch.equal(photo["landmarks"], infrared["landmarks"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_train": 0}, r"data\.init_args\.num_train is 0, expected at least 1"),
        ({"domain": "sketch"}, r"data\.init_args\.domain is 'sketch', expected one of: photo, infrared"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        SyntheticFaces(**options)
