"""Perturbations of test faces: what they do to pixels, and that every model meets the same ones."""

import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml

from datamodules.crop import transform
from datamodules.csv_landmarks import CSVLandmarks
from datamodules.perturbations import BLUR_LENGTHS, ELLIPSE_AXES, EllipseOcclusion, MotionBlur, line_kernel
from datamodules.synthetic import SyntheticFaces
from datamodules.w300vw import W300VW
from tests.drawn_faces import write_csv
from tests.drawn_videos import write_w300vw
from tests.experiment import run, write_experiment

FACE = np.array([70.0, 60, 150, 160])  # 80 x 100 pixels of a crop of 240
WHITE = np.full((240, 240, 3), 255, np.uint8)
NOWHERE = np.zeros((0, 2))


def occlusion(size, index, landmarks=NOWHERE, seed=0):
    """The share of each pixel that is black, and which landmarks are hidden."""
    perturbation = EllipseOcclusion(size, seed)
    image, hidden = perturbation(perturbation.generator(index), WHITE, FACE, landmarks, None)
    return 1 - image[..., 0] / 255, hidden


def moments(weight):
    """Sum, mean and covariance, in x and y, of an image of weights."""
    places = np.stack(np.meshgrid(*map(np.arange, weight.shape[::-1])), axis=-1).reshape(-1, 2)
    mean = np.average(places, axis=0, weights=weight.ravel())
    return weight.sum(), mean, np.cov(places.T, aweights=weight.ravel(), ddof=0)


@pytest.mark.parametrize("size", ["medium", "large"])
def test_an_occlusion_is_one_ellipse_of_its_size_over_the_face(size):
    lengths, centres = [], []
    for index in range(120):
        area, centre, covariance = moments(occlusion(size, index)[0])
        axes = 4 * np.sqrt(np.linalg.eigvalsh(covariance))  # of a uniform ellipse
        assert area == pytest.approx(np.pi / 4 * axes.prod(), rel=0.01)  # so it is an ellipse, without holes or stairs
        lengths.append(axes / 100)
        centres.append((centre - (110, 110)) / (40, 50))
    shortest, longest = ELLIPSE_AXES[size]
    assert shortest - 0.01 < np.min(lengths) < shortest + 0.04
    assert longest - 0.04 < np.max(lengths) < longest + 0.01
    assert 0.85 < np.linalg.norm(centres, axis=1).max() < 1.01  # over the face: within the ellipse in its box
    assert np.abs(np.mean(centres, axis=0)).max() < 0.1
    assert np.linalg.norm(centres, axis=1).mean() == pytest.approx(2 / 3, abs=0.06)  # evenly spread


def test_ellipses_lie_at_every_angle():
    turns = []
    for index in range(100):
        covariance = moments(occlusion("large", index)[0])[2]
        turns.append(np.linalg.eigh(covariance)[1][:, 1])  # the long axis
    angle = np.arctan2(*np.transpose(turns)) % np.pi
    assert np.histogram(angle, bins=4, range=(0, np.pi))[0].min() > 12


def test_a_landmark_is_hidden_where_its_pixel_is_black():
    pixels = np.stack(np.meshgrid(np.arange(240), np.arange(240)), axis=-1).reshape(-1, 2).astype(float)
    cover, hidden = occlusion("large", 3, pixels)
    rim = (cover > 0) & (cover < 1)
    assert np.array_equal(hidden.reshape(240, 240)[~rim], cover[~rim] == 1)
    np.testing.assert_allclose(hidden.reshape(240, 240)[rim], cover[rim], atol=0.51)
    assert 50 < rim.sum() < 800


