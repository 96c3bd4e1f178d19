from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.face_dataset import EpochSampler, FaceDataset
from datamodules.faces import Faces
from datamodules.markup import CAT_9
from datamodules.transforms import Augmentation
from tests.drawn_faces import cat_face
from tests.image_pixels import landmarks_in_image

OFF = {"rotation_p": 0, "translation_p": 0, "flip_p": 0, "occluder_p": 0, "blur_p": 0, "grey_p": 0}
ONLY_GEOMETRY = {"occluder_p": 0, "blur_p": 0, "grey_p": 0}
COLOURS = 55 + 25 * np.arange(9)  # of the dot at each landmark


def dotted_cat():
    """An image with a dot at each landmark, whose colour tells which landmark it is."""
    landmarks = cat_face() * 60 + (107.3, 98.6)
    y, x = np.mgrid[:200, :220]
    grey = np.zeros((200, 220))
    for colour, (px, py) in zip(COLOURS, landmarks, strict=True):
        grey += colour * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.0**2))
    return np.repeat(grey.round()[..., None], 3, axis=-1).astype(np.uint8), landmarks


def cats(count, **augmentation):
    image, landmarks = dotted_cat()
    faces = Faces(
        source=Path("drawn"),
        line=np.arange(count) + 1,
        image=np.array([f"{i}.png" for i in range(count)]),
        landmarks=np.stack([landmarks] * count),
        visible=np.ones((count, 9), bool),
        box=np.full((count, 4), np.nan),
        subsets=np.zeros((count, 0), bool),
        photograph=np.array([str(i) for i in range(count)]),
    )
    return FaceDataset(
        faces,
        CAT_9,
        "inter-ocular",
        128,
        "landmarks-1.25",
        augmentation=Augmentation(**augmentation),
        seed=3,
        read=lambda row: image,
    )


def dot_near(image, point):
    """Centroid and peak of the dot about this place."""
    left, top = np.round(point).astype(int) - 6
    patch = image[0, top : top + 13, left : left + 13].numpy().astype(float)
    y, x = np.mgrid[top : top + 13, left : left + 13]
    return np.array([(patch * x).sum(), (patch * y).sum()]) / patch.sum(), patch.max()


def turned(affine):
    """Angle in degrees, side lengths and mirroring of an affine."""
    linear = affine[:, :2]
    mirrored = np.linalg.det(linear) < 0
    if mirrored:
        linear = linear @ np.diag([-1, 1])
    return np.rad2deg(np.arctan2(linear[1, 0], linear[0, 0])), np.sqrt(abs(np.linalg.det(linear))), mirrored


def test_image_and_landmarks_move_together():
    dataset = cats(20, **ONLY_GEOMETRY, scale=0.25)
    checked = {True: 0, False: 0}
    for row in range(20):
        sample = dataset[4, row]
        _, _, mirrored = turned(sample["crop"].numpy())
        for landmark, point in enumerate(sample["landmarks"].numpy()):
            if point.min() < 8 or point.max() > 119:
                continue
            centroid, peak = dot_near(sample["image"], point)
            np.testing.assert_allclose(centroid, point, atol=0.15)
            assert peak == pytest.approx(COLOURS[CAT_9.flip[landmark] if mirrored else landmark], rel=0.12)
            checked[bool(mirrored)] += 1
    assert min(checked.values()) > 30


def test_the_affine_of_an_augmented_crop_leads_back_to_the_image():
    dataset = cats(20, **ONLY_GEOMETRY)
    truth = dotted_cat()[1]
    for row in range(20):
        sample = dataset[0, row]
        mirrored = turned(sample["crop"].numpy())[2]
        found = landmarks_in_image(sample)
        np.testing.assert_allclose(found, truth[list(CAT_9.flip)] if mirrored else truth, atol=1e-3)


