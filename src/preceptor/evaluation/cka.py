"""How alike the layers of two networks represent images: centred kernel alignment, batch by batch.

T. Nguyen, M. Raghu, S. Kornblith, "Do Wide and Deep Networks Learn the Same Things?", ICLR 2021, section 3.1: the
unbiased estimator of HSIC (Song et al. 2012) of each batch with linear kernels, averaged over batches before the ratio
is taken. What is held does not grow with the data: of each layer one B×B Gram matrix at a time, and one sum for each
pair of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MOST_LAYERS = 16
LEAST_IMAGES = 4  # of a batch: the estimator divides by n - 3
_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class LayerSimilarity:
    """CKA of every layer of one network with every layer of another.

    Attributes:
        rows: layers of the one network, in the order in which they run.
        columns: layers of the other.
        values: (rows, columns), at most about one; near zero, and a little below, where layers have nothing in common.
            NaN where a layer says the same of every image.
        images: that were looked at.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    images: int


class CKAMeter:
    """Takes in the layers' activations of two networks batch by batch.

    The value does not change when the activations of a layer are rotated, shifted or scaled.
    """

    def __init__(self) -> None:
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None
        self._names: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._images = 0

    def update(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """Activations (B, …) of the same B ≥ 4 images by layer; the same layers every time.

        Raises:
            ValueError: no layer, layers that changed, fewer than four images, or numbers of images that differ.
        """
        self.update_grams(*({name: gram(value) for name, value in layers.items()} for layers in (one, other)))

    def update_grams(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """The same from Gram matrices (B, B), as :func:`gram` makes them."""
        names = (tuple(one), tuple(other))
        if not one or not other or self._names not in (None, names):
            raise ValueError(f"layers {names} after {self._names}; expected the same ones, and at least one of each")
        sizes = {value.shape for value in (*one.values(), *other.values())}
        if len(sizes) > 1 or min(sizes)[0] < LEAST_IMAGES:
            raise ValueError(
                f"Gram matrices {sorted(map(tuple, sizes))}; expected one size of {LEAST_IMAGES} images or more"
            )
        rows, columns = (torch.stack([_u_centred(value) for value in layers.values()]) for layers in (one, other))
        n = rows.shape[-1]
        flat_rows, flat_columns = rows.flatten(1) / (n * (n - 3)) ** 0.5, columns.flatten(1) / (n * (n - 3)) ** 0.5
        sums = flat_rows @ flat_columns.T, flat_rows.square().sum(1), flat_columns.square().sum(1)
        self._sums = sums if self._sums is None else tuple(a + b for a, b in zip(self._sums, sums, strict=True))  # type: ignore[assignment]
        self._names, self._images = names, self._images + n

    def result(self) -> LayerSimilarity:
        """CKA over the batches so far.

        Raises:
            ValueError: there was none.
        """
        if self._sums is None or self._names is None:
            raise ValueError("there is no batch to compare")
        cross, rows, columns = (value.cpu().numpy() for value in self._sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = cross / np.sqrt(rows[:, None] * columns[None, :])
        return LayerSimilarity(*self._names, np.where(np.isfinite(values), values, np.nan), self._images)


def gram(activations: Tensor) -> Tensor:
    """(B, B) float64: inner products of the images' activations (B, …), shifted by their mean.

    The estimator does not see the shift, and single precision is enough for what remains.
    """
    flat = activations.detach().flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    flat = flat - flat.mean(0)
    return (flat @ flat.T).double()


def _u_centred(kernel: Tensor) -> Tensor:
    """The kernel without its diagonal, rows and columns then shifted to sum to zero off it (Székely and Rizzo 2014).

    HSIC₁(K, L) = 1/(n(n-3))·(tr K̃L̃ + 1ᵀK̃1·1ᵀL̃1/((n-1)(n-2)) - 2/(n-2)·1ᵀK̃L̃1) (eq. 3) is the inner product of two of
    these over n(n-3).
    """
    n = len(kernel)
    empty = kernel - torch.diag(kernel.diagonal())
    rows = empty.sum(1, keepdim=True) / (n - 2)
    centred = empty - rows - rows.T + empty.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())


def layers_of(network: nn.Module, most: int = MOST_LAYERS) -> dict[str, nn.Module]:
    """Layers worth comparing, by their names: blocks, and single convolutions or linear layers that stand between them.

    A block is what a list of the network holds (a residual block, a transformer's layer, a decoder's block) and does
    not itself hold a list of blocks. Of more than ``most`` an even choice is taken, the first and the last among them.

    Raises:
        ValueError: fewer than two layers asked for, or none found.
    """
    if most < 2:
        raise ValueError(f"most is {most}; at least two layers were expected")
    blocks = dict(_blocks(network, ""))
    if not blocks:
        raise ValueError("the network has no convolution and no linear layer")
    names = list(blocks)
    chosen = sorted({round(place) for place in np.linspace(0, len(names) - 1, min(most, len(names)))})
    return {names[place]: blocks[names[place]] for place in chosen}


@contextmanager
def watch_layers(network: nn.Module, most: int = MOST_LAYERS) -> Iterator[dict[str, Tensor]]:
    """Fills a dictionary with the Gram matrix of each layer, in the order in which they run; to be cleared in between.

    See :func:`layers_of` for ``most``.
    """
    grams: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim > 1:
                grams[name] = gram(output)

        return hook

    layers = layers_of(network, most)
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        yield grams
    finally:
        for hook in hooks:
            hook.remove()


def _blocks(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, _LISTS) or _holds_blocks(module) or not name:
        for key, child in module.named_children():
            yield from _blocks(child, f"{name}.{key}" if name else key)
    elif _matrices(module):
        yield name, module


def _holds_blocks(module: nn.Module) -> bool:
    """Whether a list of blocks is among its parts, at any depth."""
    return any(
        isinstance(part, _LISTS) and any(_matrices(child) > 1 for child in part.children())
        for part in module.modules()
        if part is not module
    )


def _matrices(module: nn.Module) -> int:
    """Convolutions and linear layers, by their weights."""
    return sum(parameter.ndim > 1 for parameter in module.parameters())
