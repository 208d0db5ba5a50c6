"""``init``: from images on disk to a recipe, a study plan, a checked data set and what training will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.inputs import OverridesLike, PathLike, announce, counting, shows_progress
from preceptor.api.project_text import plan_text, recipe_text
from preceptor.recipes.overrides import refuse_repeated
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_unwritable, write_output

if TYPE_CHECKING:
    from preceptor.data.catalog import Catalog
    from preceptor.data.check import DataReport
    from preceptor.data.recognise import Recognised
    from preceptor.study.scheduler import Study

_LARGEST, _SMALLEST, _STEP = 224, 32, 32  # sides that are proposed, px
_FOLDS = (5, 4, 3, 2)
_BUDGET = 20.0  # seconds of timed steps
_THREADS = 1


@dataclass(frozen=True)
class Question:
    """Something that the data leave open.

    Attributes:
        key: what the answer sets, as on the command line.
        text: the question.
        default: what is taken without an answer.
        choices: the possible answers; empty where any text will do.
    """

    key: str
    text: str
    default: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What training will take on this machine.

    Attributes:
        method: seconds of the recipe with the teacher that it trains first, on one fold; None where it is unknown.
        study: seconds of the whole plan, one run after another; None where it is unknown.
        runs: how many runs the plan has, shared ones included.
        cache: bytes of the decoded images.
    """

    method: float | None
    study: float | None
    runs: int
    cache: int


@dataclass(frozen=True)
class Project:
    """What ``init`` made.

    Attributes:
        data: the reader.
        root: the data set's folder or table.
        options: the reader's options.
        task: what networks will predict.
        recipe: the recipe's file.
        plan: the study plan's file.
        reasons: why reader, options, task and folds are these, and what was left open.
        report: what the data set holds.
        cost: what training will take.
    """

    data: str
    root: Path
    options: Mapping[str, str]
    task: str
    recipe: Path
    plan: Path
    reasons: tuple[str, ...]
    report: DataReport
    cost: Cost


def init(
    root: PathLike,
    overrides: OverridesLike = (),
    *,
    data: str | None = None,
    task: str | None = None,
    out: PathLike = ".",
    ask: Callable[[Question], str] | None = None,
    progress: bool | None = None,
) -> Project:
    """Recognise a data set, check all of its files, and write ``recipe.yaml`` and ``plan.yaml`` for it.

    Args:
        root: a folder for each class, a CSV file that names the images, or a published data set as downloaded.
        overrides: options of the reader that are known already, ``data.key=value``.
        data: the reader; recognised unless given.
        task: what to predict; by the data unless given.
        out: the folder to write to; files that are there are never replaced.
        ask: answers questions that the data leave open; without it their defaults are taken.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: data that no reader takes or that cannot be split, a task that they have no targets for, a
            recipe or plan that is there already, images that cannot be used.
    """
    place, target, shown = Path(root).expanduser(), Path(out).expanduser(), shows_progress(progress)
    announce(f"looking at {place}", shown)
    from preceptor.data.readers import READERS, read
    from preceptor.data.recognise import recognise

    if data is not None:
        READERS[data]  # raises for one that there is not
    if data == "phantom":
        raise PreceptorError("--data phantom: needs no project", remedy="preceptor demo shows it")
    recognised = recognise(place, _options(overrides), data)
    files = target / "recipe.yaml", target / "plan.yaml"
    for file in files:
        if file.exists():
            raise PreceptorError(f"{file} exists, and is not replaced", remedy="name another folder with --out")
        refuse_unwritable(file)
    require_training()
    catalog = read(recognised.reader, place, dict(recognised.options))
    recognised, catalog = _grouped(recognised, catalog, place, ask)
    chosen = _task(catalog, task, READERS[recognised.reader].about.tasks, ask)
    folds = _folds(catalog)
    report = _checked(catalog, shown)
    settings = _settings(report)
    reasons = (*recognised.reasons, *_reasons(catalog, chosen, folds, settings))
    write_output(files[0], recipe_text(chosen, settings, folds, recognised, place))
    write_output(files[1], plan_text(chosen, settings, folds, recognised, place))
    announce("timing a few steps of training", shown)
    cost = _cost(files[1], catalog, settings["image_size"], folds)
    return Project(
        recognised.reader, place, recognised.options, chosen, *files, reasons=reasons, report=report, cost=cost
    )


def _options(overrides: OverridesLike) -> dict[str, str]:
    """Options of a reader that is not known yet, as they were written.

    Raises:
        PreceptorError: something else than ``data.key=value``, or a key given twice.
    """
    pairs = overrides.items() if isinstance(overrides, Mapping) else [text.partition("=")[::2] for text in overrides]
    refuse_repeated(key for key, _ in pairs)
    for key, _ in pairs:
        if not key.startswith("data."):
            raise PreceptorError(f"{key!r} cannot be set here", expected="options of the reader, data.key=value")
    return {key.removeprefix("data."): str(value) for key, value in pairs}