def test_the_face_and_not_the_crop_gives_the_scale():
    small, _ = occlusion("medium", 5)
    perturbation = EllipseOcclusion("medium")
    white = np.full((480, 480, 3), 255, np.uint8)
    face = (FACE + 0.5) * 2 - 0.5
    large, _ = perturbation(perturbation.generator(5), white, face, NOWHERE, None)
    halved = (1 - large[..., 0] / 255).reshape(240, 2, 240, 2).mean(axis=(1, 3))
    assert np.abs(halved - small).max() < 0.12  # on the rim only
    assert halved.sum() == pytest.approx(small.sum(), rel=2e-3)


def blur(image, size, motion, index=0, face=FACE):
    perturbation = MotionBlur(size)
    blurred, hidden = perturbation(perturbation.generator(index), image, face, np.zeros((5, 2)), motion)
    assert not hidden.any()
    return blurred


@pytest.mark.parametrize("size", ["medium", "large"])
@pytest.mark.parametrize("motion", [(1, 0), (0, -3.0), (2, 1), (-1, 1.5), (0.01, 0.03)])
def test_a_dot_becomes_a_line_along_the_motion(size, motion):
    dot = np.zeros((240, 240, 3), np.uint8)
    dot[110:113, 118:121] = 252
    line = blur(dot, size, np.array(motion, float))[..., 0].astype(float)
    total, mean, covariance = moments(line)
    assert total == pytest.approx(9 * 252, rel=0.08)  # rounded to whole numbers
    np.testing.assert_allclose(mean, (119, 111), atol=0.2)
    spread, directions = np.linalg.eigh(covariance)
    along = np.abs(directions[:, 1] @ motion) / np.linalg.norm(motion)
    assert along > 0.999
    assert np.sqrt(12 * (spread[1] - spread[0])) == pytest.approx(BLUR_LENGTHS[size] * 100, rel=0.06)


@pytest.mark.parametrize("length", [0.0, 0.5, 3.7, 25, 61.3])
def test_a_line_kernel_is_a_mean_along_a_line(length):
    for angle in np.linspace(0, np.pi, 13):
        kernel = line_kernel(length, angle)
        total, mean, covariance = moments(kernel)
        assert kernel.min() >= 0
        assert total == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(mean, (len(kernel) - 1) / 2, atol=1e-9)
        direction = np.array([np.cos(angle), np.sin(angle)])
        expected = length**2 / 12 * np.outer(direction, direction)
        # Reading between pixels spreads by t (1 - t), at most a quarter of a square pixel along each axis.
        between = covariance - expected
        assert np.all((np.diag(between) > -1e-3 * length - 1e-9) & (np.diag(between) < 0.27 + 2e-3 * length))
        np.testing.assert_allclose(line_kernel(length, angle + np.pi), kernel, atol=1e-12)
    if length == 0:
        np.testing.assert_allclose(kernel, np.pad([[1.0]], 1))


def test_blur_keeps_brightness_and_does_not_reach_beyond_its_length():
    rng = np.random.default_rng(0)
    image = np.zeros((240, 240, 3), np.uint8)
    image[60:180, 60:180] = rng.integers(0, 256, (120, 120, 3))
    blurred = blur(image, "large", np.array([3.0, 4]))
    np.testing.assert_allclose(blurred.mean(axis=(0, 1)), image.mean(axis=(0, 1)), rtol=2e-3)
    assert not blurred[:40].any()  # the line reaches 15 pixels x 0.8 and one more
    assert blurred[50:60].any()
    assert np.array_equal(blur(WHITE, "large", None), WHITE)  # nor does the edge of the crop darken


@pytest.mark.parametrize("motion", [None, np.zeros(2)])
def test_without_motion_the_direction_is_drawn(motion):
    image = np.zeros((240, 240, 3), np.uint8)
    image[110:113, 118:121] = 252
    angles = []
    for index in range(40):
        covariance = moments(blur(image, "large", motion, index)[..., 0].astype(float))[2]
        angles.append(np.arctan2(*np.linalg.eigh(covariance)[1][:, 1]) % np.pi)
    assert np.histogram(angles, bins=3, range=(0, np.pi))[0].min() > 5


