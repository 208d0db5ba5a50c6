"""A picture under a heat map, as galleries and the surest errors show it; needs no torch."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HEAT = matplotlib.colormaps["viridis"]  # no colour of it is met on skin
_OPAQUE = 0.5


def overlay(picture: Image.Image, heat: NDArray[np.float32]) -> Image.Image:
    """Blend a picture with a map (h, w) in [0, 1] of no more cells than pixels, enlarged bilinearly."""
    wide = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(picture.size, Image.Resampling.BILINEAR))
    blend = (1 - _OPAQUE) * np.asarray(picture) + _OPAQUE * 255 * _HEAT(wide)[..., :3]
    return Image.fromarray(blend.round().astype(np.uint8))
