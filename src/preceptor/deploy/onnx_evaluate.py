"""An exported network on labelled images: the figures that a run has, measured on ONNX Runtime. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.images import read_image
from preceptor.deploy.measure import measured
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.evaluation.masks import MaskMeter
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

EXPORTED = "exported"  # what the network is called in predictions.csv


def evaluate_export(
    model: OnnxModel,
    catalog: Catalog,
    rows: NDArray[np.int64] | None = None,
    *,
    part: str,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure an exported network from the image files on.

    Masks are compared at the network's size, as a run's are.

    Args:
        model: the export.
        catalog: the data.
        rows: of the catalog; unless given, all that have a label (of masks: all).
        part: what these images are called in the predictions.
        cache: where decoded masks are kept.
        progress: told after each image.

    Returns:
        Figures as in ``metrics.json``, and the rows of ``predictions.csv``.

    Raises:
        PreceptorError: other classes than the network's, or an image that cannot be read.
    """
    task = TASKS[model.manifest.task]
    classes = task.classes_to_measure(catalog)
    if classes != model.classes:
        raise PreceptorError(
            f"the export predicts {', '.join(model.classes)}; {catalog.name} has {', '.join(classes)}",
            expected="data with the network's classes, in the same order",
        )
    if rows is None:
        rows = np.flatnonzero(catalog.labelled | model.draws_masks)
    ids = catalog.table["id"].iloc[rows].tolist()
    meter, truth = None, None
    if model.draws_masks:
        meter = MaskMeter(classes)
        truth = open_pixels(catalog, model.manifest.image_size, masks=True, directory=cache).masks
    probabilities = []
    for row in rows.tolist():
        outputs = model.run(read_image(catalog.path(row))[None])
        scores = outputs["probabilities"][0]
        if meter is None or truth is None:
            probabilities.append(scores.astype(np.float64))
        else:
            meter.update_arrays(scores.argmax(0), truth[row])
        if progress:
            progress(1)
    if meter is not None:
        return meter.result(), meter.rows(ids, part=part, network=EXPORTED)
    scores = np.stack(probabilities)
    if task.target == "class":
        scores /= scores.sum(1, keepdims=True)  # float32 rounding
    return measured(task.name, task.targets(catalog)[rows], scores, classes, ids, part=part, network=EXPORTED)