def _grouped(
    recognised: Recognised, catalog: Catalog, root: Path, ask: Callable[[Question], str] | None
) -> tuple[Recognised, Catalog]:
    """The data with groups by file name where the answer to a question says so; else a sentence on the suggestion."""
    from preceptor.data.readers import read
    from preceptor.data.recognise import group_pattern

    if recognised.reader != "folder" or "group_pattern" in recognised.options:
        return recognised, catalog
    suggestion = group_pattern(catalog)
    if suggestion is None:
        return recognised, catalog
    pattern, groups, largest = suggestion
    text = (
        f"File names look as if they named patients or lesions: data.group_pattern='{pattern}' gives {groups:,} "
        f"groups, at most {largest} images each. Keep the images of a group together?"
    )
    if ask is None or ask(Question("data.group_pattern", text, "no", ("yes", "no"))) != "yes":
        left_open = f"perhaps grouped by file name: data.group_pattern='{pattern}' ({groups:,} groups); not used"
        return replace(recognised, reasons=(*recognised.reasons, left_open)), catalog
    options = {**recognised.options, "group_pattern": pattern}
    reasons = (*recognised.reasons, f"groups by file name, {pattern}: {groups:,} of them")
    return replace(recognised, options=options, reasons=reasons), read("folder", root, dict(options))


def _task(catalog: Catalog, task: str | None, published: tuple[str, ...], ask: Callable[[Question], str] | None) -> str:
    from preceptor.tasks import TASKS

    if task is not None:
        TASKS[task].classes(catalog)
        return task
    if not catalog.has_labels or (catalog.has_masks and published[:1] == ("segmentation",)):
        return "segmentation"
    if published == ("ordinal",):
        return "ordinal"
    labels = "multi_label" if catalog.label_names else "classification"
    if ask is None or not (catalog.has_masks or _are_grades(catalog.classes)):
        return labels
    others = (
        *(("segmentation",) if catalog.has_masks else ()),
        *(("ordinal",) if _are_grades(catalog.classes) else ()),
    )
    return ask(Question("task", "What shall the network predict?", labels, (labels, *others)))


def _are_grades(classes: tuple[str, ...]) -> bool:
    return len(classes) > 2 and all(name.isdecimal() for name in classes)


def _folds(catalog: Catalog) -> int:
    """The most folds, up to five, that the groups of every class allow; raises what is wrong with five otherwise."""
    from preceptor.data.split import make_split

    refusals = []
    for folds in _FOLDS:
        try:
            make_split(catalog, folds=folds)
        except PreceptorError as error:
            refusals.append(error)
        else:
            return folds
    raise refusals[-1]


def _checked(catalog: Catalog, shown: bool) -> DataReport:
    from preceptor.data.check import check

    with counting("reading images", len(catalog), shown) as move:
        report = check(catalog, progress=move)
    if not report.ok:
        first, problem = next(iter(report.unreadable.items()))
        raise PreceptorError(
            f"{len(report.unreadable)} of {report.images} images of {report.root} cannot be used, such as {first}: "
            f"{problem}",
            remedy=f"preceptor data check {report.name} {report.root} names them all; repair or remove them",
        )
    return report


def _settings(report: DataReport) -> dict[str, int]:
    """Image size by the images as stored, and a batch size by their number."""
    sides = sorted(min(size) for size, images in report.sizes.items() for _ in range(images))
    side = sides[len(sides) // 2] // _STEP * _STEP
    return {
        "image_size": max(_SMALLEST, min(_LARGEST, side)),
        "batch_size": 32 if report.images >= 1000 else 16,
    }


def _reasons(catalog: Catalog, task: str, folds: int, settings: Mapping[str, int]) -> list[str]:
    sentences = [f"the task {task}"]
    if catalog.has_labels and catalog.has_masks and task != "segmentation":
        sentences.append("every image has a mask as well: --task segmentation is possible")
    if _are_grades(catalog.classes) and task == "classification":
        sentences.append(f"the classes {', '.join(catalog.classes)} may be grades in order: --task ordinal")
    if folds < _FOLDS[0]:
        sentences.append(f"{folds} folds instead of five: the rarest class has too few groups for more")
    sentences.append(f"images at {settings['image_size']} px, {settings['batch_size']} a batch")
    return sentences


def _cost(plan: Path, catalog: Catalog, side: int, folds: int) -> Cost:
    """Seconds of the recipe on one fold and of the plan, from a few timed steps on this machine; folds cost alike."""
    from preceptor.api.studies import prepare_study
    from preceptor.study.timing import time_runs

    study: Study = prepare_study(str(plan), ["folds=[0]"], out=plan.parent / "study", progress=False).study
    runs = study.matrix.runs
    timed = time_runs(runs.values(), catalog, _THREADS, _BUDGET).seconds
    distilled = next(cell.run for cell in study.matrix.cells if cell.row.recipe == "kd")
    needed = [distilled.identity, *(first.identity for first in distilled.dependencies.values())]
    method, one_fold = (
        sum(timed[key] for key in keys) if timed.keys() >= set(keys) else None for keys in (needed, runs)
    )
    whole = None if one_fold is None else one_fold * folds
    return Cost(method, whole, len(runs) * folds, len(catalog) * side * side * (4 if catalog.has_masks else 3))
