"""Which images and people the results are about: flow into the parts, and attributes of each part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.split import ALL_PARTS
from preceptor.evaluation.attributes import banded, is_numeric
from preceptor.report.entries import LabelledRun
from preceptor.report.formatting import count, percent, ratio
from preceptor.report.subgroups import MOST, attributes_of


@dataclass(frozen=True)
class Box:
    """One box of the flow diagram: how many images, of how many groups (lesions, patients)."""

    name: str
    images: int
    groups: int


@dataclass(frozen=True)
class Flow:
    """How the images of a data set came into their parts.

    Attributes:
        images: images of the data set, those left out included.
        excluded: left out by ``--exclude``.
        used: images of all parts.
        parts: the parts that hold an image, in order.
    """

    images: int
    excluded: int
    used: Box
    parts: list[Box]


@dataclass(frozen=True)
class Demographics:
    """Attributes of each part: (name, one cell a part); rows with ``indent`` are values of the attribute above."""

    parts: list[str]
    rows: list[tuple[str, bool, list[str]]]


def flow(run: LabelledRun) -> Flow:
    """Return the flow diagram of a run's data."""
    split, excluded = run.split, len(run.environment.data.excluded)
    parts = [part for part in ALL_PARTS if (split["part"] == part).any()]
    boxes = [_box(part, split[split["part"] == part]) for part in parts]
    return Flow(len(split) + excluded, excluded, _box("all", split), boxes)


def external_flow(run: LabelledRun, images: int) -> Flow:
    """Return the flow diagram of another data set, of whose ``images`` a run was measured on those of its split."""
    box = _box("measured", run.split)
    return Flow(images, images - box.images, box, [])


def demographics(run: LabelledRun) -> Demographics | None:
    """Return the attributes of each part, None without any.

    Of numbers the median and the quartiles; of words images and their share of the recorded ones.
    """
    split = run.split
    parts = [part for part in ALL_PARTS if (split["part"] == part).any()]
    tables = [split[split["part"] == part] for part in parts]
    rows: list[tuple[str, bool, list[str]]] = []
    for name in attributes_of(run):
        words, names = banded(split[name])
        if not names:
            continue
        title = name.replace("_", " ")
        if is_numeric(split[name]):
            rows.append((f"{title}, median (quartiles)", False, [_quartiles(table[name]) for table in tables]))
        elif len(names) <= MOST:
            rows.append((title, False, ["" for _ in parts]))
            for value in names:
                cells = [_share(words[(split["part"] == part).to_numpy()], value) for part in parts]
                rows.append((value, True, cells))
        else:
            rows.append((f"{title}, different values", False, [_different(table[name]) for table in tables]))
        if (words == "").any():
            missing = [int((words[(split["part"] == part).to_numpy()] == "").sum()) for part in parts]
            rows.append(("not recorded", True, [count(number) for number in missing]))
    return Demographics(parts, rows) if rows else None


def _box(name: str, table: pd.DataFrame) -> Box:
    return Box(name, len(table), table["group"].nunique())


def _quartiles(values: pd.Series) -> str:
    numbers = pd.to_numeric(values.str.strip(), errors="coerce").dropna()
    if numbers.empty:
        return ratio(None)
    low, middle, high = (f"{edge:.4g}" for edge in np.quantile(numbers, [0.25, 0.5, 0.75]))
    return f"{middle} ({low} to {high})"


def _share(words: NDArray[np.str_], value: str) -> str:
    recorded, images = int((words != "").sum()), int((words == value).sum())
    return f"{count(images)} ({percent(images / recorded)})" if recorded else ratio(None)


def _different(values: pd.Series) -> str:
    return count(values[values.str.strip() != ""].nunique())
