"""The other data sets of a plan, on which every finished cell is measured once its networks are trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from preceptor.data.catalog import Catalog
from preceptor.data.copies import Contents
from preceptor.recipe import Recipe
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.external import FOLDER, OtherData, class_map, measure_external, read_external
from preceptor.runs.known_images import KnownImages, known_images
from preceptor.study.plan import Plan
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError, prefix_errors


def other_data(plan: Plan) -> list[OtherData]:
    """Return the other data sets of a plan, in order."""
    return [
        OtherData(
            external.title,
            Data(
                external.reader,
                Path(external.root).expanduser().resolve() if external.root else None,
                external.options,
                tuple(external.exclude),
            ),
            external.classes,
        )
        for external in plan.external
    ]


def check_classes(plan: Plan, catalog: Catalog, recipes: Iterable[Recipe]) -> None:
    """Refuse other data that cannot be read, or whose classes have no counterpart.

    Raises:
        PreceptorError: names the data set.
    """
    tasks = {recipe.task for recipe in recipes}
    for other in other_data(plan):
        for task in (TASKS[name] for name in sorted(tasks)):
            with prefix_errors(f"external, {other.name}"):
                theirs = task.classes_to_measure(other.data.catalog())
                class_map(task, task.classes(catalog), theirs, other.classes, other.name)


def known_to_study(plan: Plan, catalog: Catalog, recipes: Iterable[Recipe]) -> dict[str, KnownImages]:
    """Return, for each other data set, its images that the study's own data hold, in whichever fold, and those that a
    given run of some recipe (``networks.NAME.run``) has learned from.

    Raises:
        PreceptorError: there are some, and the plan does not leave them out.
    """
    known: dict[str, KnownImages] = {}
    own = Contents(catalog)
    networks = [network for recipe in recipes for network in recipe.networks.values()]
    places = {Path(network.run).expanduser() for network in networks if network.run is not None}
    given = [Run(place if place.is_dir() else place.parent) for place in sorted(places)]
    for external, other in zip(plan.external, other_data(plan), strict=True):
        theirs = other.data.catalog()
        contents = Contents(theirs)
        elsewhere = known_images(given, contents, other.data.options)
        parts = {**elsewhere.parts, **{name: "train" for name, _ in contents.copies_in(own)}}
        shared = KnownImages(parts, elsewhere.notes)
        if not external.skip_known:
            shared.refuse(other.name, len(theirs), "leave them out: skip_known: true for this data set")
        known[other.name] = shared
    return known


def measure_cells(
    plan: Plan, runs: Iterable[Run], known: Mapping[str, KnownImages], cache: Path | None
) -> dict[str, str]:
    """Measure finished runs on the other data sets of a plan; what is measured already stays.

    Args:
        runs: of finished cells.
        known: of each other data set (:func:`known_to_study`).
        cache: where decoded images are kept.

    Returns:
        What could not be measured → why.
    """
    failed: dict[str, str] = {}
    others = other_data(plan)  # each is read once, whatever the number of runs
    for run in runs:
        for other in others:
            try:
                theirs = known[other.name]
                if not _is_measured(run, other, len(theirs.parts)):
                    result = measure_external(run, other, known=theirs.parts, notes=theirs.notes, cache=cache)
                    result.write(run.path / FOLDER / other.name)
            except PreceptorError as error:
                failed[f"{run.path.name} on {other.name}"] = error.what
    return failed


def _is_measured(run: Run, other: OtherData, known: int) -> bool:
    result = read_external(run, other.name)
    mapped = other.mapped_to(run)
    return (
        result is not None
        and result.record.data.fingerprint == other.data.fingerprint
        and result.record.known == known
        and result.record.class_map == (dict(mapped.label) if mapped is not None else {})
        and (mapped is None or result.record.classes == list(mapped.judged))
    )
