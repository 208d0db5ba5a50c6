"""The errors that a network is surest of: the images to look at first."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preceptor.evaluation.array_files import ERRORS
from preceptor.evaluation.map_size import coarseness, in_cells, shows_places
from preceptor.report.arrays import again, read_arrays
from preceptor.report.entries import Entry
from preceptor.report.gallery import encode
from preceptor.report.heat_map import overlay
from preceptor.report.network_predictions import NetworkPredictions, class_words
from preceptor.utils.errors import PreceptorError

SHOWN = 8


@dataclass(frozen=True)
class SureError:
    """A test image with its true and its predicted class in full words.

    Attributes:
        confidence: probability of the predicted class.
        own: probability of the true class.
        shared: how many networks of the report make this very error.
        picture, map: the image, and its Grad-CAM for the predicted class, as JPEGs in base64; empty where the run keeps
            none.
        grain: a sentence on what the map cannot show, or on why there is none; empty where there is nothing to say.
    """

    id: str
    target: str
    predicted: str
    confidence: float
    own: float
    shared: int
    picture: str = ""
    map: str = ""
    grain: str = ""


def surest_errors(
    networks: Sequence[NetworkPredictions], *, pictures: bool = True
) -> list[tuple[NetworkPredictions, int, list[SureError]]]:
    """Return of each network how many test images it gets wrong, and the errors it is surest of.

    At most one error per group (lesion, patient) is shown.

    Args:
        pictures: whether to show those that runs keep of their own test part.

    Raises:
        PreceptorError: a run's file of pictures is broken.
    """
    errors = [_errors(network) for network in networks]
    return [
        (network, len(rows), _shown(network, rows, errors, pictures))
        for network, rows in zip(networks, errors, strict=True)
    ]


Errors = dict[str, tuple[int, int]]  # image → true and predicted class


def _errors(network: NetworkPredictions) -> Errors:
    test = network.test
    predicted = test.probabilities.argmax(axis=1)
    rows = np.flatnonzero(predicted != test.targets)
    rows = rows[np.argsort(-test.probabilities[rows].max(axis=1), kind="stable")]
    return {str(test.ids[row]): (int(test.targets[row]), int(predicted[row])) for row in rows}


def _shown(
    network: NetworkPredictions, errors: Errors, all_errors: Sequence[Errors], with_pictures: bool
) -> list[SureError]:
    test, run = network.test, network.entry.run
    words = list(class_words(run).values())
    place = {str(name): row for row, name in enumerate(test.ids)}
    shown: dict[str, SureError] = {}
    pictures = _pictures(network.entry) if with_pictures else {}
    for name, (target, predicted) in errors.items():
        row = place[name]
        if len(shown) < SHOWN and test.groups[row] not in shown:
            shared = sum(other.get(name) == (target, predicted) for other in all_errors)
            chances = test.probabilities[row]
            shown[test.groups[row]] = SureError(
                name, words[target], words[predicted], float(chances[predicted]), float(chances[target]), shared,
                *pictures.get(name, ("", "", "")),
            )  # fmt: skip
    return list(shown.values())


def _pictures(entry: Entry) -> dict[str, tuple[str, str, str]]:
    """Return image, map and what to say of it of each error that a run keeps of a network, by id."""
    path = entry.run.path / ERRORS
    arrays = read_arrays(path, ("ids", "networks", "images", "maps"))
    if arrays is None:
        return {}
    rows = np.flatnonzero(arrays["networks"] == entry.name)
    try:
        cells = arrays.get("cells")  # which runs of before did not keep
        pictures = {
            str(arrays["ids"][row]): (
                *_encoded(arrays["images"][row], arrays["maps"][row]),
                "" if cells is None else _sentence(*cells[row].tolist()),
            )
            for row in rows
        }
    except (OSError, IndexError, ValueError) as error:
        raise PreceptorError(f"{path} does not fit the run ({error})", remedy=again(path)) from None
    return pictures


def _sentence(height: int, width: int) -> str:
    if not height:
        return "No Grad-CAM: this network's scores do not come from its last feature map."
    size = f"the map of the last stage has {in_cells(height, width)}"
    if not shows_places(height, width):
        return f"No Grad-CAM: {size}, too few to show a place; networks trained at a larger image_size have more."
    return f"Of Grad-CAM: {size}{end}." if (end := coarseness(height, width)) else ""


def _encoded(jpeg: bytes, cells: NDArray[np.uint8]) -> tuple[str, str]:
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return encode(picture), encode(overlay(picture, (cells / 255).astype(np.float32))) if cells.any() else ""
