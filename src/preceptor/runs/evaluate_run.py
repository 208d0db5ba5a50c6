"""After the last epoch: the selected networks, their files, and the one look at the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.data.batches import Loader
from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.split import UNLABELLED_PART
from preceptor.evaluation.array_files import RELATIONS
from preceptor.evaluation.cost import cost_of, cost_of_all
from preceptor.evaluation.evaluate import Evaluation, best_device
from preceptor.evaluation.grouped_classes import group_metrics
from preceptor.evaluation.predictions import write_predictions
from preceptor.networks.build import AnyNetwork
from preceptor.networks.kinds import Network
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.network_file import save_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.runs.artifacts import write_artifacts
from preceptor.runs.directory import Run
from preceptor.runs.schema import FORMAT, Metrics
from preceptor.runs.worker import best_networks, load_parts
from preceptor.tasks import TASKS
from preceptor.training.checkpoint import Progress
from preceptor.training.loop import LAST_EPOCHS
from preceptor.utils.files import sha256_of


def finish(run: Run, cache: Path | None, trained: dict[str, AnyNetwork] | None = None) -> None:
    """Writes each network's file, ``predictions.csv`` and, last, ``metrics.json``, with which the run is finished."""
    recipe, catalog = run.recipe, run.catalog()
    device = best_device()
    networks = {
        name: network.to(device)
        for name, network in best_networks(run, recipe, catalog, trained).items()
        if not recipe.networks[name].gives_features  # which has no classes, hence nothing to be tested
    }
    loaders = load_parts(run, recipe, catalog, cache, device)
    results: dict[str, dict[str, Any]] = {name: {} for name in (*networks, *recipe.ensembles)}
    frames = []
    relations: dict[str, Any] = {}
    for part in [name for name in ("validation", "test") if name in loaders]:
        ids = catalog.table["id"].iloc[loaders[part].part].tolist()
        evaluation = evaluate_part(recipe, networks, loaders[part], ids, TASKS[recipe.task].classes(catalog), part)
        frames += evaluation.predictions
        for name, metrics in evaluation.metrics.items():
            results[name][part] = metrics
        if part == "test" and evaluation.relations is not None:
            relations = evaluation.relations.plain()
            evaluation.relations.write_matrices(ids, run.path / RELATIONS)
        if part == "test":
            write_artifacts(run.path, recipe, networks, loaders[part], ids, evaluation)
    progress = run.checkpoints.progress()
    if recipe.protocol == "paper":
        _mean_of_last_epochs(results, progress.history)
    write_predictions(frames, run.path / "predictions.csv")
    save_networks(run, recipe, networks, {name: parts["test"] for name, parts in results.items()})
    measured = {
        "parts": {**{part: len(loader) for part, loader in loaders.items()}, **_trained_on(run, recipe)},
        **_masks_cut(loaders["test"].pixels),
        "networks": {
            name: described
            | results[name]
            | ({"relations": relations[name]} if name in relations else {})
            | ({"selected_epoch": progress.best_each[name][1]} if name in progress.best_each else {})
            | ({"temperature": fitted} if (fitted := progress.history[-1].get(f"temperature/{name}")) else {})
            | ({"sha256": sha256_of(file)} if (file := run.network_file(name)).is_file() else {})
            for name, described in _described(run, recipe, networks).items()
        },
    }
    run.write_metrics(Metrics.model_validate(_metrics(recipe, catalog, progress) | measured))


def _trained_on(run: Run, recipe: Recipe) -> dict[str, int]:
    """Return how many labelled and unlabelled images a run was trained on, if it was trained on both."""
    if not recipe.unlabelled:
        return {}
    counts = run.split["part"].value_counts()
    return {"train": int(counts["train"]), UNLABELLED_PART: int(counts.get(UNLABELLED_PART, 0))}


def _masks_cut(pixels: Pixels) -> dict[str, int]:
    """How many masks of the data set, of all parts, were cut at half; of a classification nothing."""
    return {} if pixels.smeared is None else {"masks_cut_at_half": int(pixels.smeared.sum())}


