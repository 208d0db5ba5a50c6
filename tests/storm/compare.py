"""What differs between the folders of two runs, times aside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tests.storm.counts import Counts

#: Columns and keys that hold a time.
TIMES = {"seconds", "training_seconds", "latency_ms", "started", "command", "created"}
#: Files of which only the presence is compared: pages, logs and data bases hold times between other things.
_PRESENT = (".html", ".log", ".db", ".sqlite", ".md", ".tex", ".lock")


def files_of(folder: Path) -> dict[str, Path]:
    """The files below a folder by their name in it; TensorBoard's, whose names hold a time, as one."""
    names = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock":
            name = str(path.relative_to(folder))
            names[re.sub(r"events\.out\.tfevents.*", "events", name)] = path
    return names


def count_differences(wanted: Mapping[str, Path], present: Mapping[str, Path], counts: Counts, where: str) -> int:
    """Note files of one name that differ; return how many.

    Args:
        where: for the note, with ``{}`` for the file and what differs.
    """
    wrong = 0
    for name in wanted.keys() & present.keys():
        if places := differences(wanted[name], present[name]):
            counts.fault("bits that differ", where.format(f"{name}: {', '.join(places[:4])}"))
            wrong += 1
    return wrong


def differences(path: Path, other: Path) -> list[str]:
    """What differs in a file, in words; empty where nothing does."""
    if path.suffix == ".pt":
        return _of_values(_plain_state(path), _plain_state(other))
    if path.suffix == ".json":
        return _of_values(_read_json(path), _read_json(other))
    if path.suffix == ".csv":
        return _of_values(_table(path), _table(other))
    if path.suffix == ".npz":
        return _of_values(_arrays(path), _arrays(other))
    if "tfevents" in path.name:
        return _of_values(_scalars(path.parent), _scalars(other.parent))
    if path.suffix in _PRESENT:
        return []
    return [] if path.read_bytes() == other.read_bytes() else ["bytes"]


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings and lists with their places, without those that are times."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in TIMES:
                yield from leaves(part, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from leaves(part, f"{place}/{index}")
    else:
        yield place, value


def equal(value: Any, other: Any) -> bool:
    """Whether two values are the same, tensors and arrays bit for bit."""
    if isinstance(value, torch.Tensor):
        return isinstance(other, torch.Tensor) and value.dtype == other.dtype and _same(value.numpy(), other.numpy())
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and value.dtype == other.dtype and _same(value, other)
    return bool(value == other) or (value != value and other != other)


def _same(value: np.ndarray, other: np.ndarray) -> bool:
    return value.shape == other.shape and value.tobytes() == other.tobytes()


def _of_values(value: Any, other: Any) -> list[str]:
    first, second = dict(leaves(value)), dict(leaves(other))
    places = [*first, *(place for place in second if place not in first)]
    return [
        place for place in places if place not in first or place not in second or not equal(first[place], second[place])
    ]


def _plain_state(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _table(path: Path) -> Any:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.drop(columns=TIMES, errors="ignore").to_dict("list")


def _arrays(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _scalars(folder: Path) -> Any:
    """What TensorBoard shows of a folder: by tag and step, the last value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.rsplit("/", 1)[-1] not in TIMES]
    return {tag: {str(event.step): event.value for event in events.Scalars(tag)} for tag in tags}
