"""A search for weights (or other settings) on the validation part. Nothing here can read the test part: the runs of a
search do not hold its images, so that there is no loader, no pixel and no prediction of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from preceptor.atomic import write_text
from preceptor.errors import PreceptorError
from preceptor.randomness import seed_of
from preceptor.recipe import Network, Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.study.space import Dimension, Value
from preceptor.study.tune_check import check_networks, check_trial, refuse_keys, refuse_unjudged
from preceptor.training.api import decoder
from preceptor.training.checkpoint import load_state
from preceptor.training.devices import launch
from preceptor.training.finish import save_networks
from preceptor.training.fit import best_networks, fit
from preceptor.training.prepare import Data, prepare, stage_recipe
from preceptor.training.run import Run

if TYPE_CHECKING:
    import optuna

_HOPELESS = 3  # trials that all failed: then it is not their values
SEARCH, STORE, BEST, TABLE, NOTE = "search.yaml", "trials.db", "best.yaml", "trials.csv", "trial.json"


@dataclass(frozen=True)
class Trial:
    """One set of values that was tried.

    Attributes:
        number: from 0 on.
        values: of the searched keys.
        value: of the selection metric in its best epoch; None of one that failed.
        epoch: the best one, from 1.
        epochs: how many there were.
        seconds: that it took.
        error: why it failed.
    """

    number: int
    values: dict[str, Value]
    value: float | None
    epoch: int | None
    epochs: int | None
    seconds: float
    error: str


@dataclass(frozen=True)
class Search:
    """What is searched, and where; the same again goes on where it was stopped.

    Attributes:
        recipe: a recipe's name or file.
        overrides: settings that stay as they are.
        space: what is tried.
        out: the folder of all that is written.
        seed: of the draws; the trials themselves all have the recipe's seed.
    """

    recipe: str
    overrides: Mapping[str, Any]
    space: Sequence[Dimension]
    data: Data
    out: Path
    seed: int = 0
    devices: int = 1
    cache: Path | None = None
    quiet: bool = True
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def stored(self) -> Path:
        return self.out / STORE

    def resolved(self, values: Mapping[str, Value]) -> Recipe:
        return resolve(self.recipe, {**self.overrides, **values})


def tune(search: Search, trials: int) -> list[Trial]:
    """Tries values until there are ``trials`` in all, those of earlier calls counted; writes ``best.yaml`` and
    ``trials.csv``.

    The first trial has the recipe's own values, where the space holds them. Which values a trial has depends on the
    seed, its number and the results before it, not on interruptions; one that was stopped goes on from its last epoch.
    Networks that are trained first (``trained_by``) are trained once for all trials that want them alike.

    Returns:
        All trials, the best first.

    Raises:
        PreceptorError: wrong keys or ranges, before anything is trained; a recipe without a validation part or a
            metric to select by; a folder of another search, or one in use; all trials failed, or
            the first three.
    """
    base = _check(search)
    search.out.mkdir(parents=True, exist_ok=True)
    with _alone(search.out):
        _same_search(search, base)
        study = _open(search, base)
        _go_on(search, study)
        while len(_ended(study)) < trials:
            number = len(study.trials) - len(_waiting(study))
            study.sampler = _sampler(search.seed, number)
            asked = study.ask({one.key: _distribution(one) for one in search.space})
            _try(search, study, asked.number, asked.params)
            _refuse_hopeless(_write(search, study), _HOPELESS)
        ranked = _write(search, study)
        _refuse_hopeless(ranked, 1)
        return ranked


def _check(search: Search) -> Recipe:
    """The recipe as it is; what can be wrong with keys, values and networks is found here."""
    if not search.space:
        raise PreceptorError(
            "there is nothing to search", expected="a key with a range, as in 'objectives.kl.weight=log(0.01,10)'"
        )
    refuse_keys(search.space)
    base = search.resolved({})
    refuse_unjudged(base)
    tried = [*_tried(search, base)]
    for said, recipe in tried:
        check_trial(said, recipe, base)
    check_networks([recipe for _, recipe in tried], search.data)
    return base


def _tried(search: Search, base: Recipe) -> Iterator[tuple[str, Recipe]]:
    """A trial's recipe for every end and every choice; its other keys as the recipe has them, where that is tried."""
    own = _own_values(search, base)
    others = {one.key: one.values[0] for one in search.space if not one.holds(own[one.key])}
    for one in search.space:
        for value in one.values:
            yield f"{one.key}={value}", search.resolved({**others, one.key: value})


