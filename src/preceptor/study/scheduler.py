"""Runs the cells of a study: what is finished stays, what was stopped goes on, what fails is written down."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from preceptor.data.catalog import Catalog
from preceptor.data.label_notes import label_notes
from preceptor.data.pixel_notes import pixel_notes
from preceptor.networks.pretrained import check_weights
from preceptor.runs.changed_imports import warn_of_changed_imports
from preceptor.runs.complete import OnFinished, decoder
from preceptor.runs.create import Data, command_line
from preceptor.runs.dependencies import PlannedRun
from preceptor.runs.directory import Run
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.runs.resolve_paths import absolute
from preceptor.study.engines import Engine
from preceptor.study.matrix import CELLS, SHARED, Cell, Matrix, expand
from preceptor.study.other_data import check_classes, known_to_study, measure_cells
from preceptor.study.outcome import Outcome
from preceptor.study.plan import DataSet, Plan, to_yaml
from preceptor.study.state import (
    ENVIRONMENT,
    PLAN,
    SHARED_TABLE,
    TABLE,
    CellRecord,
    outcome_of,
    recorded_outcomes,
    refuse_other_data,
    refuse_other_study,
)
from preceptor.study.validation import check_data, check_dependencies
from preceptor.study.worker import Job
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.files import write_text
from preceptor.utils.locks import locked
from preceptor.version import __version__

LOGS = "logs"


@dataclass
class Study:
    """A study in its folder: the settled plan, its cells, and how each of their runs stands.

    Attributes:
        folder: where all of it lies.
        plan: settled.
        matrix: its cells and runs.
        data: what all of it is trained on (of fold 0).
        catalog: the data, read.
        outcomes: identity → how that run stands.
        unmeasured: runs that could not be measured on other data → why.
        unconfirmed: identities of finished runs that ``cells.json`` does not call so: a worker, or the study, was ended
            before it could say so.
    """

    folder: Path
    plan: Plan
    matrix: Matrix
    data: Data
    catalog: Catalog
    outcomes: dict[str, Outcome]
    unmeasured: dict[str, str] = field(default_factory=dict)
    unconfirmed: frozenset[str] = frozenset()

    def outcome(self, cell: Cell) -> Outcome:
        return self.outcomes[cell.run.identity]

    def count(self, state: str) -> int:
        return sum(self.outcome(cell).state == state for cell in self.matrix.cells)

    def shared_runs(self) -> list[PlannedRun]:
        """Runs that several cells need, such as teachers, in the order in which they are done."""
        return [planned for key, planned in self.matrix.runs.items() if key in self.matrix.shared]

    def users(self, shared: PlannedRun) -> list[Cell]:
        """The cells that need a shared run, or are it."""
        return [cell for cell in self.matrix.cells if shared.identity in {run.identity for run in cell.run.in_order()}]

    def stale_runs(self) -> list[Path]:
        """Runs in the study's folder that no cell of its plan is or needs, as after a setting of a row was changed."""
        known = set(self.matrix.paths.values())
        rooms = (self.folder / room for room in (SHARED, CELLS))
        return [path for room in rooms for path in sorted(room.glob("*")) if path not in known and Run(path).exists]

    def write(self) -> None:
        """``cells.json`` and ``shared.json`` as things stand.

        Raises:
            PreceptorError: they cannot be written.
        """
        _write_json(self.folder / TABLE, [self._cell(cell).model_dump() for cell in self.matrix.cells])
        _write_json(self.folder / SHARED_TABLE, [self._shared_run(planned) for planned in self.shared_runs()])

    def _cell(self, cell: Cell) -> CellRecord:
        return CellRecord(
            name=cell.row.name,
            recipe=cell.recipe,
            overrides=cell.row.set,
            networks=cell.row.networks,
            fold=cell.fold,
            seed=cell.seed,
            **self._state_of(cell.run),
            quick=self.plan.is_quick,
        )

    def _shared_run(self, planned: PlannedRun) -> dict[str, Any]:
        users = [f"{cell.row.name}, fold {cell.fold}, seed {cell.seed}" for cell in self.users(planned)]
        description = {"recipe": planned.recipe.name, "fold": planned.fold, "seed": planned.seed}
        return {**description, **self._state_of(planned), "used_by": users, "quick": self.plan.is_quick}

    def _state_of(self, planned: PlannedRun) -> dict[str, Any]:
        outcome = self.outcomes[planned.identity]
        return {
            "state": "failed" if outcome.error else outcome.state,  # until another try has ended, the last one counts
            "run": self.matrix.paths[planned.identity].relative_to(self.folder).as_posix(),
            "error": outcome.error,
            "seconds": round(outcome.seconds, 2) if outcome.seconds else None,
            "identity": planned.identity,
        }


