"""What a run keeps of its test part for a report: masks on its images, its surest errors, how alike its layers are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from preceptor.data.batches import Loader
from preceptor.evaluation.array_files import ERRORS, LAYERS, OVERLAYS
from preceptor.evaluation.evaluate import Evaluation
from preceptor.evaluation.examples import ids_to_keep
from preceptor.evaluation.layers import compare_networks, write_layers
from preceptor.evaluation.overlays import write_overlays
from preceptor.evaluation.score_columns import classes_of
from preceptor.evaluation.sure_errors import write_sure_errors
from preceptor.networks.build import AnyNetwork
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.recipe import Recipe
from preceptor.tasks import TASKS


def write_artifacts(
    folder: Path,
    recipe: Recipe,
    networks: Mapping[str, AnyNetwork],
    loader: Loader,
    ids: list[str],
    evaluation: Evaluation,
    *,
    missing: bool = False,
) -> list[str]:
    """Writes ``layers.npz``, where there are several networks, and ``overlays.npz`` or, of classes, ``errors.npz``.

    Args:
        networks: on the loader's device.
        loader: of the test part.
        ids: of its images, in its order.
        evaluation: what the networks made of it.
        missing: leave files that the folder has as they are.

    Returns:
        The names of the files that it wrote.
    """
    kept = [name for name in (LAYERS, OVERLAYS, ERRORS) if missing and (folder / name).is_file()]
    written = []
    if LAYERS not in kept and (alike := compare_networks(networks, loader, recipe.reference)):
        write_layers(alike, folder / LAYERS)
        written.append(LAYERS)
    if TASKS[recipe.task].needs_masks and OVERLAYS not in kept:
        write_overlays(folder / OVERLAYS, ids_to_keep(ids), networks, loader, ids, recipe.ensembles)
        written.append(OVERLAYS)
    if TASKS[recipe.task].target == "class" and ERRORS not in kept:
        plain = {
            name: network.network if isinstance(network, MeanTeacher) else network for name, network in networks.items()
        }
        classes = classes_of(evaluation.predictions[0].columns.astype(str))
        write_sure_errors(folder / ERRORS, plain, loader, ids, evaluation.predictions, classes)
        written.append(ERRORS)
    return written