def test_flip_by_hand():
    plain, mirrored = cats(1, **OFF)[0], cats(1, **(OFF | {"flip_p": 1}))[0, 0]
    assert torch.equal(mirrored["image"], plain["image"].flip(-1))
    expected = plain["landmarks"][list(CAT_9.flip)]
    expected[:, 0] = 127 - expected[:, 0]
    torch.testing.assert_close(mirrored["landmarks"], expected)
    assert mirrored["norm"] == plain["norm"]


def test_visibility_is_mirrored_too():
    dataset = cats(1, **(OFF | {"flip_p": 1}))
    dataset.faces.visible[0, 4] = False  # tip of the left ear
    assert (~dataset[0, 0]["visible"]).nonzero().flatten().tolist() == [7]


def test_all_off_is_the_clean_crop():
    dataset = cats(1, **OFF)
    clean, augmented = dataset[0], dataset[5, 0]
    assert all(torch.equal(clean[key], augmented[key]) for key in clean)


def test_a_sample_depends_on_seed_epoch_and_index_alone():
    dataset = cats(4)
    again = cats(4)
    again[0, 3], again[9, 1]  # other draws in between
    assert torch.equal(dataset[2, 1]["image"], again[2, 1]["image"])
    others = [dataset[3, 1], dataset[2, 0]]
    again.seed += 1
    for other in [*others, again[2, 1]]:
        assert not torch.equal(dataset[2, 1]["image"], other["image"])


def test_a_sample_does_not_depend_on_the_worker():
    batches = {}
    for workers in (0, 1, 2):
        dataset = cats(8, colour=0.3, colour_p=1.0)
        sampler = EpochSampler(dataset, num_replicas=1, rank=0, seed=0)
        sampler.set_epoch(3)
        loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers)
        batches[workers] = [torch.cat(column) for column in zip(*(batch.values() for batch in loader), strict=True)]
    assert len(batches[0][0]) == 8
    for workers in (1, 2):
        assert all(torch.equal(a, b) for a, b in zip(batches[0], batches[workers], strict=True))


def test_ranges_and_shares_of_the_geometry():
    augmentation = Augmentation(rotation=20, rotation_p=0.6, scale=0.2, translation=0.1, translation_p=0.3, flip_p=0.25)
    rng = np.random.default_rng(0)
    drawn = [augmentation.geometry(rng, 100) for _ in range(2000)]
    assert all(turned(affine)[2] == flipped for affine, flipped in drawn)
    angle, pixel, mirrored = np.array([turned(affine) for affine, _ in drawn]).T
    assert 19 < np.abs(angle).max() <= 20 + 1e-9
    assert (np.abs(angle) > 1e-9).mean() == pytest.approx(0.6, abs=0.04)
    assert abs(angle.mean()) < 0.6
    zoom = 1 / pixel
    assert 0.8 <= zoom.min() < 0.82
    assert 1.18 < zoom.max() <= 1.2
    assert mirrored.mean() == pytest.approx(0.25, abs=0.04)
    # The clean crop's centre (49.5, 49.5) moves by the shift; a mirrored one by the shift with x reversed.
    moved = np.array([np.linalg.solve(affine[:, :2], 49.5 - affine[:, 2]) - 49.5 for affine, _ in drawn])
    assert 9.5 < np.abs(moved).max() <= 10 + 1e-9
    assert (np.abs(moved) > 1e-9).any(axis=1).mean() == pytest.approx(0.3, abs=0.04)


def test_occluder_hides_the_landmarks_under_it():
    """The changed pixels of a uniform image are the occluder; a landmark on one of them is not visible."""
    augmentation = Augmentation(**(OFF | {"occluder_p": 1, "occluder": 0.4}))
    rng = np.random.default_rng(1)
    landmarks = rng.uniform(-0.49, 99.49, (400, 2))
    image = np.full((100, 100, 3), 77, np.uint8)
    sides, hidden = [], 0
    for _ in range(60):
        drawn, visible = augmentation.appearance(rng, image, landmarks, np.ones(400, bool))
        covered = (drawn != 77).any(axis=-1)
        x, y = np.floor(landmarks + 0.5).astype(int).T
        np.testing.assert_array_equal(visible, ~covered[y, x])
        sides += [covered.any(axis=0).sum(), covered.any(axis=1).sum()]
        hidden += (~visible).sum()
    assert hidden > 400
    assert 30 < max(sides) <= 41
    assert (image == 77).all()  # the original is left alone


