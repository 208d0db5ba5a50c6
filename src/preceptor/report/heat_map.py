"""A picture under a heat map, as galleries and the surest errors show it."""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_HEAT = matplotlib.colormaps["viridis"]  # no colour of it is met on skin
_OPAQUE = 0.5


def overlay(picture: Image.Image, heat: Tensor) -> Image.Image:
    """Blend a picture with a map (h, w) in [0, 1]."""
    size = (picture.height, picture.width)
    wide = F.interpolate(heat[None, None].float().cpu(), size, mode="bilinear", align_corners=False)[0, 0].numpy()
    blend = (1 - _OPAQUE) * np.asarray(picture) + _OPAQUE * 255 * _HEAT(wide)[..., :3]
    return Image.fromarray(blend.round().astype(np.uint8))
