"""Images of noise in files, for tests of what is read from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def save_image(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path
