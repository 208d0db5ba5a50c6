"""``study``: methods × folds × seeds in one table, and the parts of it that the command line shows one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.inputs import (
    ExcludeLike,
    OverridesLike,
    PathLike,
    announce,
    excluded_ids,
    optional_number,
    optional_path,
    resumable,
    shows_progress,
    text,
)
from preceptor.recipes.overrides import split_overrides
from preceptor.runs.occupied import refuse_occupied_by_other
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_unwritable
from preceptor.utils.imports import import_files
from preceptor.utils.machine import usable_cores
from preceptor.utils.main_guard import refuse_unguarded

if TYPE_CHECKING:
    from preceptor.study.engines import Engine
    from preceptor.study.outcome import Outcome
    from preceptor.study.scheduler import Study

Watch = Callable[["Study", "Engine", "list[Outcome]"], None]


@dataclass(frozen=True)
class PreparedStudy:
    """A study that has been checked and laid out, of which nothing has been trained by this call.

    Attributes:
        study: the study in its folder.
        workers: cells at once.
        threads: CPU threads of each.
        engine: makes the engine.
        cache: where decoded images are kept.
        trains_here: whether its runs are trained on this machine.
    """

    study: Study
    workers: int
    threads: int
    engine: Callable[[], Engine]
    cache: Path | None
    trains_here: bool = True

    def lacking(self) -> list[PreceptorError]:
        """The modes for which this machine would refuse the study; none where other machines train.

        A dry run shows them and does not fail, since its plan may be meant for a machine that has them.
        """
        return _lacking(self.study) if self.trains_here else []


@dataclass(frozen=True)
class WrittenReport:
    """A report, such as that of a study's finished cells.

    Attributes:
        page: the page, or None where no cell is finished.
        no_gallery: why it has no Grad-CAM gallery, or an empty string.
        unread: finished cells that are not in it, since their runs' files are damaged → why.
    """

    page: Path | None
    no_gallery: str = ""
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def omissions(self) -> list[str]:
        """What is not in the report and why, a line each."""
        return [f"not in the report: {cell}: {why}" for cell, why in self.unread.items()]


def study(
    plan: PathLike,
    overrides: OverridesLike | None = (),
    *,
    data: str | None = None,
    root: PathLike | None = None,
    out: PathLike | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    quick: bool = False,
    dry_run: bool = False,
    exclude: ExcludeLike | None = (),
    cache: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Study:
    """Run the cells of a plan that are not finished yet, and write the study's report.

    Args:
        plan: a shipped plan's name, or a YAML file.
        overrides: ``key=value`` for all rows, the plan's own ``folds``, ``seeds``, ``threads``, ``devices``,
            ``baseline``, and options of the reader (``data.key=value``).
        data: another reader than the plan's.
        root: the data set's folder (or table).
        out: the study's folder; ``studies/PLAN`` unless given.
        workers: cells at once; as many as cores, memory and GPUs allow unless given.
        engine: ``local`` (processes of this machine) or ``ray``.
        address: of a Ray cluster; Ray is started here unless given.
        quick: the plan's small form: a trial, not evidence.
        dry_run: lay the study out and train nothing; a warning says what this machine lacks for it.
        exclude: ids to leave out, or a file with one per line.
        cache: where decoded images are kept.
        imports: Python files that register what the plan names.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: a wrong plan, override, option or data set, before anything is trained.
    """
    prepared = prepare_study(
        plan,
        overrides,
        data=data,
        root=root,
        out=out,
        workers=workers,
        engine=engine,
        address=address,
        quick=quick,
        exclude=exclude,
        cache=cache,
        imports=imports,
        progress=progress,
    )
    if dry_run:
        for error in prepared.lacking():
            warnings.warn(f"this machine cannot run the study: {error.what}", PreceptorWarning, stacklevel=2)
        return prepared.study
    run_study(prepared, progress=progress)
    report_study(prepared.study)
    return prepared.study


def prepare_study(
    plan: PathLike,
    overrides: OverridesLike | None = (),
    *,
    data: str | None = None,
    root: PathLike | None = None,
    out: PathLike | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    quick: bool = False,
    exclude: ExcludeLike | None = (),
    cache: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> PreparedStudy:
    """Check a plan and lay out its cells; the arguments are those of :func:`study`."""
    refuse_unguarded()
    import_files(imports)
    if engine not in ("local", "ray"):
        raise PreceptorError(f"--engine {engine}: no such engine", expected="local or ray")
    if address is not None and engine != "ray":
        raise PreceptorError(f"--address {address}: belongs to --engine ray")
    from preceptor.data.readers import READERS
    from preceptor.study.plan import read_plan

    plan, workers = text("plan", plan, "a plan's name, or a YAML file"), optional_number("workers", workers, 1)
    asked = read_plan(plan)
    settings, options = split_overrides(overrides, data or asked.data.reader)
    ids, place = excluded_ids(exclude), optional_path(root)
    if data is not None:
        READERS[data]  # raises for one that there is not
    if place is not None and not place.exists():
        raise PreceptorError(f"{place} does not exist", expected="the data set's folder", remedy="check --root")
    if out is not None:
        refuse_unwritable(Path(out).expanduser())
        refuse_occupied_by_other(Path(out).expanduser(), "study")
    require_training()
    announce(f"reading {plan} and its data", shows_progress(progress))
    from preceptor.study.engines.local import LocalEngine, workers_for
    from preceptor.study.overrides import CommandLine, resolve_plan
    from preceptor.study.scheduler import open_study
    from preceptor.study.state import threads_before

    settled = resolve_plan(asked, CommandLine(quick, data, place, options, ids, settings))
    if settled.name.startswith("."):
        raise PreceptorError(f"{plan}: name: {settled.name!r} is not a name", expected="no dot in front")
    folder = optional_path(out) or Path("studies") / (settled.name + ("-quick" if settled.is_quick else ""))
    opened = open_study(settled, folder)
    threads = threads_before(opened.folder, settled)
    if engine == "ray":  # whose cores are not this machine's: one thread per cell unless the plan gives a number
        at_once, each = workers or 1, threads or 1
    else:
        at_once = workers or workers_for(len(opened.matrix.runs), threads, settled.devices)
        each = threads or max(1, usable_cores() // at_once)

    def local() -> Engine:
        for error in _lacking(opened):
            raise error
        return LocalEngine(at_once, each, settled.devices)

    def on_ray() -> Engine:
        from preceptor.study.engines.ray import RayEngine

        return RayEngine(address, workers, each, settled.devices)

    makes = on_ray if engine == "ray" else local
    return PreparedStudy(opened, at_once, each, makes, optional_path(cache), trains_here=engine == "local")


def _lacking(study: Study) -> list[PreceptorError]:
    from preceptor.study.validation import lacking

    runs = study.matrix.runs
    left = [planned for key, planned in runs.items() if study.outcomes[key].state != "done"]
    return lacking(left, study.plan.devices)


def run_study(prepared: PreparedStudy, *, watch: Watch | None = None, progress: bool | None = None) -> None:
    """Run the cells that are not finished; ``watch`` is called once a second with the study and what just ended."""
    from preceptor.api.completion import write_missing_report
    from preceptor.study.scheduler import run_cells

    with resumable("the same command continues from the last finished epochs"):
        run_cells(
            prepared.study,
            prepared.engine,
            prepared.threads,
            cache=prepared.cache,
            quiet=not shows_progress(progress),
            watch=watch,
            on_finished=write_missing_report,
        )


def report_study(opened: Study) -> WrittenReport:
    """Write the report of what is finished, with a Grad-CAM gallery where one can be made."""
    if not opened.count("done"):
        return WrittenReport(None)
    import preceptor.report.study_gallery as gallery
    from preceptor.report.study_report import write_report_of
    from preceptor.report.study_results import read_study

    no_gallery = ""
    try:
        gallery.write_study_gallery(opened.folder)
    except Exception as error:  # the report stands without a gallery
        no_gallery = error.what if isinstance(error, PreceptorError) else f"{type(error).__name__}: {error}"
    results = read_study(opened.folder)
    page = write_report_of(results)
    return WrittenReport(page, no_gallery, results.unread)
