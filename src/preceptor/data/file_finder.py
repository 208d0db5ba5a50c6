"""Finding the files that a table names, however it spells them."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from preceptor.data.image_files import SUFFIXES
from preceptor.data.litter import is_litter


class FileFinder:
    """Files below a folder, by the names that a table gives them.

    A name is taken as it stands where there is such a file. Else a file is searched for that differs in what people do
    not see or computers do not agree on: backslashes, ``./``, composed and decomposed letters, upper and lower case;
    then, for a name without a folder, one of that name in any folder below; then for a name without the ending of an
    image, one that has it.

    Args:
        root: the folder that results start from.
        folder: the folder below ``root`` in which the names are searched for.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self.root, self.folder = root, folder
        #: Names that fit several files, with those.
        self.ambiguous: dict[str, list[str]] = {}
        #: Names that were not taken as they stand -> the file that they stand for.
        self.searched: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The file that a name stands for, relative to the root; an empty string where there is none, or several."""
        plain = posixpath.normpath(posixpath.join(self.folder, name))
        if _is_file(self.root / plain):
            return plain
        key = _key(name)
        for index in (self._by_path, self._by_name if "/" not in key else {}):
            for wanted in (key, *([] if PurePosixPath(key).suffix in SUFFIXES else [_without_ending(key)])):
                files = index.get(wanted, [])
                if len(files) > 1:
                    self.ambiguous[name] = files
                    return ""
                if files:
                    self.searched[name] = files[0]
                    return files[0]
        return ""

    @cached_property
    def _by_path(self) -> dict[str, list[str]]:
        """Path below the folder, as a key (with its ending, and marked as being without) -> files below the root."""
        index: dict[str, list[str]] = defaultdict(list)
        top = self.root / self.folder
        for file in walk_files(top):
            below = posixpath.normpath(posixpath.join(self.folder, file))
            key = _key(file)
            index[key].append(below)
            if PurePosixPath(key).suffix in SUFFIXES:
                index[_without_ending(str(PurePosixPath(key).with_suffix("")))].append(below)
        return index

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = defaultdict(list)
        for key, files in self._by_path.items():
            index[posixpath.basename(key)] += files
        return index


def walk_files(top: Path) -> Iterator[str]:
    """Paths of all files below a folder, sorted; links to folders are followed, hidden files and litter passed over."""
    visited: set[str] = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_litter(name))
        below = Path(folder).relative_to(top)
        yield from ((below / name).as_posix() for name in sorted(files) if not is_litter(name))


def _key(name: str) -> str:
    path = unicodedata.normalize("NFC", name).replace("\\", "/").casefold()
    return posixpath.normpath(path).removeprefix("./")


def _without_ending(key: str) -> str:
    return f"{key}\0"  # no file name holds it, so that "a" and "a.png" are told apart


def _is_file(path: Path) -> bool:
    """Whether a file is there; no file has a name that the system refuses, such as one of a thousand letters."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
