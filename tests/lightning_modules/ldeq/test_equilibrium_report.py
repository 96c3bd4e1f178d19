"""The report of what later steps bring (tests/benchmarks/ldeq_equilibrium.py), on a small network."""

import torch

from lightning_modules.ldeq import LDEQ
from tests.benchmarks.ldeq_equilibrium import STEPS, measure


def test_columns_are_those_of_a_loop_by_hand():
    torch.manual_seed(0)
    module = LDEQ(3, injection_width=8, width=8, width_step=4, depth=2).eval()
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = {"image": image, "landmarks": torch.full((2, 3, 2), 30.0), "norm": torch.tensor([10.0, 20.0])}
    columns = measure(module, batch)
    with torch.no_grad():
        x = module.stem(image)
        z = torch.zeros(2, 3, 16, 16)
        for step in range(1, STEPS + 1):
            fz = module.cell(z, x)
            residual = [((a - b).norm() / a.norm()).item() for a, b in zip(fz, z, strict=True)]
            torch.testing.assert_close(columns[f"residual {step}"], torch.tensor(residual))
            error = (module.decode(fz) - 30).norm(dim=-1).mean(dim=-1) / batch["norm"]
            torch.testing.assert_close(columns[f"nme {step}"], 100 * error)
            z = fz
        settled = module.evaluation_solver(*module.inject(image)).image
        other = module.cell(settled.flip(0), x) - module.cell(settled, x)
    expected = other.flatten(1).norm(dim=1) / settled.flatten(1).norm(dim=1)
    torch.testing.assert_close(columns["moved"], expected, rtol=1e-3, atol=1e-4)
