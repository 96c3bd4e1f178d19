"""What a test shows in Weights & Biases: the worst faces with their drawings, curves, and what the method alone has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from PIL import Image

from callbacks.overlays import Drawn, place
from callbacks.result_tables import MODEL, Row
from callbacks.wandb_charts import as_table, ced_curves, chart
from callbacks.wandb_names import folder_of_test, method_numbers, subset_number
from lightning_modules.drawing import SIDE
from lightning_modules.further import Further

THINNED = 10  # steps of a hundredth of a percent between the points of a CED that are shown: W&B cuts tables at 10,000
ROWS = 1_000  # of a method's own tables at most: what W&B shows at once


def log_results(
    run: Any,
    stem: Path,
    subsets: Sequence[Row],
    curves: Sequence[Row],
    faces: Sequence[Row],
    drawn: Sequence[Drawn],
    sheet: Image.Image,
    further: Further,
) -> None:
    """Log a test below ``test/<name of its files>``, as `callbacks.wandb_names` spells it.

    Args:
        run: W&B's.
        stem: of the test's files.
        subsets: rows of its table, the first being of all faces.
        curves: of its cumulative error distribution.
        faces: of its table of faces.
        drawn: the faces on the sheet, in order.
        sheet: their drawings.
        further: tables and pictures of the method.
    """
    at = folder_of_test(stem.name)
    by_index = {row["index"]: row for row in faces}
    columns = [key for key in faces[0] if key != "index"]
    shown = wandb.Table(columns=["drawing", "index", "group", *columns])
    worst = []
    for position, face in enumerate(drawn):
        left, top = place(position)
        tile, row = sheet.crop((left, top, left + SIDE, top + SIDE)), by_index[face.index]
        shown.add_data(wandb.Image(tile), face.index, face.group, *(row[key] for key in columns))
        if face.group == "worst":
            worst.append(wandb.Image(tile, caption=f"{row['nme']:.2f} %, {row['annotation']}"))
    logged: dict[str, Any] = {f"{at}/faces": shown, f"{at}/worst": worst, f"{at}/subsets": as_table(subsets)}
    shares = [key for key in curves[0] if key != "threshold_percent"]
    logged[f"{at}/ced"] = chart(curves[::THINNED], ced_curves(shares), "CED")
    for name, table in further.tables.items():
        rows = table.rows[:ROWS]
        logged[f"{at}/{name}"] = as_table(rows)
        logged[f"{at}/{name}_chart"] = chart(rows, table.curves, table.title)
        logged |= method_numbers(stem.name, name, table.curves, rows)
    pictures = {"overlays": sheet, **{name: picture.image for name, picture in further.pictures.items()}}
    logged |= {f"{at}/{name}": wandb.Image(image) for name, image in pictures.items()}
    logged |= {subset_number(stem.name, row["subset"], key): row[key] for row in subsets for key in _numbers(row)}
    run.log(logged)


def _numbers(row: Mapping[str, Any]) -> list[str]:
    return [key for key, value in row.items() if isinstance(value, (int, float)) and key != MODEL]
