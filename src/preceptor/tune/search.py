"""A search for weights (or other settings) on the validation part. Nothing here can read the test part: the runs of a
search do not hold its images, so that there is no loader, no pixel and no prediction of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.data.catalog import Catalog
from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.training.one_at_a_time import one_training
from preceptor.tune.again import discard, holds_nothing, retry_failed
from preceptor.tune.checks import check_data, check_networks, check_trial, refuse_keys, refuse_unjudged
from preceptor.tune.record import SEARCH, Search, Trial, write_trials
from preceptor.tune.space import Value, combinations
from preceptor.tune.store import all_tried, ask, ended, fail, open_study, running, storing
from preceptor.tune.trial import attempt, discard_weights
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text
from preceptor.utils.locks import locked
from preceptor.utils.plain_yaml import dump_yaml, load_yaml
from preceptor.utils.text_files import read_text

if TYPE_CHECKING:
    from optuna import Study

_DATA_WORDS = {
    "name": "data set",
    "root": "folder of the data",
    "options": "setting data.…",
    "exclude": "list of ids left out",
    "fold": "fold",
}  # a description's keys in the user's words
_HOPELESS = 3  # trials that all failed: then it is not their values


def tune(search: Search, trials: int) -> list[Trial]:
    """Try values until there are ``trials`` in all, those of earlier calls counted; write ``best.yaml`` and
    ``trials.csv``. Of choices and whole numbers each combination is tried once at most, and there the search ends.

    The first trial has the recipe's own values, where the space holds them. Which values a trial has depends on the
    seed, its number and the results before it, not on interruptions; one that was stopped goes on from its last epoch.
    Trials that failed in an earlier call are tried again; a folder in which all did may be taken by another search.
    Networks that are trained first (``trained_by``) are trained once for all trials that want them alike.

    Returns:
        All trials, the best first.

    Raises:
        PreceptorError: wrong keys or ranges, or a fold that the data do not have, before anything is trained; a recipe
            without a validation part or a metric to select by; a folder of another search, of data that have changed,
            with a damaged file, or one in use; a full disk; all trials failed, or the first three.
    """
    base, catalog = _check(search)
    possible = combinations(search.space)
    if possible is not None and len(possible) < trials:
        search.say(f"there are {len(possible)} combinations, and each is tried once")
    busy = f"{search.out}: another search is at work here"
    with one_training(), locked(search.out / ".lock", busy, "wait for it, or choose another --out"):
        _same_search(search, base, catalog)
        study = open_study(search.stored, _first(search, base))
        write_trials(search, ended(study))  # finds a damaged outcome before there is work that it would undo
        with storing(search.stored):
            study = retry_failed(search, study)
            _go_on(search, study)
            while len(ended(study)) < trials and not all_tried(study, search.space):
                _try(search, study, *ask(study, search.space, search.seed))
                _refuse_hopeless(search, write_trials(search, ended(study)), _HOPELESS)
        ranked = write_trials(search, ended(study))
        _refuse_hopeless(search, ranked, 1)
        return ranked


def _check(search: Search) -> tuple[Recipe, Catalog]:
    """Check keys, values and networks; return the recipe and the data."""
    if not search.space:
        raise PreceptorError(
            "there is nothing to search", expected="a key with a range, as in 'objectives.kl.weight=log(0.01,10)'"
        )
    refuse_keys(search.space)
    base = search.resolved({})
    refuse_unjudged(base)
    candidates = [*_candidates(search, base)]
    for assignment, recipe in candidates:
        check_trial(assignment, recipe, base)
    catalog = search.data.catalog()
    recipes = [recipe for _, recipe in candidates]
    check_networks(recipes, catalog)
    check_data(base, recipes, search.data)
    return base, catalog


def _candidates(search: Search, base: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Yield a trial's recipe for every end and every choice, other keys as the recipe has them where they are tried."""
    own = _own_values(search, base)
    others = {
        dimension.key: dimension.values[0] for dimension in search.space if not dimension.holds(own[dimension.key])
    }
    for dimension in search.space:
        for value in dimension.values:
            yield f"{dimension.key}={value}", search.resolved({**others, dimension.key: value})


def _first(search: Search, base: Recipe) -> dict[str, Any] | None:
    """Return the recipe's own values, which come first; None where the space does not hold them."""
    own = _own_values(search, base)
    return own if all(dimension.holds(own[dimension.key]) for dimension in search.space) else None


def _own_values(search: Search, base: Recipe) -> dict[str, Any]:
    return {dimension.key: _own_value(search.recipe, base, dimension.key) for dimension in search.space}


