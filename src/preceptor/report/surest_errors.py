"""The errors that a network is surest of: the images to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.report.network_predictions import NetworkPredictions, class_words

SHOWN = 8


@dataclass(frozen=True)
class SureError:
    """A test image with its true and its predicted class in full words.

    Attributes:
        confidence: probability of the predicted class.
        own: probability of the true class.
        shared: how many networks of the report make this very error.
    """

    id: str
    target: str
    predicted: str
    confidence: float
    own: float
    shared: int


def surest_errors(networks: Sequence[NetworkPredictions]) -> list[tuple[NetworkPredictions, int, list[SureError]]]:
    """Return of each network how many test images it gets wrong, and the errors it is surest of.

    At most one error a group (lesion, patient) is shown.
    """
    errors = [_errors(network) for network in networks]
    return [(network, len(rows), _shown(network, rows, errors)) for network, rows in zip(networks, errors, strict=True)]


Errors = dict[str, tuple[int, int]]  # image → true and predicted class


def _errors(network: NetworkPredictions) -> Errors:
    test = network.test
    predicted = test.probabilities.argmax(axis=1)
    rows = np.flatnonzero(predicted != test.targets)
    rows = rows[np.argsort(-test.probabilities[rows].max(axis=1), kind="stable")]
    return {str(test.ids[row]): (int(test.targets[row]), int(predicted[row])) for row in rows}


def _shown(network: NetworkPredictions, errors: Errors, all_errors: Sequence[Errors]) -> list[SureError]:
    test, run = network.test, network.entry.run
    words = list(class_words(run).values())
    place = {str(name): row for row, name in enumerate(test.ids)}
    shown: dict[str, SureError] = {}
    for name, (target, predicted) in errors.items():
        row = place[name]
        if len(shown) < SHOWN and test.groups[row] not in shown:
            shared = sum(other.get(name) == (target, predicted) for other in all_errors)
            chances = test.probabilities[row]
            shown[test.groups[row]] = SureError(
                name, words[target], words[predicted], float(chances[predicted]), float(chances[target]), shared
            )
    return list(shown.values())
