"""``preceptor demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo's data and runs.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the data and of the training.")] = 0,
) -> None:
    """Synthetic dermoscopy: teacher, student alone, student distilled, report. A few minutes on two cores."""
    from preceptor.utils.extras import require_training

    require_training()
    from preceptor.demo import run_demo

    run_demo(out, seed)
