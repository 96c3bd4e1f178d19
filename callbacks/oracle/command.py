"""``python cli.py oracle``: what several models say together, as annotation of videos (LDEQ, appendix A)."""

from collections.abc import Sequence
from pathlib import Path

from callbacks.arguments import Arguments, Option, UsageError, group_options, option_key

USAGE = """usage: python cli.py oracle --members RUN RUN [RUN ...] --data.path FOLDER --out FOLDER
       python cli.py oracle --members RUN RUN [RUN ...] --config VIDEOS --out FILE.csv

Averages the heatmaps of the members and writes what they find in videos of one face each, in the format of WFLW-V:
videos/, landmarks/ and bboxes/, ranking.csv with the variance between the members, and the lists of the half of the
videos in which they agree more (easy) and of the other half (hard). With --config, the test videos of a dataset are
ranked: a CSV that data.init_args.ranking of generated videos takes.

  --members RUN ...   folders below runs/, or paths; trained in one markup, on images of one size
  --data.path FOLDER  videos (.mp4); further options of OwnFiles as for predict
  --config NAME       a dataset of videos, such as data/synthetic_videos.yaml
  --last              the members' last checkpoints, in place of their best
  --device NAME       cpu, cuda or cuda:1; without it a GPU where there is one
  --out               where to write"""


def main(words: Sequence[str]) -> None:
    """Run the command with the words that follow ``oracle``.

    Raises:
        UsageError, FileNotFoundError, ValueError: one sentence for a mistake.
    """
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return
    own, others = _sorted(words)
    members = own.get("--members", ())
    if len(members) < 2:
        raise UsageError(f"--members names {len(members)} runs, expected two or more")
    if len(own.get("--out", ())) != 1:
        raise UsageError("oracle needs --out: a folder for videos of your own, a .csv for the ranking of a dataset")
    if len(device := own.get("--device", (None,))) != 1:
        raise UsageError("--device takes one value: cpu, cuda or cuda:1")
    known = {option_key(option) for option in others}
    if not known & {"--data.path", "--config", "-c"}:
        raise UsageError(
            "oracle needs videos: --data.path FOLDER, or --config data/synthetic_videos.yaml or another set's"
        )
    typed = [word for option in others for word in option]
    arguments = Arguments.read(["oracle", *typed])

    from callbacks.inspection.data_config import read_data
    from callbacks.oracle.annotate import annotate_videos, rank_videos
    from callbacks.oracle.members import read_device, read_ensemble
    from callbacks.quiet import silence

    silence()
    place = read_device(device[0])
    ensemble, box = read_ensemble(members, arguments.runs, last="--last" in own)
    ensemble.to(place)
    crops = {"size": ensemble.trained_size, "box": box}
    typed += [f"--data.init_args.{key}={value}" for key, value in crops.items() if f"--data.{key}" not in known]
    data, _ = read_data(Arguments.read(["oracle", *typed]))
    out = Path(own["--out"][0])
    if arguments.own_files:
        annotate_videos(ensemble, data, out)
    else:
        rank_videos(ensemble, data, out)


def _sorted(words: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], list[Option]]:
    """The command's own options with their values, and the others."""
    own: dict[str, tuple[str, ...]] = {}
    others = []
    for option in group_options(words):
        if (key := option_key(option)) in ("--members", "--out", "--last", "--device"):
            value = option[0].partition("=")[2]
            own[key] = (*([value] if value else []), *option[1:])
        else:
            others.append(option)
    return own, others
