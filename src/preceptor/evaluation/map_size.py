"""How many cells a feature map needs for a class activation map of it to show where; loads no torch."""

from __future__ import annotations

#: With fewer, a map is of one colour or nearly so, and shows no place.
LEAST_CELLS = 4
_OUTLINE = 25  # from which on a map shows more than a direction


def shows_places(height: int, width: int) -> bool:
    """Whether a map of so many cells is worth showing."""
    return height * width >= LEAST_CELLS


def in_cells(height: int, width: int) -> str:
    """The size in words.

    >>> in_cells(1, 1), in_cells(2, 2)
    ('1 × 1 cell', '2 × 2 cells')
    """
    return f"{height} × {width} cell{'' if height * width == 1 else 's'}"


def coarseness(height: int, width: int) -> str:
    """What a map of so many cells cannot show, as the end of a sentence on it; empty where it is fine enough.

    >>> coarseness(2, 2), coarseness(7, 7)
    (': it shows a direction, not an outline', '')
    """
    return ": it shows a direction, not an outline" if height * width < _OUTLINE else ""
