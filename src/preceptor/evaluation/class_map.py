"""How the classes of another data set correspond to those that a network tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.evaluation.metrics.registry import Floats
from preceptor.evaluation.predictions import KEYS
from preceptor.evaluation.score_columns import score_columns
from preceptor.utils.errors import PreceptorError, did_you_mean

#: Class of the other data → the network's class, its classes that are one there, or None to leave the images out.
Mapped = Mapping[str, str | Sequence[str] | None]


@dataclass(frozen=True)
class ClassMap:
    """Classes in which a network is judged on another data set.

    Where a class of the other data is several of the network's (malignant: melanoma, basal cell carcinoma), these are
    judged as one, whose probability is their sum.

    Attributes:
        network: classes that the network tells apart.
        judged: classes that figures are of: the network's, and merged ones under the other data's name.
        place: (C,) for each of ``network`` its index in ``judged``.
        label: class of the other data → one of ``judged``, None where its images are left out.
    """

    network: tuple[str, ...]
    judged: tuple[str, ...]
    place: NDArray[np.int64]
    label: Mapping[str, str | None]

    @property
    def merges(self) -> bool:
        """Whether several of the network's classes are judged as one."""
        return len(self.judged) < len(self.network)

    def stand_in(self, judged: str) -> str:
        """Return the first of the network's classes that are judged as this one."""
        return self.network[int(np.flatnonzero(self.place == self.judged.index(judged))[0])]

    def summed(self, probabilities: Floats) -> Floats:
        """Return probabilities (N, judged) from those of the network's classes (N, C)."""
        sums = np.zeros((len(probabilities), len(self.judged)))
        np.add.at(sums.T, self.place, np.asarray(probabilities, dtype=np.float64).T)
        return sums

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return rows of ``predictions.csv`` in the judged classes."""
        if not self.merges and self.judged == self.network:
            return table
        judged = dict(zip(self.network, np.array(self.judged)[self.place], strict=True))
        scores = self.summed(table[score_columns(self.network)].to_numpy(np.float64))
        rows = table[list(KEYS)].reset_index(drop=True)
        rows["target"] = rows["target"].map(judged)
        rows["predicted"] = np.array(self.judged, dtype=object)[scores.argmax(axis=1)]
        return pd.concat([rows, pd.DataFrame(scores, columns=score_columns(self.judged))], axis=1)


def map_classes(network: Sequence[str], other: Sequence[str], mapped: Mapped | None = None, data: str = "") -> ClassMap:
    """Return how classes of another data set are judged.

    Args:
        network: classes that the network tells apart.
        other: classes of the other data.
        mapped: what differs; a class that it does not name must be one of the network's.
        data: name of the other data, for messages.

    Raises:
        PreceptorError: a class that neither has, one without a counterpart, or one of the network's in two groups.

    >>> map_classes(["mel", "nv"], ["MEL", "NV", "UNK"], {"MEL": "mel", "NV": "nv", "UNK": None}).label
    {'MEL': 'mel', 'NV': 'nv', 'UNK': None}
    >>> map_classes(["bcc", "mel", "nv"], ["malignant", "nv"], {"malignant": ["mel", "bcc"]}).judged
    ('malignant', 'nv')
    """
    given = dict(mapped or {})
    if unknown := [name for name in given if name not in other]:
        raise PreceptorError(
            f"the class map names {unknown[0]!r}, which is not a class of {data or 'the other data'}."
            f"{did_you_mean(unknown[0], other)}",
            expected=f"one of {', '.join(other)}",
        )
    missing = [name for name in other if name not in given and name not in network]
    if missing:
        raise PreceptorError(
            f"{data or 'the other data'}: the class {missing[0]!r} is none of {', '.join(network)}",
            expected="each class of the other data in the class map, or with the name of one of the network's",
            remedy=f"name a file with --classes: {_proposal(missing, network)} (null leaves its images out)",
        )
    merged: dict[str, str] = {}  # the network's class → the judged one
    label: dict[str, str | None] = {}
    for name in other:
        value = given.get(name, name)
        members = [value] if isinstance(value, str) else list(value or [])
        for member in members:
            if member not in network:
                raise PreceptorError(
                    f"class map, {name}: {member!r} is none of the network's classes.{did_you_mean(member, network)}",
                    expected=f"some of {', '.join(network)}, or null",
                )
        together = name if len(members) > 1 else members[0] if members else None
        label[name] = together
        for member in members:
            if merged.setdefault(member, str(together)) != together:
                raise PreceptorError(
                    f"class map, {name}: {member!r} is judged as {merged[member]!r} already",
                    expected="each of the network's classes in one group",
                )
    of_network = [merged.get(name, name) for name in network]
    if taken := [name for name in network if name not in merged and of_network.count(name) > 1]:
        raise PreceptorError(f"class map: {taken[0]!r} is both a group and a class of the network's own")
    judged = tuple(dict.fromkeys(of_network))
    place = np.array([judged.index(name) for name in of_network], dtype=np.int64)
    return ClassMap(tuple(network), judged, place, label)


def _proposal(missing: Sequence[str], network: Sequence[str]) -> str:
    lower = {name.lower(): name for name in network}
    return "{" + ", ".join(f"{name}: {lower.get(name.lower(), 'null')}" for name in missing) + "}"
