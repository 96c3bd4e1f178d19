"""Does the equilibrium of a trained LDEQ earn its keep?

    python tests/benchmarks/ldeq_equilibrium.py runs/NAME [--faces 512] [--root FOLDER]

On the run's test faces: NME and relative residual after 1, 2, 3, ... plain steps from zero and at the equilibrium, the
share of the first step's error that later steps remove, and how far f moves when its state is another face's. A cell
that ignores its state is a single-stage network in disguise: it would score the same at every step and not move.
"""

import argparse
import sys
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.ldeq import LDEQ
from lightning_modules.metrics.functional import normalized_mean_error

STEPS = 8


def relative(change: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """||change|| / ||reference|| for each sample."""
    return change.flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)


@torch.no_grad()
def measure(module: LDEQ, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Columns of the table for one batch: a value for each face."""
    f, z = module.inject(batch["image"])
    rows = torch.arange(len(z))

    def nme(heatmaps: torch.Tensor) -> torch.Tensor:
        return normalized_mean_error(module.decode(heatmaps), batch["landmarks"], batch["norm"])

    found = module.evaluation_solver(f, z)
    columns = {"nme equilibrium": nme(found.image), "residual equilibrium": found.residual}
    columns["moved"] = relative(f(found.image.roll(1, dims=0), rows) - f(found.image, rows), found.image)
    columns["iterations"] = found.iterations.float()
    for step in range(1, STEPS + 1):
        fz = f(z, rows)
        columns[f"nme {step}"], columns[f"residual {step}"] = nme(fz), relative(fz - z, fz)
        z = fz
    return columns


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--faces", type=int, default=512)
    options.add_argument("--root", help="data.init_args.root in place of the run's own")
    chosen = options.parse_args()
    config = yaml.safe_load((chosen.run / "config.yaml").read_text())["data"]
    if chosen.root:
        config["init_args"]["root"] = chosen.root
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    data = parser.instantiate(parser.parse_object({"data": config})).data
    data.setup("test")
    module = LDEQ.load_from_checkpoint(chosen.run / "checkpoints" / "best.ckpt", map_location="cpu").eval()
    columns: list[dict[str, torch.Tensor]] = []
    for batch in data.test_dataloader():
        columns.append(measure(module, batch))
        if sum(len(c["moved"]) for c in columns) >= chosen.faces:
            break
    means = {key: torch.cat([c[key] for c in columns]).mean().item() for key in columns[0]}
    print(f"{chosen.run.name} on {data.measured_on}, {sum(len(c['moved']) for c in columns)} faces")
    print("steps from zero   NME %   residual")
    for step in [*range(1, STEPS + 1), "equilibrium"]:
        print(f"{step!s:>15} {means[f'nme {step}']:7.3f} {means[f'residual {step}']:10.4f}")
    first, last = means["nme 1"], means["nme equilibrium"]
    print(f"later steps remove {1 - last / first:.1%} of the error of step 1; {means['iterations']:.1f} evaluations")
    print(f"f moves by {means['moved']:.1%} when its state is another face's")


if __name__ == "__main__":
    main()
