"""A dozen made images with masks, for tests of the pixel cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from preceptor.data import cache_build
from preceptor.data.catalog import Catalog

COUNT, SIZE = 12, 16


def write_images(root: Path, count: int = COUNT) -> Catalog:
    """Images of 40 x 30 pixels with masks of 0 and 255, and their catalog."""
    random = np.random.default_rng(0)
    rows = []
    root.mkdir(exist_ok=True)
    for index in range(count):
        Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(root / f"{index:02}.png")
        mask = np.zeros((30, 40), np.uint8)
        mask[5 : 10 + index, 8:30] = 255
        Image.fromarray(mask).save(root / f"{index:02}_mask.png")
        rows.append({"id": f"im{index:02}", "image": f"{index:02}.png", "label": "a", "group": str(index)})
    table = pd.DataFrame(rows)
    return Catalog("made", root, table.assign(mask=table["image"].str.replace(".png", "_mask.png")), ("a",))


def read_images(root: Path) -> Catalog:
    """The catalog of images that :func:`write_images` has written."""
    names = sorted(path.name for path in root.glob("[0-9][0-9].png"))
    table = pd.DataFrame({"image": names, "id": [f"im{name[:2]}" for name in names], "label": "a", "group": "g"})
    return Catalog("made", root, table, ("a",))


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the image files that are decoded from now on."""
    names: list[str] = []
    real = cache_build.read_oriented

    def counted(path: Path) -> tuple[np.ndarray, int]:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(cache_build, "read_oriented", counted)
    return names
