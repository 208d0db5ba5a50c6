"""Files of a finished run that are gone: which they are, and how they are written again without changing a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from preceptor.evaluation.evaluate import best_device
from preceptor.evaluation.predictions import write_predictions
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import evaluate_part, save_networks
from preceptor.runs.load_networks import finished_networks
from preceptor.runs.weights import checkpoints_of, own_networks
from preceptor.runs.worker import best_networks, load_parts
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of

_HISTORY, _PREDICTIONS = "history.csv", "predictions.csv"


def missing_outputs(run: Run) -> list[str]:
    """Files that reports and predictions need, that a finished run wrote, and that are gone."""
    names = [_HISTORY, *(run.network_file(name).name for name in own_networks(run)), _PREDICTIONS]
    return [name for name in names if not (run.path / name).is_file()]


def restore_outputs(run: Run, missing: Sequence[str], cache: Path | None) -> None:
    """Write files of a finished run again: history and networks from its checkpoints, predictions from its networks.

    ``metrics.json`` stays as it is, but for the checksum of a file that another version of Preceptor writes otherwise.

    Args:
        missing: their names (:func:`missing_outputs`).
        cache: where decoded images are kept.

    Raises:
        PreceptorError: there is no checkpoint to write one from; names each file. Nothing is written then.
    """
    _refuse_lost(run, missing)
    if _HISTORY in missing:
        run.write_history(run.checkpoints.progress().history)
    if networks := [name for name in own_networks(run) if run.network_file(name).name in missing]:
        _restore_networks(run, networks)
    if _PREDICTIONS in missing:
        _restore_predictions(run, cache)


def _refuse_lost(run: Run, missing: Sequence[str]) -> None:
    sources = {run.network_file(name).name: checkpoints_of(run, run.recipe, name) for name in own_networks(run)}
    sources |= {_HISTORY: [run.checkpoint], _PREDICTIONS: []}
    gone = {name: [source for source in sources[name] if not source.is_file()] for name in missing}
    lost = [name for name, files in gone.items() if files]
    if lost:
        checkpoints = " and ".join(dict.fromkeys(f"checkpoints/{file.name}" for name in lost for file in gone[name]))
        raise PreceptorError(
            f"{run.path}: is finished, but without {' and '.join(lost)}, and without {checkpoints} to write "
            f"{'it' if len(lost) == 1 else 'them'} from",
            expected="the files that the run wrote",
            remedy=f"copy {'it' if len(lost) == 1 else 'them'} back, or remove {run.path} and train the run again",
        )


def _restore_networks(run: Run, names: Sequence[str]) -> None:
    networks, metrics = best_networks(run, run.recipe, run.catalog(), names=names), run.metrics
    tested = {name: metrics.networks[name].test for name in names}
    save_networks(run, run.recipe, networks, tested)
    hashes = {name: sha256_of(run.network_file(name)) for name in names}
    changed = {
        name: metrics.networks[name].model_copy(update={"sha256": digest})
        for name, digest in hashes.items()
        if metrics.networks[name].sha256 not in (None, digest)  # the file's header names the version that wrote it
    }
    if changed:
        run.write_metrics(metrics.model_copy(update={"networks": {**metrics.networks, **changed}}))


def _restore_predictions(run: Run, cache: Path | None) -> None:
    loaded, lost = finished_networks(run)
    for name, reason in lost.items():
        raise PreceptorError(
            f"{run.path / _PREDICTIONS} is missing, and cannot be written again without {name}: {reason}",
            remedy=f"put the run that trained {name} back, or copy {_PREDICTIONS} back",
        )
    recipe, catalog, device = run.recipe, run.catalog(), best_device()
    networks = {name: network.to(device) for name, network in loaded.items()}
    loaders, classes = load_parts(run, recipe, catalog, cache, device), TASKS[recipe.task].classes(catalog)
    tables = []
    for part in [name for name in ("validation", "test") if name in loaders]:
        ids = catalog.table["id"].iloc[loaders[part].part].tolist()
        tables += evaluate_part(recipe, networks, loaders[part], ids, classes, part).predictions
    write_predictions(tables, run.path / _PREDICTIONS)
