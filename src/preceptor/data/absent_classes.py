"""Classes that no mask of a data set has, so that nothing can be learned of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from preceptor.utils.errors import some_of

_CHUNK = 16  # masks that are looked at together; in most data sets the first few have every class


def absent_classes(masks: np.ndarray, names: Sequence[str]) -> list[str]:
    """The classes that no mask has a pixel of. Masks are read until all have been met.

    Args:
        masks: (N, S, S) class indices.
        names: of the classes, in the order of their indices.

    >>> absent_classes(np.array([[[0, 1]], [[1, 1]]]), ("background", "disc", "cup"))
    ['cup']
    """
    absent = set(range(len(names)))
    for start in range(0, len(masks), _CHUNK):
        absent -= set(np.unique(masks[start : start + _CHUNK]).tolist())
        if not absent:
            break
    return [names[index] for index in sorted(absent)]


def absent_notes(absent: Sequence[str], side: int | None = None) -> list[str]:
    """Say that these classes are in no mask, and what may be the reason; nothing if there are none.

    Args:
        side: of the images that networks are shown, where masks were scaled to it.
    """
    if not absent:
        return []
    scaled = f" (scaled to {side} px)" if side else ""
    return [
        f"no mask{scaled} has a pixel of {some_of(absent)}, of which nothing can be learned: are these the masks that "
        "are meant, and do their values stand for the classes in this order (data.mask_classes)?"
    ]
