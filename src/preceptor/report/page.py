"""Run directories in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from preceptor.evaluation.names import OF_TASK
from preceptor.report import figures, formatting, masks, tables
from preceptor.report.flow import SHOWN_ROWS, flows
from preceptor.report.gallery import NAME, Gallery, galleries, write_gallery, write_sheet
from preceptor.report.intervals import SAMPLES
from preceptor.report.layers import layer_sections
from preceptor.report.outlines import SAID, TRUTH
from preceptor.report.overlays import overlay_sections
from preceptor.report.relations import relation_section
from preceptor.report.run import HEADLINES, Entry, Run, entries_of, load_runs
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

TEMPLATE, PAGE = "template.html.j2", "explain.html.j2"


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Writes one self-contained page on one or more finished runs: no script, no font, no picture from elsewhere.

    Args:
        runs: run directories; their order is that of the tables.
        out: the file to write; one that exists is replaced, as a whole.

    Returns:
        ``out``.

    Raises:
        PreceptorError: when a directory is no finished run, when runs have different tasks or classes, or when ``out``
            cannot be written.
    """
    page = render(load_runs(runs))
    try:
        write_text(out, page)
    except OSError as error:
        raise PreceptorError(
            f"{out} cannot be written: {error.strerror}", remedy="choose another file with --out"
        ) from error
    return out


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    _refuse_unlike(runs)
    return templates().get_template(TEMPLATE).render(_contents(runs, entries_of(runs)))


def write_explanation(gallery: Gallery, folder: Path) -> None:
    """Writes a gallery in three forms: ``explain.json``, which reports embed, and ``explain.html`` and ``.png``.

    Raises:
        PreceptorError: the folder cannot be written to.
    """
    warning = formatting.quick_warning(gallery.quick) if gallery.quick else None
    page = templates().get_template(PAGE).render(found=gallery, warning=warning, mark=NOT_EVIDENCE, style=_style())
    try:
        write_gallery(gallery, folder)
        write_text(folder / f"{NAME}.html", page)
        write_sheet(gallery, folder / f"{NAME}.png")
    except OSError as error:
        raise PreceptorError(
            f"{folder} cannot be written to: {error.strerror}", remedy="choose another folder with --out"
        ) from error


def templates() -> Environment:
    """Of all pages, with the filters that write numbers."""
    environment = Environment(
        loader=PackageLoader("preceptor.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= formatting.FILTERS
    return environment


def _style() -> Markup:
    return Markup(files("preceptor.report").joinpath("style.css").read_text(encoding="utf-8"))


def _contents(runs: Sequence[Run], entries: Sequence[Entry]) -> dict[str, Any]:
    differences, distinct, task = tables.differences(entries), tables.distinct(entries), runs[0].task
    of_task = _of_classes if task == "classification" else _of_masks
    return {
        "style": _style(),
        "title": formatting.title(runs),
        "subject": formatting.subject(runs),
        "task": task,
        "runs": runs,
        "entries": entries,
        "classes": runs[0].classes,
        "warnings": formatting.warnings(runs),
        "notes": formatting.notes(runs),
        "findings": formatting.findings(differences),
        "fidelities": formatting.fidelities(entries),
        "headline": OF_TASK[task][HEADLINES[task]],
        "metrics": OF_TASK[task],
        "lower_is_better": tables.LOWER_IS_BETTER,
        "intervals": tables.intervals(entries),
        "samples": SAMPLES,
        "differences": differences,
        "distinct": distinct,
        "layers": layer_sections(runs),
        "costs": [(entry, entry.facts["cost"]) for entry in entries if entry.facts.get("cost")],
        "cost_conditions": formatting.cost_conditions(entries),
        "cost_figures": figures.headline_against_cost(entries),
        "curves": [(run, figures.training_curves(run, [e for e in entries if e.run is run])) for run in runs],
        "splits": [(sharers, tables.split_table(sharers[0])) for sharers in _by_split(runs)],
        "parts": tables.PARTS,
        **of_task(runs, entries, distinct, differences),
    }


def _of_classes(
    runs: Sequence[Run], entries: Sequence[Entry], distinct: list[Entry], differences: Sequence[tables.Difference]
) -> dict[str, Any]:
    return {
        "recalls": tables.recall_table(entries, runs[0].classes),
        "confusions": [(entry, tables.confusion_table(entry)) for entry in distinct],
        "flows": flows(differences),
        "shown_streams": SHOWN_ROWS,
        "roc": figures.roc_curves(distinct, runs[0].classes),
        "areas": tables.area_table(distinct, runs[0].classes) if len(distinct) > figures.MOST_AREAS else [],
        "relations": relation_section(distinct),
        "galleries": galleries([run.path for run in runs]),
        "reliability": figures.reliability_diagrams(distinct),
    }


def _of_masks(
    runs: Sequence[Run], entries: Sequence[Entry], distinct: list[Entry], differences: Sequence[tables.Difference]
) -> dict[str, Any]:
    return {
        "sizes": masks.size_table(distinct),
        "mask_classes": masks.class_table(distinct, runs[0].classes) if len(runs[0].classes) > 2 else [],
        "overlays": overlay_sections(distinct),
        "outline_colours": {"truth": TRUTH, "said": SAID},
    }


def _by_split(runs: Sequence[Run]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.split_hash or run.label, []).append(run)
    return list(found.values())


def _refuse_unlike(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise PreceptorError(
                f"{run.path} is a run of {run.task}, but {runs[0].path} is one of {runs[0].task}",
                expected="runs of one task in one report",
                remedy="write a report for each task",
            )
        if run.classes != runs[0].classes:
            raise PreceptorError(
                f"{run.path} has the classes {', '.join(run.classes)}, "
                f"but {runs[0].path} has {', '.join(runs[0].classes)}",
                expected="runs on the same classes in one report",
                remedy="write a report for each data set",
            )
