"""Records in a study's folder, and whether the study of this command is the one that the folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from preceptor.runs.directory import Run
from preceptor.runs.occupied import refuse_occupied_by_other
from preceptor.study.outcome import Outcome, State, seconds_so_far
from preceptor.study.plan import Plan, validate
from preceptor.utils.errors import PreceptorError
from preceptor.utils.plain_yaml import load_yaml
from preceptor.utils.text_files import read_text

PLAN, TABLE, SHARED_TABLE, ENVIRONMENT = "study.yaml", "cells.json", "shared.json", "environment.json"
_BEGUN = ("metrics.json", "checkpoints/last.pt")  # of a run; with one of them it has something to lose


class CellRecord(BaseModel):
    """One entry of ``cells.json``: a row on one fold with one seed, and the state of its run.

    Attributes:
        name: of the row.
        networks: those of the row's table.
        run: folder of the run, relative to the study's; None unless there is one.
        error: of a failed one.
        seconds: that it took, None unless it ran.
        identity: of the run.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    recipe: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    networks: list[str] | None = None
    fold: int
    seed: int
    state: State
    run: str | None = None
    error: str = ""
    seconds: float | None = None
    identity: str = ""
    quick: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Fold and seed."""
        return self.fold, self.seed


def read_cells(folder: Path) -> list[CellRecord]:
    """The cells of a study as ``cells.json`` holds them.

    Raises:
        PreceptorError: it is damaged.
    """
    path = folder / TABLE
    try:
        return TypeAdapter(list[CellRecord]).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise PreceptorError(f"{path} cannot be read: {reason}", expected="the cells of a study") from None


def read_resolved_plan(folder: Path) -> Plan:
    """The plan of a study as ``study.yaml`` holds it.

    Raises:
        PreceptorError: it is no YAML or no plan.
    """
    path = folder / PLAN
    return validate(load_yaml(read_text(path, "a study's plan"), str(path)), str(path))


def refuse_other_study(folder: Path, plan: Plan) -> None:
    """Refuses a folder that is none, or that holds another study or anything that no study wrote.

    Raises:
        PreceptorError: it is a file or cannot be looked into, holds a run, a search, other files, a study of another
            name or size, or a damaged plan.
    """
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise PreceptorError(f"--out {folder}: cannot be looked into ({error.strerror})") from None
    if not there.is_dir():
        raise PreceptorError(f"--out {folder}: {there} is a file", expected="a folder, new or one of this study")
    refuse_occupied_by_other(folder, "study")
    before = _plan_before(folder)
    if before is None:
        return
    if before["name"] != plan.name:
        raise PreceptorError(
            f"--out {folder}: holds the study {before['name']!r}", expected=f"a new folder, or one of {plan.name!r}"
        )
    if bool(before.get("quick")) != plan.is_quick:
        kinds = ("a quick study", "a study at full size")
        held, asked = kinds if not plan.is_quick else kinds[::-1]
        raise PreceptorError(
            f"--out {folder}: holds {held}, and this is {asked}",
            expected="a folder for each: what is quick is no evidence, and must not stand beside what is",
            remedy="choose another --out",
        )


def refuse_other_data(folder: Path, plan: Plan, fingerprint: str, images: int) -> None:
    """Refuses a folder whose runs were made of other data: its table and report would be written over.

    Raises:
        PreceptorError: they were made by another reader or of other images, or ``environment.json`` is damaged.
    """
    if not _begun(folder):
        return
    data = (_plan_before(folder) or {}).get("data")
    reader = data.get("reader") if isinstance(data, dict) else None
    remedy = "choose another --out; the study there stays as it is"
    if reader not in (None, plan.data.reader):
        raise PreceptorError(
            f"--out {folder}: holds a study of {reader}, and this is one of {plan.data.reader}",
            expected="a folder for each data set",
            remedy=remedy,
        )
    before = _json(folder / ENVIRONMENT, {})
    if not isinstance(before, dict):
        raise PreceptorError(f"{folder / ENVIRONMENT}: is not a study's environment", remedy=remedy)
    if before.get("fingerprint") not in (None, fingerprint):
        raise PreceptorError(
            f"--out {folder}: holds a study of other images (or labels, groups or options) of {plan.data.reader}: "
            f"{before.get('images', 'an unknown number')} then, {images} now",
            expected="the data that its cells were trained on",
            remedy=f"{remedy}. Or give the data as they were",
        )


def threads_before(folder: Path, plan: Plan) -> int | None:
    """How many threads the cells of a study in ``folder`` have worked with, whatever the plan leaves open.

    Raises:
        PreceptorError: the plan wants another number than cells that are done or begun already had.
    """
    known = (_plan_before(folder) or {}).get("threads")
    if known is not None and plan.threads not in (None, known) and _begun(folder):
        raise PreceptorError(
            f"threads is {plan.threads}; the cells in {folder} that are done or begun had {known}",
            expected="one number of threads for all cells: the last bits of their figures depend on it",
            remedy=f"leave threads at {known}, or choose another --out",
        )
    return plan.threads or known


def recorded_outcomes(folder: Path) -> dict[str, Outcome]:
    """Identity → how that run stood, as ``cells.json`` and ``shared.json`` tell.

    Raises:
        PreceptorError: one of them is damaged.
    """
    outcomes = {}
    for path in (folder / TABLE, folder / SHARED_TABLE):
        try:
            for row in _json(path, []):
                seconds, error = float(row["seconds"] or 0), str(row.get("error") or "")
                outcomes[row["identity"]] = Outcome(row["identity"], row["state"], error, seconds)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(path, error) from None
    return outcomes


def outcome_of(identity: str, path: Path, previous: Outcome | None) -> Outcome:
    """How a run stands by what its run's folder holds; what failed the last time is still failed.

    A run is done by its figures: with damaged ones it has failed, and says so.
    """
    try:
        run = Run(path)
        training_seconds = run.metrics.training_seconds if run.finished else None
    except PreceptorError as error:
        return Outcome(identity, "failed", error.message, seconds_so_far(path))
    if training_seconds is not None:
        known = previous.seconds if previous is not None else 0
        return Outcome(identity, "done", "", known or training_seconds)
    if previous is not None and previous.state == "failed":
        return Outcome(identity, "failed", previous.error, seconds_so_far(path))
    return Outcome(identity, "pending", "", seconds_so_far(path))


def _begun(folder: Path) -> bool:
    return any(any(folder.glob(f"*/*/{name}")) for name in _BEGUN)


def _plan_before(folder: Path) -> dict[str, Any] | None:
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        data = load_yaml(read_text(path, "a study's plan"), str(path))
    except PreceptorError as error:
        remedy = "mend it, or remove it if this is the plan that it held; it is written again"
        raise PreceptorError(error.what, expected=error.expected, remedy=remedy) from None
    if not isinstance(data, dict) or "name" not in data:
        raise PreceptorError(f"{path}: is not a study's plan", remedy="choose another --out")
    return data


def _json(path: Path, absent: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else absent
    except (ValueError, OSError, RecursionError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> PreceptorError:
    return PreceptorError(
        f"{path}: cannot be read ({error!r})", remedy="remove it; it is written again from what the runs are"
    )
