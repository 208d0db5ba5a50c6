"""A table of images with several labels each, small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

LABELS = ("edema", "mass", "none")


def write_labelled_images(root: Path, images: int = 96) -> Path:
    """Write images whose three labels are bright corners, some of them not known; returns the table."""
    draw = np.random.default_rng(0)
    targets = draw.random((images, 3)) < 0.4
    for row, labels in enumerate(targets):
        pixels = draw.integers(0, 60, (32, 32, 3)).astype(np.uint8)
        for label, (top, left) in enumerate(((0, 0), (0, 16), (16, 0))):
            if labels[label]:
                pixels[top : top + 16, left : left + 16] += 150
        Image.fromarray(pixels).save(root / f"{row:03d}.png")
    columns = {name: targets[:, label].astype(int).astype(str) for label, name in enumerate(LABELS)}
    rows = pd.DataFrame({"image": [f"{row:03d}.png" for row in range(images)], **columns})
    rows.loc[3:6, "mass"] = ""
    rows.to_csv(root / "labels.csv", index=False)
    return root / "labels.csv"
