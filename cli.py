"""Train, measure and use landmark detectors: ``python cli.py --help``."""

import sys
from collections.abc import Sequence
from typing import Any

from callbacks.arguments import Arguments
from callbacks.commands import run_other_command
from callbacks.sentences import one_sentence
from callbacks.signals import stop_on_signals

if __name__ == "__main__":
    stop_on_signals()
    with one_sentence():  # help, most mistakes and other commands are answered here: the imports below take seconds
        run_other_command(sys.argv[1:])
        Arguments.read(sys.argv[1:])

import yaml
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from callbacks.metrics_csv import MetricsCSV
from callbacks.option_mistakes import FullNames, check_trainer, parse
from callbacks.options import add_options
from callbacks.pinned import pinned_callbacks, plugins
from callbacks.quiet import silence
from callbacks.run_folder import RunFolder, name_changes, name_training_changes
from callbacks.slurm.job import job_size
from callbacks.weights_and_biases import wandb_logger


class LandmarkCLI(LightningCLI):
    """Lightning's command line with a folder for each run, `RunFolder`."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments, self.run = arguments, RunFolder(arguments.folder)
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            parser_class=FullNames,
            parser_kwargs={"exit_on_error": False},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, less the option to load a checkpoint that could run code."""
        return {name: {*skip, "weights_only"} for name, skip in LightningCLI.subcommands().items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options that are not Lightning's."""
        add_options(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say in a sentence what is wrong."""
        self.config = parse(parser, self.arguments.words(), self.arguments, self._parser(self.arguments.subcommand))

    def _parse_ckpt_path(self) -> None:
        """Find the checkpoint, and name what differs from it. Lightning's own lets the checkpoint win in silence."""
        fitting, options = self.arguments.subcommand == "fit", self.config[self.arguments.subcommand]
        checkpoint = self.run.weights(options.ckpt_path) if options.ckpt_path or not fitting else None
        if fitting and not options.trainer.fast_dev_run and (last := self.run.start(self.arguments.resume)):
            checkpoint = last
            name_changes(last, self.run.settings(), self._settings())
        elif checkpoint:
            name_training_changes(checkpoint, self._settings())
        options.ckpt_path = checkpoint and str(checkpoint)

    def _settings(self) -> dict[str, Any]:
        """The config as resolved, less what only says how this process was started."""
        config = self.config[self.arguments.subcommand].clone()
        for key in ("config", "resume", "runs", "ckpt_path"):
            config.pop(key, None)
        return dict(yaml.safe_load(self._parser(self.arguments.subcommand).dump(config, skip_unset=False)))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the run's files, loggers and checks, which no config can take away."""
        settings, metrics = self._settings(), MetricsCSV(self.run.metrics)
        check_trainer(settings["trainer"])
        fitting = self.subcommand == "fit"
        loggers: list[Any] = [metrics] if fitting else []
        if (project := self._get(self.config, "wandb")) and not settings["trainer"]["fast_dev_run"]:
            loggers.append(wandb_logger(self.run, project, settings if fitting else {}))
        given, trainer = self._get(self.config, "ckpt_path"), self._get(self.config_init, "trainer")
        options = (given, self._get(self.config_init, "smooth"))
        self.trainer_defaults["callbacks"] = pinned_callbacks(self.run, self.arguments, settings, metrics, *options)
        return super().instantiate_trainer(
            logger=[*loggers, *_listed(trainer.logger)],
            plugins=[*plugins(trainer), *_listed(trainer.plugins)],
            default_root_dir=self.run.path,
            **{**job_size(), **kwargs},
        )

    def before_test(self) -> None:
        """Leave the printing to `Results` and `ValidationTable`, and keep no predictions."""
        self.config_init[self.subcommand]["return_predictions" if self.subcommand == "predict" else "verbose"] = False

    before_validate = before_predict = before_test


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, True, False) else [value]


def main(words: Sequence[str] | None = None) -> LandmarkCLI:
    """Run a command line; ends the process where it is wrong."""
    silence()
    with one_sentence():
        words = list(sys.argv[1:] if words is None else words)
        run_other_command(words)
        return LandmarkCLI(Arguments.read(words))


if __name__ == "__main__":
    main()
