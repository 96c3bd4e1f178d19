"""The options of the command line that are not Lightning's."""

from lightning.pytorch.cli import LightningArgumentParser

from lightning_modules.video.filters import Filter


def add_options(parser: LightningArgumentParser) -> None:
    """Add them to the parser of a subcommand."""
    parser.add_argument("--name", type=str | None, help="the run's folder below runs/ (default: the config's name)")
    parser.add_argument("--runs", type=str, default="runs", help="the folder of all runs")
    parser.add_argument("--resume", nargs="?", const="yes", help="continue the run; auto: where there is one")
    parser.add_argument("--wandb", type=str | None, help="log to this project of Weights & Biases too")
    parser.add_argument("--wandb_checkpoints", type=bool, default=False, help="upload best.ckpt and last.ckpt there")
    parser.add_argument("--smooth", type=Filter | None, help="predict: a filter on the landmarks of videos")
