"""Random fields that phantom lesions are drawn with. All arrays are float32 (S, S)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw


def cloud(rng: np.random.Generator, side: int, features: float, octaves: int = 3) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation near 1: random grids, each finer and weaker, added up.

    Args:
        rng: where the grids come from.
        side: S.
        features: number of blobs across the image in the coarsest grid.
        octaves: number of grids; each has twice the resolution and half the amplitude of the one before.
    """
    total = np.zeros((2, 2), np.float32)
    for octave in range(octaves):  # small grids throughout; only the sum is brought to full size
        cells = min(side, max(2, round(features * 2**octave)) + 2)
        total = _resized(total, cells) + rng.standard_normal((cells, cells), dtype=np.float32) / 2**octave
    total -= total.mean()
    return _resized(total / max(float(total.std()), 1e-6), side)


def _resized(field: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Cells:
    """Cellular noise (Worley 1996): where each pixel lies in a random mosaic.

    Attributes:
        centre: distance to the nearest seed, in spacings.
        edge: how much further the second nearest is; 0 on the border between two cells.
        tag: a number in [0, 1) that all pixels of a cell share.
    """

    centre: np.ndarray
    edge: np.ndarray
    tag: np.ndarray

    def discs(self, size: float, share: float) -> np.ndarray:
        """Soft discs of radius ``size`` (spacings) in a share of the cells, 0 … 1."""
        return np.clip((size - self.centre) / (0.5 * size), 0, 1) * (self.tag < share)

    def lines(self, width: float) -> np.ndarray:
        """Soft lines between the cells, 0 … 1."""
        return np.exp(-np.square(self.edge / width))


def mosaic(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, spacing: float, jitter: float = 0.85) -> Cells:
    """Cells around the nodes of a square lattice that are moved by up to half of ``jitter`` spacings.

    Args:
        rng: where the nodes come from.
        x, y: coordinates of each pixel, bent already where cells shall not be regular.
        spacing: lattice constant in the same unit.
        jitter: 0 is the lattice itself.
    """
    gx, gy = x / spacing, y / spacing
    gx, gy = gx - gx.min(), gy - gy.min()
    ix, iy = gx.astype(np.intp), gy.astype(np.intp)
    rows, columns = int(iy.max()) + 3, int(ix.max()) + 3
    node_x, node_y = 0.5 + jitter * (rng.random((2, rows * columns), dtype=np.float32) - 0.5)
    tags = rng.random(rows * columns, dtype=np.float32)
    corner, fx, fy = iy * columns + ix, gx - ix, gy - iy
    first = np.full(x.shape, 9.0, np.float32)
    second, tag = first.copy(), np.zeros_like(first)
    for dy in range(3):
        for dx in range(3):
            at = corner + (dy * columns + dx)
            square = np.square(node_x.take(at) + (dx - 1) - fx) + np.square(node_y.take(at) + (dy - 1) - fy)
            np.copyto(tag, tags.take(at), where=square < first)
            np.minimum(second, np.maximum(first, square), out=second)
            np.minimum(first, square, out=first)
    centre = np.sqrt(first)
    return Cells(centre, np.sqrt(second) - centre, tag)


def tree(rng: np.random.Generator, side: int, trunks: int, reach: float) -> np.ndarray:
    """Branching vessels that enter from around the middle and thin out, 0 … 1.

    Args:
        rng: where the walks come from.
        side: S.
        trunks: number of vessels that branch.
        reach: length of a trunk as a share of S.
    """
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    walks = []
    for _ in range(trunks):
        angle = rng.uniform(0, 2 * np.pi)
        start = side * (0.5 + 0.8 * reach * np.array([np.cos(angle), np.sin(angle)]))
        walks.append((start, angle + np.pi + rng.normal(0, 0.5), side * 0.016, side * reach))
    while walks:
        at, heading, width, left = walks.pop()
        points, step = [tuple(at)], side * 0.03
        while left > 0:
            heading += rng.normal(0, 0.28)
            at = at + step * np.array([np.cos(heading), np.sin(heading)])
            points.append(tuple(at))
            left -= step
            if width > side * 0.008 and rng.random() < 0.16:
                walks.append((at, heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0), width * 0.62, left * 0.7))
        draw.line(points, fill=255, width=max(1, round(width)), joint="curve")
    return np.asarray(image, np.float32) / 255
