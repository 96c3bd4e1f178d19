"""The command line: what it finds, and what it says of a mistake."""

import subprocess
import sys

import pytest
import yaml

from callbacks.arguments import CONFIGS, Arguments, UsageError, find_config, group_options
from cli import main
from tests.experiment import ROOT, output_of, run, start, write_experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    write_experiment(folder)
    (folder / "broken.yaml").write_text("trainer: {max_epochs: 3\n")
    (folder / "word.yaml").write_text("hello\n")
    (folder / "key.yaml").write_text("trainer: {max_epoch: 3}\n")
    (folder / "root_key.yaml").write_text("modle: {init_args: {lr: 3}}\n")
    (folder / "model_key.yaml").write_text("model: {init_args: {widht: 3}}\n")
    (folder / "value.yaml").write_text("trainer: {max_epochs: many}\n")
    csv_class = "datamodules.csv_landmarks.CSVLandmarks"
    (folder / "faces.yaml").write_text(
        f"class_path: {csv_class}\ninit_args: {{root: faces, markup: wflw-98, sice: 3}}\n"
    )
    (folder / "part.yaml").write_text("data: {init_args: {size: 16}}\n")
    (folder / "class.yaml").write_text("model: {class_path: tests.tiny.Tinny}\n")
    (folder / "module.yaml").write_text("data: {class_path: datamodule.wflw.WFLW}\n")
    generated = {"class_path": "datamodules.synthetic.SyntheticFaces"}
    mixture = {"class_path": "datamodules.mixture.Mixture"}
    mixture["init_args"] = {"labelled": generated, "unlabelled": [generated]}
    learner = {"class_path": "lightning_modules.pipnet.SelfTraining", "init_args": {"num_landmarks": 98}}
    (folder / "mixture.yaml").write_text(yaml.safe_dump({"model": learner, "data": mixture}))
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "a", "patiens": 1}}
    (folder / "kept" / "wide_first").mkdir(parents=True)
    (folder / "kept" / "wide_first" / "config.yaml").write_text("model: {class_path: tests.tiny.Tiny}\n")
    (folder / "callback.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [stopping]}}))
    return folder


MISTAKES = {
    "fot --config tiny.yaml": ["'fot' is not one of fit", "did you mean fit?"],
    "prepar wflw": ["'prepar' is not one of fit", "submit, dashboard, profile; did you mean prepare?"],
    "inspekt --config tiny.yaml": ["did you mean inspect?"],
    "fit": ["fit needs --config NAME", "ldeq_wflw.yaml"],
    "test --name nothing": ["there is no run runs/nothing", "needs --config"],
    "test --runs kept --name wide_frist": ["there is no run kept/wide_frist", "did you mean --name wide_first?"],
    "fit --config tiny.yaml --name new --resume": ["there is no run runs/new to resume", "with --resume auto"],
    "fit --runs kept --name wide_frist --resume": ["no run kept/wide_frist to", "did you mean --name wide_first?"],
    "fit --resume tiny": ["--resume tiny: --resume takes no value, or auto; --name says which run"],
    "fit --config tiny.yaml --resume=yes": ["--resume=yes: --resume takes no value, or auto"],
    "fit --config": ["--config takes one value"],
    "fit --config ldeq_wflv": ["--config ldeq_wflv", "did you mean ldeq_wflw.yaml?"],
    "fit --config overlays/wamdb": ["did you mean overlays/wandb.yaml?"],
    "fit --config broken.yaml": ["broken.yaml: line 2", "not readable as YAML"],
    "fit --config word.yaml": ["word.yaml", "expected keys", "'hello'"],
    "fit --config tiny.yaml --name a/b": ["--name is 'a/b'", "expected a folder name"],
    "test --config tiny.yaml --resume": ["--resume is for fit"],
    "fit --config tiny.yaml --resume --ckpt_path x.ckpt": ["--resume", "not from --ckpt_path"],
    "fit --config tiny.yaml --resum": ["no option 'resum'", "did you mean --resume?"],
    "fit --config tiny.yaml --trainer.max_epoch 10": ["no option 'trainer.max_epoch'", "mean --trainer.max_epochs?"],
    "fit --config tiny.yaml --trainer.max_epoch=10": ["no option 'trainer.max_epoch'", "mean --trainer.max_epochs?"],
    "fit --config tiny.yaml --model.widt=1": ["tests.tiny.Tiny has no option 'widt'", "--model.init_args.width?"],
    "fit --config tiny.yaml --data.init_args.augmentation.flip 0": ["no option 'flip'", "flip_p?"],
    "fit --config mixture.yaml --data.init_args.batch_size 4": [
        "datamodules.mixture.Mixture has no option 'batch_size'; did you mean "
        "--data.init_args.labelled.init_args.batch_size?",
    ],
    "fit --config mixture.yaml --model.init_args.tasks 32": ["tasks is '32', expected a list such as [1, 2]"],
    "fit --config tiny.yaml --data.init_args.batch_size ten": ["error: data.init_args.batch_size is 'ten'", "int"],
    "fit --config tiny.yaml --trainer.precision 31": ["trainer.precision is '31', expected 64, 32, 16 or"],
    "fit --config tiny.yaml --model.init_args.num_landmarks=null": ["model.init_args.num_landmarks is missing"],
    "fit --config tiny.yaml --config key.yaml": ["key.yaml: there is no option 'trainer.max_epoch'", "max_epochs?"],
    "fit --config tiny.yaml --config root_key.yaml": ["root_key.yaml: there is no option 'modle", "mean --model?"],
    "fit --config tiny.yaml --config model_key.yaml": ["model_key.yaml: tests.tiny.Tiny has no", "init_args.width?"],
    "fit --config tiny.yaml --config value.yaml": ["value.yaml: trainer.max_epochs is 'many', expected int or null"],
    "fit --config tiny.yaml --config class.yaml": [
        "class.yaml: model.class_path is 'tests.tiny.Tinny', but tests.tiny has no such class, only Tiny",
    ],
    "fit --config tiny.yaml --data.init_args.perturbation Blur": [
        "error: data.init_args.perturbation is 'Blur', expected EllipseOcclusion or MotionBlur",
    ],
    "fit --config tiny.yaml --data.init_args.perturbation datamodules.perturbations.Blur": [
        "error: data.init_args.perturbation.class_path is 'datamodules.perturbations.Blur', but "
        "datamodules.perturbations has no such class, only EllipseOcclusion, MotionBlur",
    ],
    "fit --config tiny.yaml --data.init_args.perturbation.class_path datamodules.perturbations.Blur": [
        "error: data.init_args.perturbation.class_path is 'datamodules.perturbations.Blur', but ",
    ],
    "fit --config tiny.yaml --model lightning_modules.pipnet.PIPNat": ["only CoordNet, DANN, MapNet, PIPNet, Self"],
    "fit --config tiny.yaml --model Tinny": ["error: model is 'Tinny', expected the import path of a class"],
    "fit --config tiny.yaml --data datamodule.wflw.WFLW": [
        "error: data.class_path is 'datamodule.wflw.WFLW', which cannot be imported: No module named 'datamodule'",
    ],
    "fit --config tiny.yaml --config module.yaml": ["module.yaml: data.class_path", "No module named 'datamodule'"],
    "fit --config tiny.yaml --config callback.yaml": [
        "callback.yaml",
        "EarlyStopping has no option 'patiens'",
        "patience",
    ],
    "fit --config tiny.yaml --config faces.yaml": [
        "faces.yaml: datamodules.csv",
        "no option 'sice'",
        "init_args.size?",
    ],
    "fit --config part.yaml --config tiny.yaml": ["part.yaml sets options of data", "no data.class_path is known yet"],
    "fit --config ldeq_small.yaml": ["ldeq_small.yaml sets options of model", "--config NAME --config ldeq_small.yaml"],
    "fit --config tiny.yaml --trainer.precision bf17": ["trainer.precision is 'bf17', expected"],
    "fit --config tiny.yaml --trainer.gradient_clip_val -1": ["trainer.gradient_clip_val is -1, expected at least 0"],
    "fit --config tiny.yaml --trainer.accumulate_grad_batches 0": ["trainer.accumulate_grad_batches is 0, expected"],
    "fit --config tiny.yaml --trainer.check_val_every_n_epoch 0": ["trainer.check_val_every_n_epoch is 0, expected"],
    "fit --config tiny.yaml --trainer.log_every_n_steps -1": ["trainer.log_every_n_steps is -1, expected"],
    "fit --config tiny.yaml --trainer.val_check_interval 0": ["trainer.val_check_interval is 0, expected more than 0"],
    "fit --config value.yaml": ["value.yaml: trainer.max_epochs is 'many'"],
    "test --config tiny.yaml --name new": [
        "run new has no checkpoint runs/new/checkpoints/best.ckpt; train it first with: python cli.py fit --config "
        "CONFIG --name new, or give another --name or --ckpt_path",
    ],
    "test --config tiny.yaml": ["train it first with: python cli.py fit --config tiny.yaml, or give"],
    "test --config tiny.yaml --runs other": ["with: python cli.py fit --config tiny.yaml --runs other, or give"],
    "test --config tiny.yaml --name demo": ["train it first with: python cli.py fit --config demo.yaml, or give"],
    "test --config tiny.yaml --ckpt_path no.ckpt": ["--ckpt_path no.ckpt: no such file"],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_sentence(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        main(command.split())
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [words for words in MISTAKES[command] if words not in error] == [], error


WRONG_VALUES = {
    "--model.init_args.num_landmarks=0": "model.init_args.num_landmarks is 0, expected at least 1",
    "--model.init_args.num_landmarks=68": "set model.init_args.num_landmarks to 98",
    "--data.init_args.root=/nowhere": "/nowhere",
    "--data.init_args.augmentation.flip_p=2": "data.init_args.augmentation.flip_p is 2.0",
    "--trainer.gradient_clip_algorithm=mean": "gradient_clip_algorithm",
    "--trainer.accelerator=cpuu": "trainer: You selected an invalid accelerator name: `accelerator='cpuu'`",
    "--trainer.strategy=dpp": "strategy='dpp'",
    "--trainer.devices=0": "devices",
    "--trainer.devices=many": "trainer: `devices` selected with `CPUAccelerator` should be an int > 0",
    "--trainer.num_nodes=0": "`num_nodes` must be a positive integer, but got 0",
    "--trainer.max_epochs=-3": "`max_epochs` must be a non-negative integer or -1. You passed in -3",
}


@pytest.mark.parametrize("option", WRONG_VALUES)
def test_what_this_project_or_lightning_refuses_is_one_sentence(option, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        run("fit", "--config", "tiny.yaml", option)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert end.value.code == 1
    assert len(errors) == 1
    assert WRONG_VALUES[option] in errors[0]
    assert not (folder / "runs").exists()  # a mistake leaves nothing behind that has to be resumed or deleted


def test_nothing_is_printed_above_a_mistake_in_the_data(folder, monkeypatch):
    monkeypatch.chdir(folder)
    wrong = ("--data.init_args.root=/nowhere", "--trainer.precision=bf16-mixed")
    process = start("fit", "--config", "tiny.yaml", *wrong, PYTHONPATH=str(ROOT))
    output = output_of(process)
    assert output.startswith("error: /nowhere/train.csv not found")
    assert (process.returncode, output.count("\n")) == (1, 1)


def test_a_broken_image_in_a_worker_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    for image in (tmp_path / "faces" / "train").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(SystemExit) as end:
        run("fit", "--config", "tiny.yaml", "--data.init_args.num_workers=1")
    error = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 1
    assert error.startswith("error: ")
    assert ".png" in error
    assert "Traceback" not in error


def test_a_fault_of_the_program_keeps_its_traceback(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tests.tiny.Tiny.training_step", lambda self, batch, batch_idx: {}["loss"])
    with pytest.raises(KeyError, match="loss"):
        run("fit", "--config", "tiny.yaml", "--name", "fault", "--trainer.fast_dev_run=true")


def test_the_environment_can_ask_for_the_traceback(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LANDMARKS_TRACEBACK", "1")
    with pytest.raises(UsageError, match="did you mean"):
        main(["fit", "--config", "tiny.yaml", "--resum"])


FAST = [
    "prepare",
    "prepare wflw",
    "prepare wflv",
    "inspect --help",
    "inspect --config nothing",
    "report --help",
    "oracle --help",
    "dashboard --help",
    "dashboard two projects",
]


@pytest.mark.parametrize("words", ["", "--help", "fot", "fit", "fit --config nothing", *FAST])
def test_help_and_first_mistakes_import_nothing_slow(words):
    script = f"""
import runpy, sys
sys.argv = ["cli.py", *{words.split()}]
try:
    runpy.run_path({str(ROOT / "cli.py")!r}, run_name="__main__")
except SystemExit:
    print(sorted({{"torch", "lightning", "numpy", "jsonargparse"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_usage_names_subcommands_and_configs(capsys):
    with pytest.raises(SystemExit) as end:
        Arguments.read([])
    usage = capsys.readouterr().out
    assert end.value.code == 0
    assert all(word in usage for word in ("fit", "validate", "test", "predict", "--resume", "ldeq_wflw.yaml"))
    assert all(
        f"\n  {command}" in usage and f"cli.py {command}" in usage
        for command in ("prepare", "inspect", "report", "oracle", "submit", "dashboard")
    )


@pytest.mark.parametrize("words", ["fit --help", "fit --model.help lightning_modules.ldeq.LDEQ"])
def test_the_full_parser_lists_options(words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        main(words.split())
    printed = capsys.readouterr()
    assert (end.value.code, printed.err) == (0, "")
    assert ("--trainer.max_epochs" if words == "fit --help" else "--model.evaluation_iterations") in printed.out


def test_a_config_is_found_as_given_then_in_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("ldeq_wflw") == find_config("ldeq_wflw.yaml") == CONFIGS / "ldeq_wflw.yaml"
    assert find_config("wandb") == find_config("overlays/wandb.yaml") == CONFIGS / "overlays" / "wandb.yaml"
    own = tmp_path / "ldeq_wflw.yaml"
    own.write_text("name: mine\n")
    assert find_config("ldeq_wflw.yaml") == own


def test_a_name_is_given_or_of_the_last_config_that_has_one_or_the_first_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.yaml").write_text("model: {}\n")
    (tmp_path / "second.yaml").write_text("name: named\n")
    assert Arguments.read(["fit", "--config", "first.yaml"]).name == "first"
    assert Arguments.read(["fit", "--config", "first.yaml", "--config=second.yaml"]).name == "named"
    assert Arguments.read(["fit", "-c", "second.yaml", "--name", "given"]).name == "given"


def test_negative_numbers_are_values():
    words = ["--a", "-1", "--b=2", "--c", "-.5", "-2e3", "--resume"]
    assert group_options(words) == [("--a", "-1"), ("--b=2",), ("--c", "-.5", "-2e3"), ("--resume",)]


def test_options_win_over_configs_wherever_they_stand_and_overlays_compose(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "overlay.yaml").write_text("model: {init_args: {width: 5, lr: 3.0}}\n")
    words = ["fit", "--model.init_args.lr=2", "--config", "tiny.yaml", "--config", "overlay.yaml"]
    cli = main([*words, "--trainer.fast_dev_run=true"])
    assert type(cli.model).__name__ == "Tiny"  # the class that the overlay does not name again
    assert dict(cli.model.hparams)["width"] == 5
    assert dict(cli.model.hparams)["lr"] == 2


def test_a_callback_list_leaves_what_is_pinned(folder, monkeypatch):
    monkeypatch.chdir(folder)
    stopping = "{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: {monitor: val/nme}}"
    (folder / "stop.yaml").write_text(f"trainer: {{callbacks: [{stopping}]}}\n")
    averaging = "{class_path: lightning.pytorch.callbacks.EMAWeightAveraging}"
    (folder / "average.yaml").write_text(f"trainer: {{callbacks+: [{averaging}]}}\n")
    cli = main(
        [
            "fit",
            "--config",
            "tiny.yaml",
            "--config",
            "stop.yaml",
            "--config",
            "average.yaml",
            "--trainer.fast_dev_run=true",
        ]
    )
    names = {type(callback).__name__ for callback in cli.trainer.callbacks}
    pinned = {"RunRecord", "StopOnDivergence", "ChangedOptions", "LearningRateMonitor", "BestAndLast"}
    assert names >= {"EarlyStopping", "EMAWeightAveraging", *pinned}
    assert not (folder / "runs" / "tiny").exists()  # a fast_dev_run writes nothing


@pytest.mark.parametrize(
    ("order", "size", "batch_size"),
    [
        (["other_faces.yaml"], 64, 3),
        (["other_faces.yaml", "part.yaml"], 16, 3),
        (["part.yaml", "other_faces.yaml"], 64, 3),
        (["part.yaml"], 16, 4),
    ],
)
def test_later_configs_win_also_over_a_file_of_one_class(order, size, batch_size, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    data = yaml.safe_load((folder / "tiny.yaml").read_text())["data"]
    data["init_args"] |= {"batch_size": 3, "size": 64}
    (folder / "other_faces.yaml").write_text(yaml.safe_dump(data))
    words = [word for name in ["tiny.yaml", *order] for word in ("--config", name)]
    with pytest.raises(SystemExit):
        main(["fit", *words, "--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert (settings["size"], settings["batch_size"]) == (size, batch_size)


def test_an_overlay_alone_is_laid_over_the_config_of_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    own = tmp_path / "runs" / "mine" / "config.yaml"
    own.write_text("model: {class_path: tests.tiny.Tiny}\n")
    (tmp_path / "wider.yaml").write_text("model: {init_args: {width: 5}}\n")
    read = Arguments.read(["fit", "--name", "mine", "--resume", "--config", "wider.yaml"])
    assert read.configs == (own, tmp_path / "wider.yaml")


def test_a_file_of_one_class_is_the_data(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    data = yaml.safe_load((folder / "tiny.yaml").read_text())["data"]
    data["init_args"]["batch_size"] = 3
    (folder / "other_faces.yaml").write_text(yaml.safe_dump(data))
    cli = main(["fit", "--config", "tiny.yaml", "--config", "other_faces.yaml", "--trainer.fast_dev_run=true"])
    assert cli.datamodule.batch_size == 3
