"""Frequent, medium and rare classes of a long-tailed data set."""

from __future__ import annotations

from torch import Tensor


def frequency_groups(class_counts: Tensor) -> list[Tensor]:
    """Indices of head, medium and tail classes: a third of the classes each (33 % to head and tail), by their counts.

    Groups without a class are left out.

    >>> import torch
    >>> [group.tolist() for group in frequency_groups(torch.tensor([5, 100, 40, 1, 60, 20, 10]))]
    [[1, 4], [2, 5, 6], [0, 3]]
    """
    order = class_counts.argsort(descending=True, stable=True)
    outer = round(0.33 * len(order))
    return [group for group in order.split([outer, len(order) - 2 * outer, outer]) if len(group)]