def _own_value(source: str, base: Recipe, key: str) -> Any:
    """Return the recipe's own value of a key; None where it sets none."""
    if source in RECIPES and key in RECIPES[source].arguments:
        return RECIPES[source].arguments[key].default
    here: Any = {**base.plain(), "objectives": {term.name: term.model_dump(by_alias=True) for term in base.objectives}}
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _same_search(search: Search, base: Recipe, catalog: Catalog) -> None:
    """Write down what is searched, or refuse a folder that holds another search with results."""
    data = search.data
    content = {
        "recipe": base.plain(),
        "space": {dimension.key: str(dimension) for dimension in search.space},
        "data": {
            "name": data.name,
            "root": str(data.root.resolve()) if data.root else None,
            "options": dict(data.options),
            "exclude": sorted(data.exclude),
            "fold": data.fold,
            "fingerprint": catalog.fingerprint(),
        },
        "seed": search.seed,
    }
    path = search.out / SEARCH
    text = dump_yaml(content)
    if not path.is_file():
        write_text(path, text)
        return
    before, now = _written_before(path), load_yaml(text, str(path))
    changed = [key for key in now if before.get(key) != now[key]]
    if changed and holds_nothing(search, open_study(search.stored, None)):
        search.say(f"no trial of the search in {search.out} has a value: this search takes its place")
        discard(search)
        write_text(path, text)
        return
    if changed == ["data"] and before["data"] == {**now["data"], "fingerprint": before["data"].get("fingerprint")}:
        raise PreceptorError(
            f"--out {search.out}: the images or labels of {data.root or data.name} have changed since this search "
            "began, and trials on different data cannot be compared",
            remedy="restore the data to go on with it, or choose another --out",
        )
    if changed:
        words = [word for key in changed for word in (_differences(before[key], now[key]) if key == "data" else [key])]
        raise PreceptorError(
            f"--out {search.out}: holds a search with another {' and another '.join(words)}; see {path}",
            remedy="give the same recipe, ranges, data and fold to go on with it, or choose another --out",
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs in two descriptions of data; their content only where nothing else of them does."""
    named = [word for key, word in _DATA_WORDS.items() if before.get(key) != now[key]]
    return named or ["content of the data"]


def _written_before(path: Path) -> dict[str, Any]:
    try:
        before = load_yaml(read_text(path, "a search"), str(path))
    except PreceptorError:
        before = None
    if not isinstance(before, dict) or not isinstance(before.get("data"), dict):
        raise PreceptorError(
            f"{path}: is damaged, and does not say what was searched here",
            remedy="put back a copy of it, or remove it if this is the search that it held (it is written again); or "
            "choose another --out",
        )
    return before


def _go_on(search: Search, study: Study) -> None:
    """Finish the trials that were running when the search was stopped."""
    for frozen in running(study):
        if frozen.params.keys() == {dimension.key for dimension in search.space}:
            _try(search, study, frozen.number, frozen.params)
        else:  # stopped while its values were drawn
            search.write_outcome(frozen.number, error="stopped before it had values")
            fail(study, frozen.number)


def _try(search: Search, study: Study, number: int, values: Mapping[str, Value]) -> None:
    outcome = search.outcome(number) or attempt(search, number, values)
    if "error" in outcome:
        fail(study, number)
        search.say(f"trial {number}: failed: {outcome['error'].splitlines()[0]}")
        return
    discard_weights(search, number)
    study.tell(number, outcome["value"])
    listed = (f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items())
    search.say(f"trial {number}: {outcome['value']:.4f} in epoch {outcome['epoch']}  {'  '.join(listed)}")


def _refuse_hopeless(search: Search, trials: Sequence[Trial], least: int) -> None:
    if len(trials) < least or any(trial.value is not None for trial in trials):
        return
    first = min(trials, key=lambda trial: trial.number)
    reason, expected, remedy = _parts(search, first)
    if len(trials) == 1:
        what = f"the only trial failed: {reason}"
    elif {_parts(search, trial)[0] for trial in trials} == {reason}:
        what = f"all {len(trials)} trials failed for the same reason: {reason}"
    else:
        what = f"all {len(trials)} trials failed; the first: {reason}"
    again = "the same command, or one with other settings, then tries anew"
    raise PreceptorError(what, expected=expected, remedy=f"{remedy or 'mend that'}; {again}")


def _parts(search: Search, trial: Trial) -> tuple[str, str, str]:
    """What was wrong with a trial, without its folder; what was expected; and what to do, which may name its values."""
    reason, *rest = trial.error.replace(str(search.folder(trial.number)), "").split("\n")
    named = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in rest)}
    return reason, named.get("expected", ""), named.get("to do", "")
