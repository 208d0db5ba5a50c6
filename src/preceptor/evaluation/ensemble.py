"""What several networks say together: of each class the largest probability that any of them gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def with_ensembles(
    probabilities: Mapping[str, np.ndarray], ensembles: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """The probabilities of networks, and after them those of ensembles whose members are all there.

    The class-wise maximum (Niyaz et al. 2024), divided by its sum, which leaves the predicted class as it is and makes
    probabilities of it.

    Args:
        probabilities: (N, C) of each network.
        ensembles: the members of each.
    """
    joint = {}
    for name, members in ensembles.items():
        if all(member in probabilities for member in members):
            most = np.max([probabilities[member] for member in members], axis=0)
            joint[name] = most / most.sum(axis=1, keepdims=True)
    return {**probabilities, **joint}
