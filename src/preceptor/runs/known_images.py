"""Images of other data that a run has learned from, or was selected by: no external test may count them."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preceptor.data.catalog import Catalog
from preceptor.data.copies import COMPARES_PICTURES, Contents
from preceptor.data.readers import same_ids
from preceptor.data.split import UNLABELLED_PART
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, PreceptorWarning, some_of

WHOLE_FILES = "only whole files were compared: pip install 'preceptor[data]' compares pictures"
LEARNED = ("train", "validation", UNLABELLED_PART)


@dataclass(frozen=True)
class KnownImages:
    """What some runs know of another data set.

    Attributes:
        parts: id of the other data → part of a run that it is an image of.
        notes: what could not be compared, in sentences.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def refuse(self, data: str, images: int, remedy: str) -> None:
        """Raise unless no image is known.

        Args:
            data: name of the other data.
            images: of the other data.
            remedy: how to leave the known ones out.

        Raises:
            PreceptorError: names some of the known images.
        """
        if not self.parts:
            return
        trained = sum(part != "validation" for part in self.parts.values())
        of_parts = f"{trained} of a training part, {len(self.parts) - trained} of a validation part"
        raise PreceptorError(
            f"{len(self.parts)} of the {images} images of {data} are the runs' own ({of_parts}: "
            f"{some_of(sorted(self.parts), 3)})",
            expected="images that no network has learned from or was selected by",
            remedy=remedy,
        )


def known_images(runs: Iterable[Run], other: Contents, options: Mapping[str, Any]) -> KnownImages:
    """Find the images of another data set that are in the training or validation part of runs.

    Images are the same if their files are, if they show nearly the same picture, or if they have one id in one
    published data set, or in several of one archive (ISIC's); in folders and tables of users' own, names such as
    ``mel/001.png`` stand for other images everywhere. The runs that frozen networks come from count too. What is left
    of a run's data is compared where they changed since; where none of it can be, a :class:`PreceptorWarning` says so.

    Args:
        other: the other data.
        options: of their reader; data sets that one reader has under several options share no ids.
    """
    copies: dict[str, list[tuple[str, str]]] = {}
    parts: dict[str, str] = {}
    notes = [] if COMPARES_PICTURES else [WHOLE_FILES]
    for run in _with_sources(runs):
        data, learned = run.environment.data, _learned(run)
        key = data.fingerprint
        if key not in copies:
            catalog, note = what_is_left(run, learned)
            notes += [note] if note else []
            copies[key] = other.copies_in(Contents(catalog)) if catalog is not None else []
            if same_ids(data.name, data.options, other.catalog.name, options):
                copies[key] += [(name, name) for name in other.catalog.table["id"]]
            elif catalog is None:
                warnings.warn(f"{note}; figures on images that it learned from say nothing", PreceptorWarning, 2)
        for name, own_id in copies[key]:
            if own_id in learned and parts.get(name) != "train":
                parts[name] = learned[own_id]
    return KnownImages(parts, tuple(notes))


def what_is_left(run: Run, learned: Collection[str]) -> tuple[Catalog | None, str]:
    """The data of a run, or what is left of them, and a sentence on what could not be compared.

    Args:
        learned: ids of the images that the run has learned from.
    """
    with suppress(PreceptorError):
        return run.catalog(), ""
    try:
        catalog = run.data.catalog()
    except PreceptorError as error:
        return None, f"no image could be compared with those of {run.path.name}: {error.what}"
    there = set(learned) & set(catalog.table["id"])
    note = (
        f"the data of {run.path.name} changed since it was trained: {len(there)} of the {len(learned)} images that it "
        "learned from are still there under their names, and were compared"
    )
    return (catalog if there else None), note


def _learned(run: Run) -> dict[str, str]:
    rows = run.split[run.split["part"].isin(LEARNED)]
    return dict(zip(rows["id"], rows["part"], strict=True))


def _with_sources(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield runs and those that their networks come from, each once."""
    waiting: Sequence[Run] = list(runs)
    seen_paths: set[Path] = set()
    while waiting:
        run, *waiting = waiting
        if run.path.resolve() in seen_paths or not run.exists:
            continue
        seen_paths.add(run.path.resolve())
        yield run
        sources = [network.run for network in run.settled_networks().values() if network.run is not None]
        folders = [path if path.is_dir() else path.parent for path in map(Path, sources)]
        waiting = [*waiting, *(Run(folder) for folder in folders)]