def evaluate_part(
    recipe: Recipe,
    networks: Mapping[str, AnyNetwork],
    loader: Loader,
    ids: list[str],
    classes: Sequence[str],
    part: str,
) -> Evaluation:
    """Return metrics and predictions of the networks and ensembles of a recipe on a part."""
    task = TASKS[recipe.task]
    evaluation = task.evaluate(
        networks, loader, ids, classes, part, ensembles=recipe.ensembles, references=recipe.references
    )
    for table in evaluation.predictions if recipe.class_groups else []:
        targets, scores = task.metric_cases(table, classes)
        groups = group_metrics(targets, scores, classes, recipe.class_groups)
        evaluation.metrics[table["network"].iloc[0]]["class_groups"] = groups
    return evaluation


def role(network: NetworkConfig) -> str:
    """What a network is in its recipe."""
    if network.frozen == "backbone":
        return "head trained"
    if network.frozen == "features":
        return "classifier trained"
    return "mean teacher" if network.mean_of else "frozen teacher" if network.frozen else "trained"


def _describe(run: Run, recipe: Recipe, name: str, network: AnyNetwork) -> dict[str, Any]:
    plain = _plain(network)
    return {
        "role": role(recipe.networks[name]),
        "backbone": plain.architecture.backbone,
        "start": run.environment.starts[name],
        "cost": cost_of(plain, recipe.image_size),
    }


def _described(run: Run, recipe: Recipe, networks: dict[str, AnyNetwork]) -> dict[str, dict[str, Any]]:
    """Of each network and ensemble: what it is and what it costs."""
    described = {name: _describe(run, recipe, name, network) for name, network in networks.items()}
    for name, members in recipe.ensembles.items():
        of_members = [described[member] for member in members]
        described[name] = {
            "role": "ensemble",
            "backbone": " + ".join(members),
            "start": "",
            "cost": cost_of_all([cost["cost"] for cost in of_members]),
        }
    return described


def _plain(network: AnyNetwork, headed: bool = False) -> Network:
    plain = network.network if isinstance(network, MeanTeacher) else network
    return plain if headed else plain.for_inference()


def save_networks(
    run: Run, recipe: Recipe, networks: Mapping[str, AnyNetwork], tested: Mapping[str, dict[str, Any]]
) -> None:
    """Writes the file of each network, with its figures on the test part where there are some, and the run's mark.

    Frozen networks have a file in the run that trained them.
    """
    data, mark = run.environment.data, run.environment.marked
    for name, network in networks.items():
        if recipe.networks[name].has_own_file:
            about = {
                "network": name,
                "recipe": recipe.name,
                "paper": recipe.paper,
                "data": {key: getattr(data, key) for key in ("name", "fingerprint", "fold", "folds")},
                "test": {key: value for key, value in tested.get(name, {}).items() if isinstance(value, float)},
                **({"marked": mark} if mark else {}),
            }
            headed = recipe.networks[name].frozen == "backbone"  # its head is what this run is about
            save_network(_plain(network, headed), run.network_file(name), about)


def _mean_of_last_epochs(results: dict[str, Any], history: list[dict[str, float]]) -> None:
    """Puts the mean of the last epochs in the place of the scalars; the rest is the last epoch's."""
    for name, parts in results.items():
        for key, value in parts["test"].items():
            column = f"test/{name}/{key}"
            rows = [row[column] for row in history[-LAST_EPOCHS:] if column in row]
            if isinstance(value, float) and rows:
                parts["test"][key] = float(np.mean(rows))


def _metrics(recipe: Recipe, catalog: Catalog, progress: Progress) -> dict[str, Any]:
    paper = recipe.protocol == "paper"
    return {
        "format": FORMAT,
        "task": recipe.task,
        "protocol": recipe.protocol,
        "classes": list(TASKS[recipe.task].classes(catalog)),
        "epochs": recipe.epochs,
        "epochs_run": progress.epoch,
        "selected_epoch": None if paper or progress.best_each else progress.best_epoch,
        "selected_by": None if paper else f"validation/{' + '.join(recipe.select.networks)}/{recipe.select.metric}",
        "mean_of_last_epochs": min(LAST_EPOCHS, progress.epoch) if paper else None,
        "early_stopped": progress.epoch < recipe.epochs,
        "training_seconds": round(progress.seconds, 1),
    }
