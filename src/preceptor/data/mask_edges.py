"""Whether other grey values in a mask of two classes are the smear of its border, or further classes.

JPEG and smoothing leave many different values along a border that is thin. A class of its own (a disc around a cup,
pixels to ignore) is one value over an area. The bounds hold for outlines of 8 to 1,024 pixels per side, stored as
JPEG of any quality, scaled, turned or blurred.
"""

from __future__ import annotations

import numpy as np

_MOST_MIDDLING = 0.25  # share of pixels between a quarter and three quarters of the range: more of them is a picture
_FEW = 8  # values besides 0 and 255; smear has more of them, or none that fills a square of 3 x 3
_NEAR = 16  # JPEG may store all of the background as 3, or all of the foreground as 250 ...
_BLOCK = 8  # ... but at borders; what it does there stays in blocks of 8 x 8
_MOST_FLAT = 0.01  # share of pixels where smear of many values leaves squares of one middling value


def may_be_cut(levels: np.ndarray) -> bool:
    """Whether grey levels (H, W) uint8 are a mask of two classes that may be cut at half: only its border is smeared.

    Low values alone are indices, and many middling ones a picture: cut at half, either would turn into a mask that says
    something else.
    """
    middling = ((levels >= 64) & (levels < 192)).mean()
    return bool(levels.max() > 127 and middling <= _MOST_MIDDLING and not further_classes(levels))


def further_classes(levels: np.ndarray) -> list[int]:
    """The values of a mask (H, W) uint8 that fill areas as classes do, besides a black and a white of two classes."""
    squares = _squares(levels, 3)
    present = np.bincount(levels.ravel(), minlength=256) > 0
    other = present.copy()
    other[[0, 255]] = False
    if other.sum() > _FEW and other[64:192].any():
        squares[:_NEAR] = squares[-_NEAR:] = 0
        return np.flatnonzero(squares > _MOST_FLAT * levels.size).tolist()
    smeared = bool((other & (squares == 0)).any())
    filling = _squares(levels, _BLOCK + 1) if smeared else squares.copy()
    filling[_NEAR:-_NEAR] = squares[_NEAR:-_NEAR]
    for extreme, first in ((0, 0), (255, 256 - _NEAR)):  # the two classes: black and white, or what JPEG made of them
        sharp = present[extreme] and not smeared
        filling[extreme if sharp else first + int(squares[first : first + _NEAR].argmax())] = 0
    return np.flatnonzero(filling).tolist()


def _squares(levels: np.ndarray, side: int) -> np.ndarray:
    """(256,) how many squares of ``side`` pixels, overlapping ones counted too, hold one level alone, by level."""
    height, width = (length - side + 1 for length in levels.shape)
    if height < 1 or width < 1:
        return np.zeros(256, dtype=np.int64)
    across = np.logical_and.reduce([levels[:, :width] == levels[:, i : i + width] for i in range(1, side)])
    down = [levels[:height, :width] == levels[i : i + height, :width] for i in range(1, side)]
    alone = np.logical_and.reduce([*(across[i : i + height] for i in range(side)), *down])
    return np.bincount(levels[:height, :width][alone], minlength=256)
