"""Maps between markups, against the rules written out; converted data; a model tested on another markup."""

import numpy as np
import pytest
import torch

from datamodules.csv_landmarks import CSVLandmarks
from datamodules.markup import IBUG_68, WFLW_98
from datamodules.markup_maps import MAPS, MarkupMap, find_map
from tests.drawn_faces import write_csv
from tests.experiment import run, write_experiment


def test_every_map_fits_its_markups_and_keeps_mirror_images():
    for (source, _), markup_map in MAPS.items():
        assert markup_map.source.name == source
        points = np.random.default_rng(0).normal(size=(markup_map.source.num_landmarks, 2))
        mirrored = (points * [-1, 1] - [1, 0])[list(markup_map.source.flip)]  # about the corner, where weights apply
        there = (markup_map.points(points) * [-1, 1] - [1, 0])[list(markup_map.target.flip)]
        np.testing.assert_allclose(markup_map.points(mirrored), there, atol=1e-12)


def test_wflw_to_ibug_is_pipnets_rule():
    points = np.random.default_rng(1).uniform(0, 256, (98, 2))
    corner = points + 0.5  # PIPNet counts from the corner
    expected = np.zeros((68, 2))
    expected[:17] = corner[:33:2]
    expected[17], expected[26] = corner[33], corner[46]
    for upper, lower, target in ((34, 41, 18), (35, 40, 19), (36, 39, 20), (37, 38, 21)):
        expected[target] = corner[upper, 0], (corner[upper, 1] + corner[lower, 1]) / 2
    for upper, lower, target in ((42, 50, 22), (43, 49, 23), (44, 48, 24), (45, 47, 25)):
        expected[target] = corner[upper, 0], (corner[upper, 1] + corner[lower, 1]) / 2
    expected[27:36] = corner[51:60]
    for first, target in ((60, 36), (68, 42)):
        eye = corner[first : first + 8]
        expected[target], expected[target + 3] = eye[0], eye[4]
        expected[target + 1] = (2 * eye[1] + eye[2]) / 3
        expected[target + 2] = (2 * eye[3] + eye[2]) / 3
        expected[target + 4] = (2 * eye[5] + eye[6]) / 3
        expected[target + 5] = (2 * eye[7] + eye[6]) / 3
    expected[48:] = corner[76:96]
    np.testing.assert_allclose(find_map("wflw-98", "ibug-68").points(points), expected - 0.5)
    literal = find_map("wflw-98", "ibug-68-pipnet").points(points) + 0.5
    np.testing.assert_allclose(literal[37], 0.666 * corner[61] + 0.333 * corner[62])
    difference = np.abs(literal - expected).max(axis=1)
    assert set(np.flatnonzero(difference > 1e-9)) == {37, 38, 40, 41, 43, 44, 46, 47}
    assert difference.max() <= 0.26  # pixels of 256


def test_a_mapped_landmark_is_visible_where_all_it_comes_from_are():
    visible = np.ones((2, 98), bool)
    visible[1, [62, 41]] = False
    seen = find_map("wflw-98", "ibug-68").visible(visible)
    assert seen[0].all()
    assert set(np.flatnonzero(~seen[1])) == {37, 38, 18}


def test_what_is_refused():
    with pytest.raises(ValueError, match="no map from wflw-98 to 'ibug' is known, expected one of: ibug-68"):
        find_map("wflw-98", "ibug")
    with pytest.raises(ValueError, match="has 1 entries, expected 68"):
        MarkupMap(WFLW_98, IBUG_68, ({0: 1.0},))
    with pytest.raises(ValueError, match="names landmark 98, expected 0 to 97"):
        MarkupMap(WFLW_98, IBUG_68, ({98: 1.0},) * 68)


def test_converted_data_has_the_targets_landmarks_and_normaliser(tmp_path):
    root = write_csv(tmp_path / "faces", train=24, test=2)
    samples = []
    for name in ("wflw-98", "ibug-68", "ibug-68-pipnet"):
        data = CSVLandmarks(root, "wflw-98", size=64, num_workers=0, convert_to=name, validation_fraction=0.3)
        data.setup("test")
        samples.append(data.test_dataloader().dataset[1])
    plain, mapped, literal = samples
    assert torch.equal(plain["image"], mapped["image"])  # the box is that of the annotated landmarks
    expected = find_map("wflw-98", "ibug-68").points(plain["landmarks"].numpy().astype(float))
    np.testing.assert_allclose(mapped["landmarks"].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(mapped["norm"], np.linalg.norm(expected[36] - expected[45]), rtol=1e-5)
    drawn = (literal["landmarks"][37] + 0.5) / (mapped["landmarks"][37] + 0.5)
    np.testing.assert_allclose(drawn, 0.999, atol=1e-4)  # to the corner of the crop, not of the image
    assert (data.num_landmarks, data.measured_on) == (68, "faces test, ibug-68")


def test_a_model_is_tested_on_a_markup_it_can_be_mapped_to(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    run("fit", "--config", "tiny.yaml")
    capsys.readouterr()
    cli = run("test", "--name", "tiny", "--data.init_args.convert_to=ibug-68")
    assert "landmarks are converted from wflw-98 to ibug-68" in capsys.readouterr().out
    dataset, module = cli.trainer.test_dataloaders.dataset, cli.model.eval()
    errors = []
    for sample in (dataset[i] for i in range(len(dataset))):
        with torch.inference_mode():
            points = module(sample["image"][None]).landmarks[0].double().numpy()
        distance = np.hypot(*(find_map("wflw-98", "ibug-68").points(points) - sample["landmarks"].numpy()).T)
        errors.append(100 * distance.mean() / float(sample["norm"]))
    assert float(cli.trainer.callback_metrics["test/nme"]) == pytest.approx(np.mean(errors), rel=1e-4)


def test_a_markup_without_a_map_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    run("fit", "--config", "tiny.yaml")
    other = write_csv(tmp_path / "others", train=24, test=4, landmarks=9)
    with pytest.raises(SystemExit):
        run("test", "--name", "tiny", "--data.init_args.markup=cat-9", f"--data.init_args.root={other}")
    assert "the model was trained on wflw-98 but CSVLandmarks is in cat-9" in capsys.readouterr().err
