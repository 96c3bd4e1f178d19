"""``python cli.py inspect``: a dataset checked as its user would fear it to be, and drawn."""

from collections.abc import Sequence

from callbacks.arguments import Arguments

USAGE = """usage: python cli.py inspect --config NAME [--config OVERLAY ...] [--out FOLDER] [--data.init_args.KEY VALUE]

Checks the data of a config: counts, missing and unreadable images, landmarks outside images and boxes, faces and
images that are there twice, left and right. Of images without annotation, and of the unlabelled parts of a mixture
(others-0, others-1, ...), what does not need it. Ends with 1 if a check failed.

  --config NAME  as for fit; only its data counts, and a file of data alone will do
  --name RUN     or the data of a run, without --config
  --out FOLDER   for findings.csv and drawings of faces (default: runs/inspect/DATA)"""


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``inspect``.

    Raises:
        SystemExit: 1, where a check failed.
        UsageError, FileNotFoundError, ValueError: one sentence for a mistake, or annotations that cannot be read.
    """
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return
    arguments = Arguments.read(["inspect", *words])  # most mistakes are answered here: the imports below take seconds

    from callbacks.inspection.data_config import read_data
    from callbacks.inspection.findings import FAILED
    from callbacks.inspection.inspect_data import inspect_data
    from callbacks.quiet import silence

    silence()
    data, out = read_data(arguments)
    if any(check.verdict == FAILED for check in inspect_data(data, out)):
        raise SystemExit(1)
