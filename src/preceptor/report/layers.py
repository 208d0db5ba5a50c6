"""A heat map of how alike the layers of two networks are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preceptor.report.canvas import FAINT, SERIES, Figure, sketch

_SIDE = 4.6  # inches
_MARGIN = 1.25  # inches on the left and below, for the names of layers


def layer_heat_map(
    one: str, other: str, rows: Sequence[str], columns: Sequence[str], values: NDArray[np.float64]
) -> Figure:
    """CKA of every layer of one network with every layer of another; the deeper the colour, the more alike.

    Args:
        one: name of the network of the rows.
        other: name of the network of the columns.
        rows: its layers, in the order in which they run; drawn from below.
        columns: the other's, from the left.
        values: (rows, columns); below zero is drawn as zero, NaN as nothing.
    """
    shown = np.clip(values, 0, 1)
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    with sketch(f"CKA of the layers of {one} and {other}", other, one, width=_SIDE, height=_SIDE) as drawing:
        axes = drawing.axes
        if axes.figure is not None:
            axes.figure.subplots_adjust(_MARGIN / _SIDE, _MARGIN / _SIDE, 0.98, 0.98)  # type: ignore[union-attr]
        axes.grid(False)
        for row, line in enumerate(shown):
            for column, value in enumerate(line):
                if np.isfinite(value):
                    axes.fill_between(
                        [column, column + 1], row, row + 1, color=SERIES[0], alpha=float(value), linewidth=0
                    )
        axes.set(xlim=(0, len(columns)), ylim=(0, len(rows)))
        axes.set_xticks(np.arange(len(columns)) + 0.5, short_names(columns), rotation=90, fontsize=7)
        axes.set_yticks(np.arange(len(rows)) + 0.5, short_names(rows), fontsize=7)
        if list(rows) == list(columns):
            axes.plot([0, len(rows)], [0, len(rows)], color=FAINT, linewidth=0.6)
    return Figure(drawing.svg, f"{one} and {other}", f"linear CKA from 0 (blank) to 1 (deepest), mean {mean:.2f}")


def short_names(layers: Sequence[str]) -> list[str]:
    """Names without what tells nothing: ``encoder.model.``, ``backbone.`` and ``blocks.``."""
    return [name.removeprefix("encoder.model.").removeprefix("backbone.").replace("blocks.", "") for name in layers]