def open_study(plan: Plan, folder: Path) -> Study:
    """The study of a settled plan in ``folder``, as it stands there; nothing is written.

    Raises:
        PreceptorError: wrong recipes or data, or the folder is a file, holds another study or damaged tables, or a run
            without the weights that others begin from.
    """
    folder = folder.expanduser().resolve()
    refuse_other_study(folder, plan)
    data = data_of(plan.data)
    catalog = data.catalog()
    fingerprint = catalog.fingerprint()
    refuse_other_data(folder, plan, fingerprint, len(catalog))
    matrix = expand(plan, fingerprint, folder)
    earlier = recorded_outcomes(folder)
    outcomes = {key: outcome_of(key, matrix.paths[key], earlier.get(key)) for key in matrix.runs}
    check_data(
        catalog,
        [(planned.recipe, planned.fold) for key, planned in matrix.runs.items() if outcomes[key].state != "done"],
    )
    check_classes(plan, catalog, [planned.recipe for planned in matrix.runs.values()])
    check_dependencies(matrix, {key for key, outcome in outcomes.items() if outcome.state == "done"})
    done = {key for key, outcome in outcomes.items() if outcome.state == "done"}
    unconfirmed = frozenset(key for key in done if key not in earlier or earlier[key].state != "done")
    return Study(folder, plan, matrix, data, catalog, outcomes, unconfirmed=unconfirmed)


def data_of(config: DataSet) -> Data:
    root = Path(config.root).expanduser().resolve() if config.root else None
    return Data(config.reader, root, config.options, tuple(config.exclude))


def tried_again(study: Study) -> Study:
    """The study with what has failed before it, and is tried again, among what is left; the errors stay known."""
    again = {
        key: replace(outcome, state="pending") if outcome.state == "failed" else outcome
        for key, outcome in study.outcomes.items()
    }
    return replace(study, outcomes=again)


def run_cells(
    study: Study,
    engine: Callable[[], Engine],
    threads: int,
    *,
    cache: Path | None = None,
    quiet: bool = True,
    watch: Callable[[Study, Engine, list[Outcome]], None] | None = None,
    on_finished: OnFinished | None = None,
) -> None:
    """Runs what is not done yet, and keeps ``study.yaml``, ``cells.json`` and ``shared.json`` up to date.

    Runs that failed before are tried again. A run starts when its dependencies are finished; where one of them fails,
    it fails with it and says so.

    Args:
        engine: makes the engine, once there is something for it to do.
        threads: CPU threads of a cell.
        cache: where decoded images are kept.
        watch: told once a second, and at the end, how things stand and what has just ended.
        on_finished: called with each finished run in the process that trained it; importable by its name. Here, of a
            run whose process was ended before it could say that it had finished.

    Raises:
        PreceptorError: another process is at work on this study, its folder cannot be written to, or the engine cannot
            start. What is done stays done, and the same command continues.
    """
    busy = f"{study.folder}: another preceptor study is at work there"
    with locked(study.folder / ".lock", busy, "wait for it, end it, or choose another --out"):
        study.plan = study.plan.model_copy(update={"threads": threads})
        study.outcomes = tried_again(study).outcomes
        warn_of_changed_imports(map(Run, study.matrix.paths.values()))
        todo = {key: planned for key, planned in study.matrix.runs.items() if study.outcomes[key].state != "done"}
        check_weights(
            network
            for planned in todo.values()
            for name, network in absolute(planned.recipe).networks.items()
            if name not in planned.dependencies
        )
        recipes = [planned.recipe for planned in study.matrix.runs.values()]
        known = known_to_study(study.plan, study.catalog, recipes) if study.plan.external else {}
        started = engine() if todo else None  # first of all: where it cannot start, nothing has been changed or decoded
        try:
            _write(study.folder / PLAN, to_yaml(study.plan))
            _write_json(study.folder / ENVIRONMENT, _environment(study))
            _confirm(study, on_finished)
            study.write()
            _write_new_root(study)
            if started is not None:
                _decode(study, todo, cache, quiet)
                job_of = partial(_job, study, threads, cache, on_finished)
                _run(study, started, todo, job_of, watch)
        finally:
            if started is not None:
                started.close()
        runs = {cell.run.identity: cell for cell in study.matrix.cells if study.outcome(cell).state == "done"}
        paths = [study.matrix.paths[identity] for identity in runs]
        study.unmeasured = measure_cells(study.plan, map(Run, paths), known, cache)


