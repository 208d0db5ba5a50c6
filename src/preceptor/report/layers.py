"""Similarity of the layers of two networks (linear CKA) as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from preceptor.evaluation.array_files import LAYERS
from preceptor.report.arrays import read_arrays
from preceptor.report.canvas import Figure
from preceptor.report.entries import LabelledRun

# In units of the drawing: the map's side, room for names of networks, height and width of a letter.
_SIDE, _NETWORK, _TEXT, _LETTER = 240, 16, 10, 5.5
_LETTERS = 15  # of a layer's name that are shown
#: Prefixes that all layers share.
_IDLE = ("network.", "encoder.model.", "backbone.")


@dataclass(frozen=True)
class LayerSection:
    """The heat maps of one run, and the number of test images behind them."""

    run: LabelledRun
    images: int
    figures: list[Figure]


def layer_sections(runs: Sequence[LabelledRun]) -> list[LayerSection]:
    """The heat maps of each run that holds ``layers.npz``.

    Raises:
        PreceptorError: a run's file is broken.
    """
    sections = []
    for run in runs:
        held = read_arrays(run.path / LAYERS, ("pairs", "images"))
        if held is None:
            continue
        figures = [
            layer_heat_map(
                str(one), str(other), held[f"rows_{index}"].tolist(), held[f"columns_{index}"].tolist(),
                held[f"values_{index}"].astype(np.float64),
            )
            for index, (one, other) in enumerate(held["pairs"])
        ]  # fmt: skip
        sections.append(LayerSection(run, int(held["images"]), figures))
    return sections


def layer_heat_map(
    one: str, other: str, rows: Sequence[str], columns: Sequence[str], values: NDArray[np.float64]
) -> Figure:
    """Draw the CKA of every layer of one network with every layer of another; a deeper colour is more similar.

    Args:
        one: name of the network of the rows.
        other: name of the network of the columns.
        rows: its layers, in the order in which they run; drawn from below.
        columns: the other's, from the left.
        values: (rows, columns); below zero is drawn as zero, NaN as nothing.
    """
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    shown = short_names(rows), short_names(columns)
    room = max(len(name) for names in shown for name in names) * _LETTER + 8
    left, wide, tall = _NETWORK + room, _SIDE / len(columns), _SIDE / len(rows)
    cells = [
        Markup('<path d="M{:.4g} {:.4g}h{:.4g}v{:.4g}h-{:.4g}z" fill-opacity="{:.2g}"/>').format(
            left + column * wide, _SIDE - (row + 1) * tall, wide, tall, wide, value
        )
        for row, line in enumerate(np.clip(values, 0, 1))
        for column, value in enumerate(line)
        if value >= 0.005  # and not NaN
    ]
    names = [
        Markup('<text x="{:.4g}" y="{:.4g}" text-anchor="end">{}</text>').format(
            left - 4, _SIDE - (row + 0.5) * tall + _TEXT * 0.35, name
        )
        for row, name in enumerate(shown[0])
    ]
    names += [
        Markup('<text transform="translate({:.4g} {}) rotate(-90)" text-anchor="end">{}</text>').format(
            left + (column + 0.5) * wide + _TEXT * 0.35, _SIDE + 4, name
        )
        for column, name in enumerate(shown[1])
    ]
    networks = Markup(
        '<text transform="translate({} {}) rotate(-90)" text-anchor="middle">{}</text>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text>'
    ).format(_TEXT, _SIDE / 2, one, left + _SIDE / 2, left + _SIDE - 4, other)
    size = left + _SIDE
    drawing = Markup(
        '<svg role="img" aria-label="CKA of the layers of {} and {}" viewBox="0 -1 {} {}" font-size="{}">'
        '<g fill="var(--c1)" shape-rendering="crispEdges">{}</g>'
        '<path d="M{} 0h{}v{}h-{}z" fill="none" stroke="var(--rule)"/>'
        '<g fill="var(--faint)">{}</g><g fill="var(--ink)">{}</g></svg>'
    ).format(
        one, other, size + 1, size + 1, _TEXT, Markup("").join(cells), left, _SIDE, _SIDE, _SIDE,
        Markup("").join(names), networks,
    )  # fmt: skip
    return Figure(drawing, f"{one} and {other}", f"mean {mean:.2f}")


def short_names(layers: Sequence[str]) -> list[str]:
    """Shorten names of layers: without prefixes that all share (``encoder.model.``), cut where there is no room."""
    shortened = []
    for name in layers:
        for idle in _IDLE:
            name = name.removeprefix(idle)
        name = name.replace("blocks.", "")
        shortened.append(name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…")
    return shortened