def test_only_the_direction_of_the_motion_counts():
    image = np.random.default_rng(1).integers(0, 256, (240, 240, 3), np.uint8)
    slow, fast, back = (blur(image, "medium", np.array(v)) for v in ((0.5, 0.25), (8.0, 4), (-8.0, -4)))
    assert np.array_equal(slow, fast)
    assert np.array_equal(slow, back)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EllipseOcclusion("huge"), "perturbation.init_args.size is 'huge', expected one of: medium, large"),
        (lambda: MotionBlur("small"), "perturbation.init_args.size is 'small', expected one of: medium, large"),
        (lambda: MotionBlur(seed=-1), "perturbation.init_args.seed is -1, expected at least 0"),
        (lambda: blur(WHITE, "medium", None, face=FACE[[0, 1, 0, 1]]), "all annotated landmarks of a face are at one"),
    ],
)
def test_what_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_title_names_kind_size_and_another_seed():
    assert EllipseOcclusion().title == "medium occlusion"
    assert MotionBlur("large", seed=3).title == "large motion blur (seed 3)"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("perturbed") / "faces", train=24, test=5)


def data(faces, perturbation=None, stage="test", **options):
    settings = {"size": 96, "box": "landmarks-1.2", "num_workers": 0, "validation_fraction": 0.3}
    made = CSVLandmarks(faces, "wflw-98", perturbation=perturbation, **{**settings, **options})
    made.setup(stage)
    return made


def batches(made):
    loaded = list(made.test_dataloader())
    return {key: torch.cat([batch[key] for batch in loaded]) for key in loaded[0]}


@pytest.mark.parametrize("kind", [EllipseOcclusion, MotionBlur])
def test_every_model_meets_the_same_faces(faces, kind):
    first = batches(data(faces, kind("large"), batch_size=2))
    again = batches(data(faces, kind("large"), batch_size=5, num_workers=1, seed=7, convert_to="ibug-68"))
    assert torch.equal(first["image"], again["image"])  # whatever batches, workers, seed of the data and markup
    other = batches(data(faces, kind("large", seed=1)))
    assert not torch.equal(first["image"], other["image"])


def test_a_face_is_perturbed_alike_in_any_list_order_and_place(faces, tmp_path):
    moved = tmp_path / "deeper/elsewhere"
    shutil.copytree(faces, moved)
    header, *lines = (moved / "test.csv").read_text().splitlines()
    (moved / "some.csv").write_text(f"{header}\ntest/{lines[4]}\ntest/{lines[1]}\n")
    whole = batches(data(faces, EllipseOcclusion("large")))
    some = batches(data(moved, EllipseOcclusion("large"), test="some.csv"))
    assert torch.equal(some["image"], whole["image"][[4, 1]])
    assert torch.equal(some["visible"], whole["visible"][[4, 1]])


def test_generated_faces_are_perturbed_alike_at_any_size():
    """Of a few landmarks the rim of the ellipse runs so near that rounding tells."""
    seen = []
    for size in (64, 128):
        made = SyntheticFaces(
            num_train=1, num_test=12, size=size, num_workers=0, perturbation=EllipseOcclusion("large")
        )
        made.setup("test")
        seen.append(batches(made)["visible"])
    assert (seen[0] == seen[1]).float().mean() > 0.995
    assert len(torch.unique(seen[0], dim=0)) == 12


@pytest.mark.parametrize("kind", [EllipseOcclusion, MotionBlur])
def test_landmarks_stay_and_the_hidden_are_not_visible(faces, kind):
    clean, perturbed = batches(data(faces)), batches(data(faces, kind("large")))
    for key in ("landmarks", "norm", "crop", "index"):
        assert torch.equal(clean[key], perturbed[key])
    assert not torch.equal(clean["image"], perturbed["image"])
    if kind is MotionBlur:
        assert torch.equal(clean["visible"], perturbed["visible"])
        return
    hidden = 0
    for image, points, visible in zip(perturbed["image"], perturbed["landmarks"], perturbed["visible"], strict=True):
        columns, rows = points.round().long().clamp(0, 95).T
        black = (image[:, rows, columns] == 0).all(dim=0)  # the drawing itself has no black
        assert (black & visible).sum() == 0
        hidden += int(black.sum())
    assert 0.1 < hidden / perturbed["visible"].numel() < 0.5


