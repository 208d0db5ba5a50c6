"""Files that are byte for byte the same, and groups that belong together because of them."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preceptor.data.sources import is_member

_HEAD = 1 << 16  # bytes that are compared first, as most files differ there


def identical_files(root: Path, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Find the files with the same content, whatever they are called.

    Entries of containers are passed over, and so are files that cannot be read (reading the pixels reports those).

    Args:
        root: the folder that ``names`` start from.
        names: files, as in the column ``image`` of a catalog.

    Returns:
        Positions in ``names`` of the same content, two or more together, in ascending order.
    """
    paths = {row: root / name for row, name in enumerate(names) if name and not is_member(root / name)}
    by_size: dict[object, list[int]] = defaultdict(list)
    for row, path in paths.items():
        try:
            by_size[os.stat(path).st_size].append(row)
        except OSError:
            continue
    alike = [rows for rows in by_size.values() if len(rows) > 1]
    for limit in (_HEAD, None):
        alike = [rows for group in alike for rows in _same_content(paths, group, limit)]
    return tuple(sorted(tuple(rows) for rows in alike))


def joined(groups: np.ndarray, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Give one name to the groups of rows that belong together, the name of the first of them in the array.

    Args:
        groups: (N,) names of groups.
        pairs: rows that must not be separated.

    >>> joined(np.array(["p", "q", "p", "r"]), [(1, 2)]).tolist()
    ['p', 'p', 'p', 'r']
    """
    pairs = list(pairs)
    if not pairs:
        return groups
    names, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    edges = inverse[np.array(pairs)]
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(len(names),) * 2)
    component = connected_components(graph, directed=False)[1]
    order = np.argsort(first, kind="stable")
    leaders: dict[int, str] = {}
    for name in order:
        leaders.setdefault(int(component[name]), str(names[name]))
    return np.array([leaders[int(part)] for part in component])[inverse]


def chained(rows: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs of neighbours that hold each sequence of rows together."""
    return [(together[0], other) for together in rows for other in together[1:]]


def _same_content(paths: dict[int, Path], rows: list[int], limit: int | None) -> list[list[int]]:
    """Those of ``rows`` whose files agree in their first ``limit`` bytes (in all of them without a limit)."""
    by_content: dict[bytes, list[int]] = defaultdict(list)
    for row in rows:
        try:
            with paths[row].open("rb") as file:
                content = file.read(limit) if limit else file.read()
        except OSError:
            continue
        by_content[hashlib.sha256(content).digest()].append(row)
    return [group for group in by_content.values() if len(group) > 1]
