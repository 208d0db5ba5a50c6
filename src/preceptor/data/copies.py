"""Images of one data set that another holds too: the same file, the same id, or nearly the same picture."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from preceptor.data.catalog import Catalog
from preceptor.data.near_duplicates import Described, describe, near_copies
from preceptor.data.sources import is_member

COMPARES_PICTURES = find_spec("imagehash") is not None


class Contents:
    """The images of a catalog by content; files and pictures are read when they are first compared.

    Args:
        catalog: the data set.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._described: Described | None = None

    def pictures(self) -> Described:
        """Return hash and thumbnail of each image."""
        if self._described is None:
            self._described = describe(self.catalog)
        return self._described

    def copies_in(self, other: Contents) -> list[tuple[str, str]]:
        """Return (id here, id there) of images that are one file, or nearly one picture.

        Re-encoded and scaled copies and second shots of one motif count too, where imagehash is installed
        (:data:`COMPARES_PICTURES`).
        """
        pairs = list(self._same_files(other))
        if COMPARES_PICTURES:
            pairs += [(int(row), int(place)) for row, place in near_copies(self.pictures(), other.pictures())]
        return self._named(other, pairs)

    def same_files(self, other: Contents) -> list[tuple[str, str]]:
        """Return (id here, id there) of images that are one file: by path, and byte for byte where sizes agree.

        Images in containers are compared by path alone.
        """
        places = {other.catalog.path(place): place for place in _with_image(other.catalog)}
        by_path = {row: places[path] for row in _with_image(self.catalog) if (path := self.catalog.path(row)) in places}
        return self._named(other, [*by_path.items(), *self._same_files(other, by_path)])

    def _named(self, other: Contents, pairs: Iterable[tuple[int, int]]) -> list[tuple[str, str]]:
        here, there = (each.catalog.table["id"].tolist() for each in (self, other))
        return [(here[row], there[place]) for row, place in dict.fromkeys(pairs)]

    def _same_files(self, other: Contents, known: Collection[int] = ()) -> Iterable[tuple[int, int]]:
        """Rows here and there of files with one content; not of those here that are known already."""
        ours = {row: (os.stat(path).st_size, path) for row, path in _files(self.catalog) if row not in known}
        sizes = {size for size, _ in ours.values()}
        theirs: dict[tuple[int, bytes], list[int]] = defaultdict(list)  # of files that might be copies, by content
        for place, path in _files(other.catalog):
            if (size := os.stat(path).st_size) in sizes:
                theirs[size, _digest(path)].append(place)
        sizes = {size for size, _ in theirs}
        for row, (size, path) in ours.items():
            if size in sizes:
                yield from ((row, place) for place in theirs.get((size, _digest(path)), ()))


def _files(catalog: Catalog) -> Iterable[tuple[int, Path]]:
    """Rows with a file of their own: entries of containers are compared as pictures only."""
    for row in _with_image(catalog):
        path = catalog.path(row)
        if not is_member(path) and path.is_file():
            yield row, path


def _with_image(catalog: Catalog) -> list[int]:
    return [int(row) for row in np.flatnonzero(catalog.table["image"] != "")]


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
