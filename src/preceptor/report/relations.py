"""Similarity matrices of embeddings, one per network, on one colour scale."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from preceptor.evaluation.array_files import RELATIONS
from preceptor.report.arrays import again, read_arrays
from preceptor.report.canvas import Figure
from preceptor.report.entries import Entry
from preceptor.report.network_predictions import class_words
from preceptor.utils.errors import PreceptorError

LEVELS = 64  # of the colour scale: finer ones are invisible and enlarge the page
SPREAD = (1, 99)  # percentiles of the similarities between the ends of the scale
_HEAT = matplotlib.colormaps["magma"]
# In units of the drawing: side of the matrix, least distance of two names, height and width of a letter.
_SIDE, _LINE, _TEXT, _LETTER = 240, 11, 10, 5.6
_LETTERS = 24  # of a class name that are drawn


@dataclass(frozen=True)
class Matrix:
    """The similarities (M, M) of one network on a sample of the test part, with the class of each row."""

    entry: Entry
    labels: NDArray[np.int64]
    similarity: NDArray[np.floating]

    @property
    def between(self) -> NDArray[np.floating]:
        """Of distinct images."""
        return self.similarity[~np.eye(len(self.labels), dtype=bool)]


@dataclass(frozen=True)
class RelationSection:
    """Matrices of all networks on one scale.

    Attributes:
        figures: one per network.
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
    matrices = [matrix for entry in entries if (matrix := _read(entry)) is not None]
    if not matrices:
        return None
    low, high = _scale(matrices)
    colours = (f"rgb({', '.join(map(str, _colour(step / 8)))})" for step in range(9))
    return RelationSection(
        figures=[_figure(matrix, low, high) for matrix in matrices],
        low=low,
        high=high,
        scale=", ".join(colours),
        images=sorted({len(matrix.labels) for matrix in matrices}),
    )


def _scale(matrices: Sequence[Matrix]) -> tuple[float, float]:
    """Return percentiles of the similarities of all matrices together."""
    between = np.concatenate([matrix.between for matrix in matrices])  # numbers as narrow as in the files
    if not len(between):
        return 0.0, 1.0
    places = (len(between) - 1) * (np.array(SPREAD) / 100)
    ends = [(math.floor(place), math.ceil(place)) for place in places]
    between.partition(sorted({end for pair in ends for end in pair}))
    pairs = (between[list(pair)].astype(np.float64) for pair in ends)  # whose share between them numpy finds
    low, high = (float(np.quantile(pair, place % 1)) for pair, place in zip(pairs, places, strict=True))
    return low, high


def _read(entry: Entry) -> Matrix | None:
    path = entry.run.path / RELATIONS
    held = read_arrays(path, ("classes", "labels", "networks", "similarity"))
    if held is None:
        return None
    networks = [str(name) for name in held["networks"]]
    if entry.name not in networks:
        return None
    similarity = held["similarity"][networks.index(entry.name)].copy()  # without those of the others
    labels = held["labels"]
    if [str(name) for name in held["classes"]] != entry.run.classes or similarity.shape != (len(labels), len(labels)):
        raise PreceptorError(f"{path} does not fit the run", remedy=again(path))
    return Matrix(entry, labels, similarity)


def _figure(matrix: Matrix, low: float, high: float) -> Figure:
    entry = matrix.entry
    ratios = entry.result.relations or {}
    title = Markup("{}").format(entry.label)
    if ratios.get("r_d") is not None:
        title = Markup("{}: R<sub>d</sub> {:.2f}").format(entry.label, ratios["r_d"])
    note = ""
    if ratios.get("intra") is not None and ratios.get("inter") is not None:
        note = f"within classes {ratios['intra']:.3f}, between them {ratios['inter']:.3f}"
    return Figure(_drawing(matrix, low, high), title, note)


def _drawing(matrix: Matrix, low: float, high: float) -> Markup:
    classes, words = matrix.entry.run.classes, class_words(matrix.entry.run)
    picture = _picture(matrix.similarity.astype(np.float64), low, high)
    counts = np.bincount(matrix.labels, minlength=len(classes))
    ends = np.cumsum(counts) * _SIDE / max(len(matrix.labels), 1)
    middles = {row: float(ends[row] - counts[row] * _SIDE / len(matrix.labels) / 2) for row in np.flatnonzero(counts)}
    # Where there is no room for all names, those of the largest classes.
    named = sorted(sorted(middles, key=lambda row: -counts[row])[: _SIDE // _LINE])
    places = _apart([middles[row] for row in named])
    names = [name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…" for name in (classes[row] for row in named)]
    left = 18 + _LETTER * max(map(len, names), default=0)
    lines = [
        Markup('<path d="M{0:.1f} {1:.1f}L{2:.1f} {3:.1f}H{4:.1f}" fill="none" stroke="var(--rule)"/>').format(
            left - 14, place, left - 6, middles[row], left
        )
        for row, place in zip(named, places, strict=True)
    ]
    texts = [
        Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="end" fill="var(--faint)">{}<title>{}</title></text>').format(
            left - 17, place + _TEXT * 0.35, name, words[classes[row]]
        )
        for row, name, place in zip(named, names, places, strict=True)
    ]
    borders = "".join(f"M{left:.1f} {end:.1f}h{_SIDE}M{left + end:.1f} 0v{_SIDE}" for end in ends[:-1])
    return Markup(
        '<svg role="img" aria-label="Similarities of {label}" viewBox="0 -2 {width:.1f} {height}" font-size="{text}">'
        '<image x="{left:.1f}" width="{side}" height="{side}" style="image-rendering: pixelated" href="{picture}"/>'
        '<path d="{borders}" stroke="#fff" stroke-opacity=".35" stroke-width=".5"/>{lines}{texts}</svg>'
    ).format(
        label=matrix.entry.label, width=left + _SIDE, height=_SIDE + 4, text=_TEXT, left=left, side=_SIDE,
        picture=picture, borders=borders, lines=Markup("").join(lines),
        texts=Markup("").join(texts),
    )  # fmt: skip


def _picture(similarity: NDArray[np.float64], low: float, high: float) -> str:
    scaled = (similarity - low) / max(high - low, 1e-9)
    image = Image.fromarray((np.clip(scaled, 0, 1) * (LEVELS - 1)).round().astype(np.uint8), mode="P")
    image.putpalette([value for step in range(LEVELS) for value in _colour(step / (LEVELS - 1))])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _colour(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in _HEAT(share)[:3])
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