@contextmanager
def _alone(out: Path):  # type: ignore[no-untyped-def]
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise PreceptorError(
            f"{out}: another search is at work here", remedy="wait for it, or choose another --out"
        ) from None


def _same_search(search: Search, base: Recipe) -> None:
    """Writes down what is searched, or compares it with what was."""
    data = search.data
    said = {
        "recipe": base.plain(),
        "space": {one.key: str(one) for one in search.space},
        "data": {
            "name": data.name,
            "root": str(data.root.resolve()) if data.root else None,
            "options": dict(data.options),
            "exclude": sorted(data.exclude),
            "fold": data.fold,
        },
        "seed": search.seed,
    }
    path = search.out / SEARCH
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    if not path.is_file():
        write_text(path, text)
        return
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    changed = [key for key in said if before.get(key) != yaml.safe_load(text)[key]]
    if changed:
        raise PreceptorError(
            f"--out {search.out}: holds a search with another {' and '.join(changed)}; see {path}",
            remedy="give the same recipe, ranges and data to go on with it, or choose another --out",
        )


def _open(search: Search, base: Recipe) -> optuna.Study:
    optuna = _optuna()
    study = optuna.create_study(
        storage=f"sqlite:///{search.stored}", study_name="search", direction="maximize", load_if_exists=True
    )
    own = _own_values(search, base)
    if not study.trials and all(one.holds(own[one.key]) for one in search.space):
        study.enqueue_trial(own)
    return study


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise PreceptorError("a search needs Optuna", remedy="pip install 'preceptor[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Every trial draws from a seed of its own, so that a search which was stopped goes on as it would have."""
    return _optuna().samplers.TPESampler(seed=seed_of(seed, "tune", number) % 2**32)


def _distribution(one: Dimension) -> optuna.distributions.BaseDistribution:
    kinds = _optuna().distributions
    if one.kind == "choice":
        return kinds.CategoricalDistribution(list(one.values))
    if one.kind == "int":
        return kinds.IntDistribution(*one.values)
    return kinds.FloatDistribution(*one.values, log=one.kind == "log")


def _own_values(search: Search, base: Recipe) -> dict[str, Any]:
    return {one.key: _own_value(search.recipe, base, one.key) for one in search.space}


def _own_value(source: str, base: Recipe, key: str) -> Any:
    """What the recipe says where nobody searches; None where it says nothing."""
    if source in RECIPES and key in RECIPES[source].arguments:
        return RECIPES[source].arguments[key].default
    here: Any = {**base.plain(), "objectives": {one.name: one.model_dump(by_alias=True) for one in base.objectives}}
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _go_on(search: Search, study: optuna.Study) -> None:
    """Ends the trials that were at work when the search was stopped."""
    states = _optuna().trial.TrialState
    for one in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        if one.params.keys() == {dimension.key for dimension in search.space}:
            _try(search, study, one.number, one.params)
        else:  # stopped while its values were drawn
            _note(search, one.number, error="stopped before it had values")
            study.tell(one.number, state=states.FAIL)


def _try(search: Search, study: optuna.Study, number: int, values: Mapping[str, Value]) -> None:
    found = _noted(search, number) or _attempt(search, number, values)
    if "error" in found:
        study.tell(number, state=_optuna().trial.TrialState.FAIL)
        search.say(f"trial {number}: failed: {found['error'].splitlines()[0]}")
        return
    study.tell(number, found["value"])
    said = "  ".join(f"{key}={one:.4g}" if isinstance(one, float) else f"{key}={one}" for key, one in values.items())
    search.say(f"trial {number}: {found['value']:.4f} in epoch {found['epoch']}  {said}")


def _attempt(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Trains a trial; whatever goes wrong is noted, and the traceback of what nobody foresaw goes to standard error."""
    began = time.perf_counter()
    try:
        return _train(search, number, values)
    except PreceptorError as error:
        said = str(error)
    except Exception as error:  # memory that one batch size needs, say: the other trials can still be trained
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
    return _note(search, number, error=said, seconds=time.perf_counter() - began)


def _folder(search: Search, number: int) -> Path:
    return search.out / "trials" / f"{number:04d}"


def _note(search: Search, number: int, **said: Any) -> dict[str, Any]:
    """Writes down how a trial ended."""
    write_text(_folder(search, number) / NOTE, json.dumps(said, indent=2) + "\n")
    return said


def _noted(search: Search, number: int) -> dict[str, Any]:
    path = _folder(search, number) / NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _train(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Trains one trial from wherever it stands: its value, best epoch, epochs and seconds. The weights are not kept."""
    run = Run(_folder(search, number))
    if not (run.path / "environment.json").is_file():
        _prepare(search, _with_stages(search, search.resolved(values)), run.path)
    launch(fit, run.recipe, search.devices, run.path, search.cache, search.quiet)
    progress = load_state(run.checkpoint)["progress"]
    found = _note(
        search, number, value=progress["best"], epoch=progress["best_epoch"], epochs=progress["epoch"],
        seconds=progress["seconds"],
    )  # fmt: skip
    shutil.rmtree(run.checkpoint.parent)
    return found


def _with_stages(search: Search, recipe: Recipe) -> Recipe:
    """The recipe, its networks that are to be trained first replaced by those that now are."""
    networks = dict(recipe.networks)
    for name, network in recipe.networks.items():
        if network.trained_by is not None:
            path = _stage(search, name, _with_stages(search, stage_recipe(recipe, name)))
            networks[name] = Network(run=str(path), frozen=network.frozen, projection=network.projection)
    return recipe.model_copy(update={"networks": networks})


def _stage(search: Search, name: str, recipe: Recipe) -> Path:
    """The run that trains a network first, on the training part of the search; once for all trials that want it."""
    key = hashlib.sha256(to_yaml(recipe).encode()).hexdigest()[:12]
    run = Run(search.out / "stages" / f"{name}-{key}")
    if any(run.path.glob("*.safetensors")):
        return run.path
    if not (run.path / "environment.json").is_file():
        _prepare(search, recipe, run.path)
    search.say(f"{name} is trained first, in {run.path}")
    launch(fit, run.recipe, search.devices, run.path, search.cache, search.quiet)
    save_networks(run, run.recipe, best_networks(run, run.recipe, run.catalog()), {})
    return run.path


def _prepare(search: Search, recipe: Recipe, path: Path) -> None:
    prepare(recipe, search.data, path, search.devices, decoder(search.cache, search.quiet), tested=False)


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [one for one in study.get_trials(deepcopy=False) if one.state.is_finished()]


def _waiting(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(_optuna().trial.TrialState.WAITING,))


def _write(search: Search, study: optuna.Study) -> list[Trial]:
    trials = [_told(search, one) for one in _ended(study)]
    write_text(search.out / TABLE, _table(search, trials))
    ranked = sorted(trials, key=lambda one: (one.value is None, -(one.value or 0.0), one.number))
    if ranked and ranked[0].value is not None:
        write_text(search.out / BEST, _best(search, ranked[0], len(trials)))
    return ranked


def _refuse_hopeless(trials: Sequence[Trial], least: int) -> None:
    if len(trials) >= least and all(one.value is None for one in trials):
        first = min(trials, key=lambda one: one.number)
        raise PreceptorError(f"all {len(trials)} trials failed; the first: {first.error}")


def _told(search: Search, one: optuna.trial.FrozenTrial) -> Trial:
    noted = _noted(search, one.number)
    seconds, error = float(noted.get("seconds", 0.0)), str(noted.get("error", ""))
    return Trial(one.number, dict(one.params), one.value, noted.get("epoch"), noted.get("epochs"), seconds, error)


def _best(search: Search, best: Trial, trials: int) -> str:
    recipe = search.resolved(best.values)
    fold = search.data.fold
    judged = f"validation/{' + '.join(recipe.select.networks)}/{recipe.select.metric}"
    said = ", ".join(f"{key}={value}" for key, value in best.values.items())
    return (
        f"# The best of {trials} trials: {judged} {best.value:.4f} in epoch {best.epoch}.\n"
        f"# Trial {best.number}: {said}\n"
        "# That figure was searched for and is too good; preceptor train finds the one to report.\n"
        f"# Searched on fold {fold}; train it with --fold {fold}. The search trained on the test images of the other\n"
        "# folds, or chose by them: figures of those folds are too good.\n\n" + to_yaml(recipe)
    )


def _table(search: Search, trials: Sequence[Trial]) -> str:
    keys = [one.key for one in search.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "value", "epoch", "epochs", "seconds", *keys, "error"])
    for one in trials:
        values = [one.values.get(key) for key in keys]
        writer.writerow([one.number, one.value, one.epoch, one.epochs, round(one.seconds, 1), *values, one.error])
    return text.getvalue()