def test_occluder_does_not_reveal_what_was_hidden():
    augmentation = Augmentation(**(OFF | {"occluder_p": 1}))
    hidden = np.zeros(9, bool)
    _, visible = augmentation.appearance(
        np.random.default_rng(0), np.zeros((64, 64, 3), np.uint8), np.zeros((9, 2)), hidden
    )
    assert not visible.any()


def test_blur_spreads_a_point_without_moving_it():
    augmentation = Augmentation(**(OFF | {"blur_p": 1, "blur": 0.05}))
    rng = np.random.default_rng(0)
    image = np.zeros((81, 81, 3), np.uint8)
    image[36:45, 36:45] = 255  # centre (40, 40), variance (81 - 1) / 12 along each axis
    y, x = np.mgrid[:81, :81]
    sigmas = []
    for _ in range(40):
        weight = augmentation.appearance(rng, image, np.zeros((1, 2)), np.ones(1, bool))[0][..., 0].astype(float)
        weight /= weight.sum()
        assert (weight * x).sum() == pytest.approx(40, abs=0.02)
        assert (weight * y).sum() == pytest.approx(40, abs=0.02)
        sigmas.append(np.sqrt(max(0, (weight * (x - 40) ** 2).sum() - 80 / 12)))
    assert 3.2 < max(sigmas) < 81 * 0.05 + 0.1
    assert min(sigmas) < 1


def test_grey_has_equal_channels_and_colour_has_not():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    grey, _ = Augmentation(**(OFF | {"grey_p": 1})).appearance(
        np.random.default_rng(0), image, np.zeros((1, 2)), np.ones(1, bool)
    )
    assert (grey == grey[..., :1]).all()
    assert grey.std() > 10
    colour, _ = Augmentation(**(OFF | {"colour": 0.4, "colour_p": 1})).appearance(
        np.random.default_rng(0), image, np.zeros((1, 2)), np.ones(1, bool)
    )
    assert not np.array_equal(colour, image)
    assert not (colour == colour[..., :1]).all()


def test_whether_a_face_is_blurred_does_not_decide_whether_it_is_grey():
    """One seed for all of the library's changes would make every grey face a blurred one too."""
    augmentation = Augmentation(**(OFF | {"blur": 1, "blur_p": 0.5, "grey_p": 0.5}))
    red = np.zeros((32, 32, 3), np.uint8)
    red[::2, ::2, 0] = 255  # 76 where it is grey, and anything where it is blurred
    rng, found = np.random.default_rng(1), []
    for _ in range(600):
        image, _ = augmentation.appearance(rng, red, np.zeros((1, 2)), np.ones(1, bool))
        found.append(((image == image[..., :1]).all(), not {0, 76, 255}.issuperset(np.unique(image))))
    shares = [found.count((grey, blurred)) / 600 for grey in (True, False) for blurred in (True, False)]
    np.testing.assert_allclose(shares, 0.25, atol=0.07)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("rotation_p", 1.5, "a share from 0 to 1"),
        ("flip_p", -0.1, "a share from 0 to 1"),
        ("rotation", -10, "a number of at least 0"),
        ("scale", 1.0, "a number of at least 0 (scale: below 1)"),
        ("blur", float("nan"), "a number of at least 0"),
        ("translation", float("inf"), "a number of at least 0"),
    ],
)
def test_bad_option_is_a_sentence(option, value, expected):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        Augmentation(**{option: value})
    assert str(error.value).startswith(f"data.init_args.augmentation.{option} is {value}, expected {expected}")
