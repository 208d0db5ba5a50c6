"""The embedded synthetic data set; drawn on first use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from platformdirs import user_cache_path
from pydantic import ValidationError

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv
from preceptor.data.phantom import CLASSES, TABLE_FILE, Phantom, differing, load_knobs, write_phantom
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError


@reader(
    "phantom",
    layout="nothing needed: synthetic dermoscopy is drawn into the user's cache, or into --root",
    needs_root=False,
    about=About(
        "synthetic dermoscopy, drawn on first use",
        tasks=("classification", "segmentation"),
        images="as asked for",
        groups="lesion",
        licence="none needed",
    ),
    options=Phantom,
)
def phantom(root: Path | None = None, **knobs: Any) -> Catalog:
    """Seven synthetic classes with masks and lesion groups; the options are the knobs of :class:`Phantom`.

    Args:
        root: where the images are or shall be; a folder in the user's cache, named by the knobs, when None. Of a
            phantom that is there already, knobs that are not given are taken as they were.
        **knobs: see :class:`Phantom`.

    Raises:
        PreceptorError: a knob out of range, a folder that holds something else or a phantom with other knobs.
    """
    try:
        wanted = Phantom(**knobs)
    except ValidationError as error:
        first = error.errors()[0]
        raise PreceptorError(f"phantom: data.{first['loc'][0]}: {first['msg']}") from None
    if root is None:
        root = user_cache_path("preceptor", appauthor=False) / f"phantom-{wanted.key()}"
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        write_phantom(root, wanted)
    stored = load_knobs(root)
    _refuse_others(root, stored, Phantom(**{**asdict(stored), **knobs}))  # type: ignore[call-overload]
    table = read_csv(root / TABLE_FILE, ("lesion_id", "image_id", "dx"))
    ids = table["image_id"]
    rows = pd.DataFrame(
        {
            "id": ids,
            "image": "images/" + ids + ".jpg",
            "label": table["dx"],
            "group": table["lesion_id"],
            "mask": "masks/" + ids + ".png",
        }
    )
    notes = ("synthetic images; nothing about patients follows from them",)
    return Catalog("phantom", root, rows, CLASSES, notes, mask_classes=("background", "lesion"))


def _refuse_others(root: Path, stored: Phantom, wanted: Phantom) -> None:
    names = differing(stored, wanted)
    if names:
        have, want = (", ".join(f"{name}={getattr(knobs, name)}" for name in names) for knobs in (stored, wanted))
        raise PreceptorError(
            f"{root} holds a phantom with {have}",
            expected=want,
            remedy="give another --root, or remove the folder and it is drawn anew",
        )
