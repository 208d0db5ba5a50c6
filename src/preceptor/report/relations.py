"""Similarity matrices of the networks' embeddings, side by side on one colour scale."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from preceptor.report.arrays import again, read_arrays
from preceptor.report.canvas import Figure
from preceptor.report.run import Entry
from preceptor.utils.errors import PreceptorError

FILE = "relations.npz"
LEVELS = 64  # of the colour scale: finer is not seen, and makes the page larger
SPREAD = (1, 99)  # percentiles of the similarities between the ends of the scale
_HEAT = matplotlib.colormaps["magma"]
# In units of the drawing: room for names on the left, the matrix, and the least distance of two names.
_LEFT, _SIDE, _LINE, _TEXT = 52, 240, 11, 10
_NAME = 9  # letters of a class name that fit beside the matrix


@dataclass(frozen=True)
class Matrix:
    """The similarities (M, M) of one network on a sample of the test part, with the class of each row."""

    entry: Entry
    labels: NDArray[np.int64]
    similarity: NDArray[np.float64]

    @property
    def between(self) -> NDArray[np.float64]:
        """Of distinct images."""
        return self.similarity[~np.eye(len(self.labels), dtype=bool)]


@dataclass(frozen=True)
class RelationSection:
    """What the template shows.

    Attributes:
        figures: one a network.
        low, high: similarities at the ends of the scale.
        scale: CSS colours from ``low`` to ``high``.
        images: of each sample; several numbers where runs differ.
    """

    figures: list[Figure]
    low: float
    high: float
    scale: str
    images: list[int]


def relation_section(entries: Sequence[Entry]) -> RelationSection | None:
    """The matrices of all networks whose runs hold them; None where no run does (see ``preceptor evaluate``).

    Raises:
        PreceptorError: a run's file is broken.
    """
    found = [matrix for entry in entries if (matrix := _read(entry)) is not None]
    if not found:
        return None
    between = np.concatenate([one.between for one in found])
    low, high = map(float, np.percentile(between, SPREAD)) if len(between) else (0.0, 1.0)
    colours = (f"rgb({', '.join(map(str, _colour(step / 8)))})" for step in range(9))
    return RelationSection(
        figures=[_figure(one, low, high) for one in found],
        low=low,
        high=high,
        scale=", ".join(colours),
        images=sorted({len(one.labels) for one in found}),
    )


def _read(entry: Entry) -> Matrix | None:
    path = entry.run.path / FILE
    held = read_arrays(path, ("classes", "labels", "networks", "similarity"))
    if held is None:
        return None
    networks = [str(name) for name in held["networks"]]
    if entry.name not in networks:
        return None
    similarity = held["similarity"][networks.index(entry.name)].astype(np.float64)
    labels = held["labels"]
    if [str(name) for name in held["classes"]] != entry.run.classes or similarity.shape != (len(labels), len(labels)):
        raise PreceptorError(f"{path} does not fit the run", remedy=again(path))
    return Matrix(entry, labels, similarity)


def _figure(matrix: Matrix, low: float, high: float) -> Figure:
    entry = matrix.entry
    said = entry.facts.get("relations") or {}
    title = Markup("{}").format(entry.label)
    if said.get("r_d") is not None:
        title = Markup("{}: R<sub>d</sub> {:.2f}").format(entry.label, said["r_d"])
    note = ""
    if said.get("intra") is not None and said.get("inter") is not None:
        note = f"within classes {said['intra']:.3f}, between them {said['inter']:.3f}"
    return Figure(_drawing(matrix, low, high), title, note)


def _drawing(matrix: Matrix, low: float, high: float) -> Markup:
    counts = np.bincount(matrix.labels, minlength=len(matrix.entry.run.classes))
    ends = np.cumsum(counts) * _SIDE / max(len(matrix.labels), 1)
    middles = {one: float(ends[one] - counts[one] * _SIDE / len(matrix.labels) / 2) for one in np.flatnonzero(counts)}
    # Where there is no room for all names, those of the largest classes.
    named = sorted(sorted(middles, key=lambda one: -counts[one])[: _SIDE // _LINE])
    places = _apart([middles[one] for one in named])
    names = [matrix.entry.run.classes[one] for one in named]
    lines = [
        Markup('<path d="M{0} {1:.1f}L{2} {3:.1f}H{4}" fill="none" stroke="var(--rule)"/>').format(
            _LEFT - 14, place, _LEFT - 6, middles[one], _LEFT
        )
        for one, place in zip(named, places, strict=True)
    ]
    words = [
        Markup('<text x="{}" y="{:.1f}" text-anchor="end" fill="var(--faint)">{}<title>{}</title></text>').format(
            _LEFT - 17, place + _TEXT * 0.35, name if len(name) <= _NAME else name[: _NAME - 1] + "…", name
        )
        for name, place in zip(names, places, strict=True)
    ]
    borders = "".join(f"M{_LEFT} {end:.1f}h{_SIDE}M{_LEFT + end:.1f} 0v{_SIDE}" for end in ends[:-1])
    return Markup(
        '<svg role="img" aria-label="Similarities of {label}" viewBox="0 -2 {width} {height}" font-size="{text}">'
        '<image x="{left}" width="{side}" height="{side}" style="image-rendering: pixelated" href="{picture}"/>'
        '<path d="{borders}" stroke="#fff" stroke-opacity=".35" stroke-width=".5"/>{lines}{words}</svg>'
    ).format(
        label=matrix.entry.label, width=_LEFT + _SIDE, height=_SIDE + 4, text=_TEXT, left=_LEFT, side=_SIDE,
        picture=_picture(matrix.similarity, low, high), borders=borders, lines=Markup("").join(lines),
        words=Markup("").join(words),
    )  # fmt: skip


def _picture(similarity: NDArray[np.float64], low: float, high: float) -> str:
    scaled = (similarity - low) / max(high - low, 1e-9)
    image = Image.fromarray((np.clip(scaled, 0, 1) * (LEVELS - 1)).round().astype(np.uint8), mode="P")
    image.putpalette([value for step in range(LEVELS) for value in _colour(step / (LEVELS - 1))])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _colour(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * one) for one in _HEAT(share)[:3])
    return red, green, blue


def _apart(middles: list[float]) -> list[float]:
    """Places for names, near their classes, in order, and nowhere closer than a line."""
    places = list(middles)
    for index in range(len(places)):  # downwards, each clear of the one above
        least = _LINE / 2 if index == 0 else places[index - 1] + _LINE
        places[index] = max(places[index], least)
    for index in reversed(range(len(places))):  # and back up from the lower edge
        most = _SIDE - _LINE / 2 if index == len(places) - 1 else places[index + 1] - _LINE
        places[index] = min(places[index], most)
    return places
