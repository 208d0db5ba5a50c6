"""Short names for paths that are shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def shortest_endings(places: Sequence[Path]) -> list[str]:
    """Return the shortest endings, all of one depth, in which paths differ.

    >>> shortest_endings([Path("runs/a/kd"), Path("runs/b/kd")])
    ['a/kd', 'b/kd']
    """
    deepest = max(len(place.parts) for place in places)
    for depth in range(1, deepest + 1):
        labels = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("distinct paths have distinct endings")