def test_the_ellipse_is_over_the_same_part_of_a_face_in_any_crop(faces):
    middles = []
    for options in ({}, {"box": "landmarks-1.25", "size": 160}):
        sample = data(faces, EllipseOcclusion("medium"), **options).test_dataloader().dataset[1]
        black = (sample["image"] == 0).all(dim=0).numpy().astype(float)
        affine = sample["crop"].numpy().astype(float)
        middles.append(transform(affine, moments(black)[1]))
    np.testing.assert_allclose(*middles, atol=0.3)  # pixels of the image


def test_training_and_validation_faces_stay_clean(faces):
    clean, perturbed = (data(faces, p, stage="fit") for p in (None, EllipseOcclusion("large")))
    for name in ("train", "val"):
        for key in (0, (1, 2)) if name == "train" else (0, 1):
            pair = [made._datasets[name][key]["image"] for made in (clean, perturbed)]
            assert torch.equal(*pair)


def test_frames_of_a_video_are_blurred_along_the_way_of_the_nose(tmp_path):
    points = write_w300vw(tmp_path, {"401": 5, "410": 4})["401"]
    nose = points[:, 33]
    clean, blurred = [], []
    for frames, perturbation in ((clean, None), (blurred, MotionBlur("medium"))):
        video = W300VW(tmp_path, size=96, batch_size=4, num_workers=0, perturbation=perturbation)
        video.setup("test")
        frames += [
            frame for batch in video.predict_dataloader() for frame in batch["image"].numpy().transpose(0, 2, 3, 1)
        ]
    for frame, way in enumerate(nose[[1, 2, 3, 4, 4]] - nose[[0, 0, 1, 2, 3]]):
        kernel = line_kernel(BLUR_LENGTHS["medium"] * 96 / 1.25, np.arctan2(way[1], way[0]))  # the crop is 1.25 faces
        expected = cv2.filter2D(np.ascontiguousarray(clean[frame]), -1, kernel, borderType=cv2.BORDER_REPLICATE)
        assert np.abs(expected.astype(int) - blurred[frame]).max() <= 1
    assert np.ptp(np.arctan2(*np.diff(nose, axis=0).T)) > 0.1  # the way turns


def test_the_command_line_names_the_perturbation_and_shows_it_to_every_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    config = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    config["trainer"] |= {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    images = []
    perturbed = (
        "--data.init_args.perturbation=datamodules.perturbations.EllipseOcclusion",
        "--data.init_args.perturbation.size=large",
    )
    for name, width, batch, seed in (("narrow", 4, 4, 0), ("wide", 16, 3, 5)):
        options = (f"--data.init_args.batch_size={batch}", f"--data.init_args.seed={seed}")
        run("fit", "--config", "tiny.yaml", "--name", name, f"--model.init_args.width={width}", *options)
        cli = run("test", "--name", name, *perturbed)
        images.append(torch.cat([batch["image"] for batch in cli.trainer.test_dataloaders]))
        files = {path.name for path in (tmp_path / f"runs/{name}/test").iterdir()}
        assert "faces_test_large_occlusion_landmarks-1.2.csv" in files
    assert torch.equal(*images)
    assert (images[0] == 0).all(dim=1).float().mean() > 0.05
    assert "wide on faces test, large occlusion: NME" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        run("test", "--name", "wide", *perturbed[:1], "--data.init_args.perturbation.size=huge")
    assert "huge" in capsys.readouterr().err
