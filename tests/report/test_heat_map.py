"""A map over a picture is the map that torch would enlarge, without torch."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from preceptor.report.heat_map import overlay


@pytest.mark.parametrize("cells", [(2, 2), (7, 7), (16, 16), (5, 3)])
def test_the_map_is_enlarged_bilinearly(cells: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    heat = generator.random(cells, dtype=np.float32)
    pixels = generator.integers(0, 256, (90, 96, 3), dtype=np.uint8)
    wide = functional.interpolate(torch.from_numpy(heat)[None, None], (90, 96), mode="bilinear", align_corners=False)
    expected = pixels / 2 + 127.5 * matplotlib.colormaps["viridis"](wide[0, 0].numpy())[..., :3]
    shown = np.asarray(overlay(Image.fromarray(pixels), heat), dtype=np.float64)
    assert np.abs(shown - expected).max() < 2, "the next of 256 colours at most"
    assert np.abs(shown - expected).mean() < 0.3, "rounding"