def _confirm(study: Study, on_finished: OnFinished | None) -> None:
    """Do for runs what their workers may have been ended at, after the figures; what cannot be done is left."""
    for key in study.unconfirmed if on_finished is not None else ():
        with suppress(PreceptorError, OSError):
            on_finished(Run(study.matrix.paths[key]))  # type: ignore[misc]


def _run(
    study: Study,
    engine: Engine,
    todo: dict[str, PlannedRun],
    job_of: Callable[[str, PlannedRun], Job],
    watch: Callable[[Study, Engine, list[Outcome]], None] | None,
) -> None:
    unfinished = set(todo)
    _start(study, engine, todo, job_of)
    while unfinished:
        ended = engine.results(1.0)
        for outcome in ended:
            study.outcomes[outcome.identity] = outcome
        ended += _give_up(study, todo)
        unfinished -= {outcome.identity for outcome in ended}
        if ended:
            study.write()
            _start(study, engine, todo, job_of)
        if watch is not None:
            watch(study, engine, ended)


def _start(study: Study, engine: Engine, todo: dict[str, PlannedRun], job_of: Callable[[str, PlannedRun], Job]) -> None:
    """Submit every run whose dependencies are finished, shared ones first; it leaves ``todo``."""
    for key, planned in sorted(todo.items(), key=lambda item: item[0] not in study.matrix.shared):
        if all(study.outcomes[first.identity].state == "done" for first in planned.dependencies.values()):
            del todo[key]
            engine.submit(job_of(key, planned))


def _job(
    study: Study, threads: int, cache: Path | None, on_finished: OnFinished | None, key: str, planned: PlannedRun
) -> Job:
    return Job(
        identity=key,
        path=study.matrix.paths[key],
        recipe=planned.with_runs(study.matrix.paths).plain(),
        data=replace(study.data, fold=planned.fold),
        threads=threads,
        devices=study.plan.devices,
        cache=cache and cache.expanduser().resolve(),
        log=study.folder / LOGS / f"{study.matrix.paths[key].name}.log",
        mark=NOT_EVIDENCE if study.plan.is_quick else "",
        on_finished=on_finished,
    )


def _give_up(study: Study, todo: dict[str, PlannedRun]) -> list[Outcome]:
    """Runs fail whose dependency has failed; those that need them come later in ``todo``, and fail in the same pass."""
    ended = []
    for key, planned in list(todo.items()):
        for name, needed in planned.dependencies.items():
            if study.outcomes[needed.identity].state == "failed":
                run = study.matrix.paths[needed.identity].relative_to(study.folder).as_posix()
                study.outcomes[key] = Outcome(key, "failed", f"needs {run} for its network {name!r}, which failed")
                ended.append(study.outcomes[key])
                del todo[key]
                break
    return ended


def _decode(study: Study, todo: Mapping[str, PlannedRun], cache: Path | None, quiet: bool) -> None:
    """Fills the cache here, before workers start, once for each size and kind of image; warns of doubtful data."""
    kinds = {(planned.recipe.image_size, planned.recipe.task): planned.recipe for planned in todo.values()}
    catalog = study.catalog
    notes = label_notes(catalog)
    for recipe in kinds.values():
        notes += pixel_notes(catalog, decoder(cache, quiet)(catalog, recipe))
    for note in dict.fromkeys(notes):
        warnings.warn(note, PreceptorWarning, stacklevel=2)


def _environment(study: Study) -> dict[str, Any]:
    return {
        "command": command_line(),
        "versions": {"preceptor": __version__, "python": platform.python_version()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": study.catalog.fingerprint(),
        "images": len(study.catalog),
        "notes": list(study.catalog.notes),
        **({"marked": NOT_EVIDENCE} if study.plan.is_quick else {}),
    }


def _write_new_root(study: Study) -> None:
    """Tell finished runs where the data lie now, so that a gallery and other commands find them there."""
    root = study.data.root
    for key, outcome in study.outcomes.items():
        if root is None or outcome.state != "done":
            continue  # the worker of one in progress checks the data, and writes this down then
        run = Run(study.matrix.paths[key])
        try:
            record = run.environment.data
        except PreceptorError:
            continue  # damaged: reports leave the run out and say why
        if record.root != str(root) and record.fingerprint == study.data.fingerprint:
            run.write_root(root)


def _write_json(path: Path, content: Any) -> None:
    _write(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _write(path: Path, content: str) -> None:
    try:
        write_text(path, content)
    except OSError as error:
        raise PreceptorError(
            f"{path}: cannot be written ({error.strerror})",
            remedy="make room for it; the same command continues with what is done and from the last finished epochs",
        ) from None
