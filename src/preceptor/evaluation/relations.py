"""How much more alike a network finds two images of one class than two of different classes.

X. Xing et al. (CRCKD, MICCAI 2021) show similarity matrices of 256 images grouped by class and R_d, the mean similarity
within classes over that between them. The paper leaves open which similarity: here it is the cosine of embeddings
(what the classifier sees), and the means run over unordered pairs of distinct images, every pair counting once. R_d
is taken over all images of a part, which needs class sums alone; the matrix is of a sample.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from preceptor.data.batches import Batch
from preceptor.networks.output import NetworkOutput
from preceptor.utils.files import write_bytes
from preceptor.utils.randomness import seed_of

SAMPLE = 256  # images of a matrix, as in the paper
LEAST = 2  # of each class that has them: one image shows no similarity within its class


@dataclass(frozen=True)
class Relations:
    """Mean similarities of one network on some images.

    Attributes:
        intra: mean cosine, in [-1, 1], over pairs of one class; None when no class has two images.
        inter: the same over pairs of different classes; None when there is one class.
        images: how many images there were. One whose embedding is zero is similar to none (cosine 0).
    """

    intra: float | None
    inter: float | None
    images: int

    @property
    def r_d(self) -> float | None:
        """``intra / inter``; None where either does not exist, or ``inter`` is not positive."""
        if self.intra is None or self.inter is None or self.inter <= 0:
            return None
        return self.intra / self.inter

    def plain(self) -> dict[str, float | int | None]:
        """Ready for ``metrics.json``."""
        return {"r_d": self.r_d, "intra": self.intra, "inter": self.inter, "images": self.images}


class RelationMeter:
    """Takes in embeddings batch by batch; holds class sums and the embeddings of a sample, whatever N is.

    Args:
        classes: number of classes C.
        rows: of the part (not of the catalog), whose similarities to each other are wanted; in the order of the matrix.
    """

    def __init__(self, classes: int, rows: NDArray[np.int64]) -> None:
        self.classes = classes
        self._slots = {int(row): slot for slot, row in enumerate(rows)}
        self._kept = torch.empty(0)
        self._sums = self._squares = self._counts = torch.empty(0)

    def add(self, rows: Tensor, labels: Tensor, embeddings: Tensor) -> None:
        """Embeddings (B, D) of the part's rows (B,) with their labels (B,); each image once."""
        unit = F.normalize(embeddings.double(), dim=1)
        one_hot = F.one_hot(labels, self.classes).double()
        if not len(self._sums):
            self._kept = unit.new_zeros(len(self._slots), unit.shape[1])
            self._sums = unit.new_zeros(self.classes, unit.shape[1])
            self._squares = unit.new_zeros(())
            self._counts = unit.new_zeros(self.classes)
        self._sums += one_hot.T @ unit
        self._squares += unit.square().sum()
        self._counts += one_hot.sum(dim=0)
        chosen = [(i, self._slots[row]) for i, row in enumerate(rows.tolist()) if row in self._slots]
        if chosen:
            here, there = zip(*chosen, strict=True)
            self._kept[list(there)] = unit[list(here)]

    def relations(self) -> Relations:
        """Exact means over all pairs: Σ_{i≠j} uᵢ·uⱼ = ‖Σuᵢ‖² - Σ‖uᵢ‖² within a class, and likewise between classes."""
        counts, within = self._counts, self._sums.square().sum()
        images = counts.sum()
        pairs_within = float((counts * (counts - 1)).sum())
        pairs_between = float(images.square() - counts.square().sum())
        intra = float(within - self._squares) / pairs_within if pairs_within else None
        inter = float(self._sums.sum(dim=0).square().sum() - within) / pairs_between if pairs_between else None
        return Relations(intra, inter, int(images))

    def similarity(self) -> NDArray[np.float32]:
        """Cosines (M, M) of the sample."""
        return (self._kept @ self._kept.T).float().cpu().numpy()


class PartRelations:
    """The relations of several networks on one part; its ``watch`` is for :func:`predict_part`.

    Args:
        labels: (P,) class indices of the part's images.
        classes: the class names in the order of the indices.
    """

    def __init__(self, labels: ArrayLike, classes: Sequence[str]) -> None:
        self.labels, self.classes = np.asarray(labels, dtype=np.int64), tuple(classes)
        self.rows = sample_rows(self.labels, len(self.classes))
        self.meters: dict[str, RelationMeter] = {}

    def watch(self, network: str, batch: Batch, output: NetworkOutput) -> None:
        meter = self.meters.setdefault(network, RelationMeter(len(self.classes), self.rows))
        meter.add(batch.rows, batch.labels, output.embedding)

    def plain(self) -> dict[str, dict[str, float | int | None]]:
        """The figures by network, ready for ``metrics.json``."""
        return {name: meter.relations().plain() for name, meter in self.meters.items()}

    def write_matrices(self, ids: Sequence[str], path: Path) -> None:
        """Writes ``relations.npz`` (see :func:`write_matrices`); ``ids`` are those of the part's images."""
        matrices = {name: meter.similarity() for name, meter in self.meters.items()}
        write_matrices(matrices, [ids[row] for row in self.rows], self.labels[self.rows], self.classes, path)


def sample_rows(labels: ArrayLike, classes: int, size: int = SAMPLE) -> NDArray[np.int64]:
    """Rows of up to ``size`` images grouped by class, in the classes' natural proportions, two at least of each.

    Drawn by the labels alone: runs that share a test part have the same sample, and all networks of a run have.

    Args:
        labels: (N,) class indices.
        classes: how many classes there are.
        size: of the sample; all images where there are no more.

    Returns:
        (M,) distinct rows, M = min(N, size), class by class.
    """
    labels = np.asarray(labels, dtype=np.int64)
    draw = np.random.default_rng(seed_of("relations", len(labels), classes))
    wanted = _shares(np.bincount(labels, minlength=classes), size)
    chosen = [
        np.sort(draw.permutation(np.flatnonzero(labels == label))[:count])
        for label, count in enumerate(wanted.tolist())
    ]
    return np.concatenate(chosen).astype(np.int64)


def write_matrices(
    matrices: Mapping[str, NDArray[np.float32]],
    ids: Sequence[str],
    labels: ArrayLike,
    classes: Sequence[str],
    path: Path,
) -> None:
    """Writes one compressed file, whole or not at all.

    It holds ``classes`` (C,), ``ids`` (M,), ``labels`` (M,) class indices, ``networks`` (K,) and ``similarity``
    (K, M, M) as float16, which is finer than any picture of it.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        classes=np.array(list(classes), dtype=str),
        ids=np.array(list(ids), dtype=str),
        labels=np.asarray(labels, dtype=np.int64),
        networks=np.array(list(matrices), dtype=str),
        similarity=np.stack(list(matrices.values())).astype(np.float16),
    )
    write_bytes(path, buffer.getvalue())


def _shares(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many images of each class: two, then one by one to the class that is furthest behind (Sainte-Laguë)."""
    wanted = np.zeros_like(counts)
    for label in np.argsort(-counts, kind="stable"):  # where there are too many classes, the rarest go without
        wanted[label] = min(LEAST, counts[label], size - wanted.sum())
    for _ in range(min(size, int(counts.sum())) - int(wanted.sum())):
        behind = np.where(wanted < counts, counts / (2 * wanted + 1), -1.0)
        wanted[behind.argmax()] += 1
    return wanted
