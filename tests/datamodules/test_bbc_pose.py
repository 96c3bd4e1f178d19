"""BBC Pose on drawn signers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from callbacks.arguments import CONFIGS
from datamodules.bbc_pose import BBCPose
from datamodules.crop import transform
from tests.drawn_bbc import EMPTY, FIELDS, save_struct, write_bbc, write_videos
from tests.drawn_matlab import write_matlab73
from tests.experiment import run, write_experiment
from tests.one_sentence import one_sentence

VIDEOS, RESULTS = "code/bbcpose.mat", "code/results.mat"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bbc") / "BBCPose"
    return folder, *write_bbc(folder)


@pytest.fixture
def root(written, tmp_path):
    """A copy to spoil."""
    shutil.copytree(written[0], tmp_path / "BBCPose")
    return tmp_path / "BBCPose"


@pytest.mark.parametrize(
    ("split", "kind", "numbers"), [("train", "train", range(1, 11)), ("val", "test", range(11, 16))]
)
def test_faces_of_the_videos(written, split, kind, numbers):
    folder, videos, _ = written
    faces = BBCPose(folder).load(split)
    row = 0
    for number in numbers:
        for i, frame in enumerate(videos[number - 1][f"{kind}_frames"]):
            assert faces.image[row] == str(folder / str(number) / f"{frame}.jpg")
            assert faces.landmarks[row].tolist() == (videos[number - 1][f"{kind}_joints"][:, :, i].T - 1).tolist()
            row += 1
    assert len(faces) == row == {"train": 30, "val": 10}[split]
    assert faces.where(0) == str(faces.image[0])


def test_test_faces_are_those_of_the_results(written):
    folder, _, results = written
    faces = BBCPose(folder).load("test")
    assert len(faces) == 10
    for row in range(10):
        assert faces.image[row] == str(folder / str(results["video"][row]) / f"{results['frame'][row]}.jpg")
        assert faces.landmarks[row].tolist() == (results["gt"][:, :, row].T - 1).tolist()


def test_validation_is_of_its_own_videos(written):
    data = BBCPose(written[0], num_workers=0)
    data.setup("fit")
    train, val = data.train_dataloader().dataset.faces, data.val_dataloader().dataset.faces
    assert {Path(image).parts[-2] for image in train.image} == {str(i) for i in range(1, 11)}
    assert {Path(image).parts[-2] for image in val.image} == {str(i) for i in range(11, 16)}


def test_boxes_are_of_the_joints(written):
    data = BBCPose(written[0], size=128, num_workers=0)
    train, test = data.load("train"), data.load("test")
    first, last = train.landmarks[4].min(axis=0), train.landmarks[4].max(axis=0)
    assert train.box[4].tolist() == [*(first - 60), *(last + 60)]
    middle = (test.landmarks[4].min(axis=0) + test.landmarks[4].max(axis=0)) / 2
    assert test.box[4].tolist() == [*(middle - 150), *(middle + 150)]
    data.setup("test")
    sample = data.test_dataloader().dataset[4]
    corners = transform(sample["crop"].double().numpy(), np.array([(-0.5, -0.5), (127.5, 127.5)]))
    np.testing.assert_allclose(corners, [middle - 150, middle + 150], atol=1e-3)
    assert float(sample["norm"]) == 128  # percent of the crop's side


def test_joints_are_drawn_where_the_batch_says(written):
    data = BBCPose(written[0], size=128, num_workers=0)
    data.setup("fit")
    data.setup("test")
    for dataset in (data.val_dataloader().dataset, data.test_dataloader().dataset):
        for sample in dataset:
            x, y = sample["landmarks"].round().long().T
            assert sample["visible"].all()
            assert sample["image"].float().mean(dim=0)[y, x].max() < 90


def test_wrists_elbows_and_shoulders_change_sides_when_flipped(written):
    data = BBCPose(written[0])
    assert data.markup.flip == (0, 2, 1, 4, 3, 6, 5)
    assert {name: data.markup.parts[name] for name in ("wrists", "elbows", "shoulders")} == {
        "wrists": (1, 2),
        "elbows": (3, 4),
        "shoulders": (5, 6),
    }


def test_one_frame_has_joints_of_two_axes(written, root):
    """MATLAB drops a last axis of one."""
    _, videos, _ = written
    changed = [dict(video) for video in videos]
    changed[12] |= {"test_frames": np.array([100]), "test_joints": videos[12]["test_joints"][:, :, 0]}
    write_videos(root, changed)
    assert len(BBCPose(root).load("val")) == 9


def video_with(number, **fields):
    """Change fields of a video."""

    def spoil(root, videos, results):
        write_videos(root, [video | fields if i + 1 == number else video for i, video in enumerate(videos)])

    return spoil


def results_with(drop=(), **fields):
    def spoil(root, videos, results):
        content = {key: value for key, value in (results | fields).items() if key not in drop}
        save_struct(root / RESULTS, "results", content)

    return spoil


def without(file):
    def spoil(root, *_):
        shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()

    return spoil


def bytes_of(file, content):
    return lambda root, *_: (root / file).write_bytes(content)


def cut_off(root, *_):
    (root / VIDEOS).write_bytes((root / VIDEOS).read_bytes()[:-300])


def other_variable(root, *_):
    savemat(root / VIDEOS, {"pose": np.zeros(3)})


def no_struct(root, *_):
    savemat(root / VIDEOS, {"bbcpose": np.zeros((1, 92))})


def version_73(root, *_):
    write_matlab73(root / VIDEOS, {"bbcpose": np.zeros((1, 92))})


def few_videos(root, videos, results):
    write_videos(root, videos[:12])


def no_field(root, videos, results):
    kept = [name for name in FIELDS if name != "train_joints"]
    struct = np.empty((1, len(videos)), [(name, object) for name in kept])
    struct[0] = [tuple(video[name] for name in kept) for video in videos]
    save_struct(root / VIDEOS, "bbcpose", struct)


JOINTS = np.full((2, 7, 3), 50.0) + np.arange(7)[:, None]
BAD_JOINT = JOINTS.copy()
BAD_JOINT[1, 4, 2] = np.nan
FAR_JOINT = JOINTS.copy()
FAR_JOINT[0, 1, 0] = 1e6
FRAMES = np.array([7, 10, 13])
REMEDY = "set data.init_args.root to the folder that holds code/bbcpose.mat, code/results.mat and the videos 1 to 20"
BAD_FILES = {
    "root missing": ("fit", lambda root, *_: shutil.rmtree(root), f"code/bbcpose.mat not found; {REMEDY}"),
    "videos' file missing": ("fit", without(VIDEOS), f"code/bbcpose.mat not found; {REMEDY}"),
    "results missing": ("test", without(RESULTS), f"code/results.mat not found; {REMEDY}"),
    "text": ("fit", bytes_of(VIDEOS, b"404 not found" * 40), "bbcpose.mat: not a MATLAB file or damaged ("),
    "empty": ("fit", bytes_of(VIDEOS, b""), "bbcpose.mat: not a MATLAB file or damaged ("),
    "cut off": ("fit", cut_off, "bbcpose.mat: not a MATLAB file or damaged ("),
    "another variable": ("fit", other_variable, "bbcpose.mat has no variable bbcpose, only pose; get it again"),
    "no struct": ("fit", no_struct, "bbcpose has no field type, expected 20 or more videos with type, train_frames"),
    "version 7.3": ("fit", version_73, "bbcpose has no field type, expected 20 or more videos with type, train_frames"),
    "a field missing": ("fit", no_field, "bbcpose has no field train_joints, expected 20 or more videos with type"),
    "twelve videos": ("fit", few_videos, "bbcpose has 12 videos, expected 20 or more videos with type, train_frames"),
    "another type": ("fit", video_with(3, type="test"), "bbcpose.mat: video 3 is of type 'test', expected 'train'"),
    "no frames": (
        "fit",
        video_with(12, test_frames=EMPTY, test_joints=EMPTY),
        "video 12 has frames that are not one or more whole numbers from 1 on; get it again",
    ),
    "half a frame": (
        "fit",
        video_with(2, train_frames=FRAMES + 0.5),
        "video 2 has frames that are not one or more whole numbers from 1 on",
    ),
    "frame 0": ("fit", video_with(2, train_frames=FRAMES - 7), "video 2 has frames that are not one or more whole"),
    "frames of text": ("fit", video_with(2, train_frames="1.jpg"), "video 2 has frames that are not one or more whole"),
    "fewer joints than frames": (
        "fit",
        video_with(5, train_joints=JOINTS[:, :, :2]),
        "video 5 has 2 x 7 x 2 values of joints, expected 2 x 7 x 3 numbers; get it again",
    ),
    "eight joints": (
        "fit",
        video_with(5, train_joints=np.ones((2, 8, 3))),
        "video 5 has 2 x 8 x 3 values of joints, expected 2 x 7 x 3 numbers",
    ),
    "joints of text": ("fit", video_with(5, train_joints="none"), "video 5 has 1 values of joints, expected 2 x 7 x 3"),
    "a joint is NaN": (
        "fit",
        video_with(6, train_joints=BAD_JOINT),
        "6/13.jpg: landmark 4 is (53.0, nan), expected",
    ),
    "a joint far away": ("fit", video_with(6, train_joints=FAR_JOINT), "6/7.jpg: landmark 1 is at (999999, 50)"),
    "joints at one point": (
        "fit",
        video_with(6, train_joints=np.full((2, 7, 3), 9.0)),
        "6/7.jpg: all landmarks are at one point, expected a face",
    ),
    "a video missing": ("fit", without("4"), "4/7.jpg, which is not there (3 of 30 images are missing)"),
    "a frame missing": ("test", without("17/103.jpg"), "17/103.jpg, which is not there (1 of 10 images are missing)"),
    "results of another kind": (
        "test",
        lambda root, *_: savemat(root / RESULTS, {"results": np.zeros((2, 7))}),
        "results is no struct whose first fields are gt, the frames and their videos; get it again",
    ),
    "results without truth": ("test", results_with(drop=["gt"]), "results is no struct whose first fields are gt, the"),
    "results of another video": (
        "test",
        results_with(video=np.arange(11, 21)),
        "results has a frame of video 11, expected videos 16 to 20; get it again",
    ),
    "results with a video less": (
        "test",
        results_with(video=np.arange(16, 21)),
        "results has 5 videos for 10 frames, expected as many; get it again",
    ),
    "results with a joint less": (
        "test",
        results_with(gt=np.ones((2, 6, 10))),
        "results.mat: results has 2 x 6 x 10 values of joints, expected 2 x 7 x 10 numbers; get it again",
    ),
}


@pytest.mark.parametrize(("stage", "spoil", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_a_sentence_at_start(written, root, stage, spoil, sentence):
    spoil(root, *written[1:])
    with one_sentence(sentence, root):
        BBCPose(root).setup(stage)


def test_command_line(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    options = {"root": written[0], "size": 32, "batch_size": 4, "num_workers": 0}
    words = ["--config", "tiny.yaml", "--config", str(CONFIGS / "data/bbc_pose.yaml"), "--name=bbc"]
    words += [f"--data.init_args.{key}={value}" for key, value in options.items()]
    run("fit", *words, "--model.init_args.num_landmarks=7")
    tested = run("test", *words, "--model.init_args.num_landmarks=7")
    assert 0 < tested.trainer.callback_metrics["test/nme"] < 100
    assert Path("runs/bbc/test/bbc_pose_provided-1.0.csv").is_file()
    within = json.loads(Path("runs/bbc/test/bbc_pose_provided-1.0.json").read_text())["within"]
    strict, loose = within["12 pixels of the image"], within["6/128 of the crop's side"]
    assert all(0 <= a <= b <= 100 for a, b in zip(strict, loose, strict=True))
    assert len(strict) == 7
    printed = capsys.readouterr().out
    for title, shares in within.items():
        assert f"{sum(shares) / 7:.2f} % of landmarks within {title}" in printed
    assert json.loads(Path("runs/bbc/fit.json").read_text())["validation"] == "the published validation faces"
