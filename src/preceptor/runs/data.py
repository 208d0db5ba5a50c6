"""What a run is trained on, by reader, place and fold; read once in a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from preceptor.data.catalog import Catalog
from preceptor.data.readers import read
from preceptor.runs.schema import DataRecord


@dataclass(frozen=True)
class Data:
    """What to train on.

    Attributes:
        name: a reader.
        root: the folder (or table) that it reads; None for the phantom's own place.
        options: the reader's options.
        exclude: ids to leave out.
        fold: which fold is the test part.
    """

    name: str
    root: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    fold: int = 0

    @classmethod
    def of(cls, record: DataRecord) -> Data:
        """Return the data that a run names in its ``environment.json``."""
        root = Path(record.root) if record.root else None
        return cls(record.name, root, record.options, tuple(record.excluded), record.fold)

    def read_as(self, catalog: Catalog) -> Data:
        """Take a catalog, which is what these data are, for read."""
        vars(self)["_catalog"] = catalog
        return self

    def record(self, folds: int, notes: list[str]) -> DataRecord:
        """Return what ``environment.json`` says of these data.

        Args:
            folds: of the split.
            notes: on the split, beside those of the reader.
        """
        catalog = self.catalog()
        return DataRecord(
            name=self.name,
            root=str(self.root.expanduser().resolve()) if self.root else None,
            options=dict(self.options),
            fingerprint=self.fingerprint,
            fold=self.fold,
            folds=folds,
            images=len(catalog),
            classes=list(catalog.classes),
            excluded=sorted(self.exclude),
            notes=[*catalog.notes, *notes],
        )

    def catalog(self) -> Catalog:
        """Return the images without the excluded ones."""
        return self._catalog

    @cached_property
    def _catalog(self) -> Catalog:
        catalog = read(self.name, self.root, dict(self.options))
        return catalog.without(self.exclude) if self.exclude else catalog

    @cached_property
    def fingerprint(self) -> str:
        """Of the catalog; it looks at the size of every file, so once is enough."""
        return self._catalog.fingerprint()
