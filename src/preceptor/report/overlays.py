"""Test images that a page shows with outlines: the same for all runs on one test part, chosen by their mean IoU."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from preceptor.evaluation.array_files import OVERLAYS
from preceptor.evaluation.examples import Case, choose_cases, ids_to_keep
from preceptor.report.arrays import again, read_arrays
from preceptor.report.canvas import Figure
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import capitalised, count, listed
from preceptor.report.outlines import COLUMNS, overlay
from preceptor.utils.errors import PreceptorError

_ARRAYS = ("ids", "images", "truth", "networks", "masks")


@dataclass(frozen=True)
class OverlaySection:
    """The same images with the masks of all networks of runs that share a test part.

    Attributes:
        about: which images these are.
        networks: how many are shown.
    """

    runs: list[LabelledRun]
    about: str
    figures: list[Figure]
    networks: int

    @property
    def wide(self) -> bool:
        """Whether an image needs the width of the page."""
        return self.networks + 1 not in COLUMNS


@dataclass(frozen=True)
class _File:
    """The contents of a run's file without its pixels."""

    run: LabelledRun
    ids: list[str]
    networks: list[str]

    @property
    def path(self) -> Path:
        return self.run.path / OVERLAYS


def overlay_sections(entries: Sequence[Entry]) -> list[OverlaySection]:
    """One for each test part (and image size) of which some runs hold ``overlays.npz``.

    Images are chosen by the mean IoU over all networks shown (:func:`preceptor.evaluation.examples.choose_cases`) among
    those that these runs keep.

    Raises:
        PreceptorError: a run's file is broken or not its own.
    """
    sharers: dict[tuple[str, Any], list[_File]] = {}
    for run in {entry.run.label: entry.run for entry in entries}.values():
        if file := _open(run):
            sharers.setdefault((run.split_hash, run.recipe.image_size), []).append(file)
    return [section for files in sharers.values() if (section := _section(files, entries))]


def _open(run: LabelledRun) -> _File | None:
    path = run.path / OVERLAYS
    arrays = read_arrays(path, _ARRAYS, only=("ids", "networks"))
    if arrays is None:
        return None
    file = _File(run, arrays["ids"].tolist(), arrays["networks"].tolist())
    tested = run.predictions.loc[run.predictions["part"] == "test", "id"].unique().tolist()
    if not set(file.networks) >= set(run.metrics.networks) or file.ids != ids_to_keep(tested):
        raise _foreign(path)
    return file


def _section(files: Sequence[_File], of_page: Sequence[Entry]) -> OverlaySection | None:
    """None where there is nothing to show: no target, no false positive."""
    runs = [file.run for file in files]
    entries = [entry for entry in of_page if entry.run.label in {run.label for run in runs}]
    kept = files[0].ids  # one test part, one choice
    rows = pd.concat([entry.predictions for entry in entries])
    cases = choose_cases(rows[rows["id"].isin(kept)])
    if not cases:
        return None
    about = _about(cases, len(entries)) + _among(len(kept), rows["id"].nunique())
    return OverlaySection(runs, about, _figures(files, entries, cases), len(entries))


def _about(chosen: Sequence[Case], networks: int) -> str:
    """A sentence on which images were chosen."""
    times = Counter(case.why for case in chosen)
    measure = "IoU" if networks == 1 else f"the mean IoU over the {networks} networks shown"
    ranked = [_several(times[why], why) for why in ("best", "median", "worst") if times[why]]
    choices = [f"the {listed(ranked)} by {measure}"] if ranked else []
    if times["small"]:
        choices.append(f"the {_several(times['small'], 'smallest')} of the other targets")
    if times["random"]:
        choices.append(f"{times['random']} of the rest at random")
    if times["false positive"]:
        choices.append(f"the {_several(times['false positive'], 'largest')} false positive")
    return f"Chosen: {listed(choices)}"


def _several(times: int, what: str) -> str:
    return what if times == 1 else f"{times} {what}"


def _among(candidates: int, tested: int) -> str:
    if candidates == tested:
        return f", of all {count(tested)} test images."
    return f", of {count(candidates)} of the {count(tested)} test images: a random sample, the same in all runs."


def _figures(files: Sequence[_File], entries: Sequence[Entry], cases: Sequence[Case]) -> list[Figure]:
    images, truth, masks = [], np.empty(0), {}
    for place, file in enumerate(files):  # one file in memory at a time
        arrays = _pixels(file)
        rows = [file.ids.index(case.id) for case in cases]
        if not place:
            images, truth = [_decoded(arrays["images"][row]) for row in rows], arrays["truth"][rows]
        for entry in entries:
            if entry.run.label == file.run.label:
                masks[entry.index] = arrays["masks"][file.networks.index(entry.name)][rows]
    return [
        overlay(
            f"{capitalised(case.why)}: {case.id}",
            images[row],
            truth[row],
            {entry.label: masks[entry.index][row] for entry in entries},
        )
        for row, case in enumerate(cases)
    ]


def _pixels(file: _File) -> dict[str, NDArray[Any]]:
    arrays = read_arrays(file.path, _ARRAYS)
    assert arrays is not None
    shape = (len(file.ids), *arrays["truth"].shape[1:])
    fits = arrays["truth"].shape == shape and arrays["masks"].shape == (len(file.networks), *shape)
    if not fits or len(arrays["images"]) != len(file.ids):
        raise _foreign(file.path)
    return arrays


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _foreign(path: Path) -> PreceptorError:
    return PreceptorError(f"{path} does not fit the run", remedy=again(path))
