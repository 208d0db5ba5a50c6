"""The report on one or more finished runs: run directories in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.data.catalog import PARTS
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import SAMPLES
from preceptor.report import figures, mask_tables, page, run_text, tables
from preceptor.report.clinical import clinical_sections, participants
from preceptor.report.entries import Entry, LabelledRun, entries_of, load_runs
from preceptor.report.error_flow import SHOWN_ROWS, error_flows
from preceptor.report.gallery import galleries
from preceptor.report.label_predictions import label_positives
from preceptor.report.layers import layer_sections
from preceptor.report.network_predictions import class_words
from preceptor.report.notes import data_notes, learnt, useless_networks
from preceptor.report.operating_points import POINTS
from preceptor.report.outlines import COLOURS
from preceptor.report.overlays import overlay_sections
from preceptor.report.publication import files_beside, refuse_foreign_files, write_files
from preceptor.report.relations import relation_section
from preceptor.runs.directory import Run
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError


def write_report(runs: Sequence[Path | Run], out: Path) -> Path:
    """Write one self-contained page on one or more finished runs: no script, font or picture from elsewhere.

    Args:
        runs: run directories, or runs; their order is that of the tables.
        out: the file to write; one that exists is replaced as a whole, and so are the files beside it: its numbers
            (``.csv``), its table (``.tex``), the methods (``.bib``) and a checklist for a paper (``.checklist.md``).

    Returns:
        ``out``.

    Raises:
        PreceptorError: a directory is not a finished run, runs have different tasks or classes, ``out`` cannot be
            written, or another file has the name of one beside it.
    """
    refuse_foreign_files(out)
    loaded = load_runs(runs)
    return write_contents(loaded, contents_of(loaded, entries_of(loaded)), out)


def write_contents(runs: Sequence[LabelledRun], contents: dict[str, Any], out: Path) -> Path:
    """Write page and files from what :func:`contents_of` returned; see :func:`write_report`."""
    contents = contents | {"beside": files_beside(out)}
    write_files(runs, contents, out)
    return page.write_page(out, _page(contents))


def render(runs: Sequence[LabelledRun]) -> str:
    """The page as text, without the names of files beside it."""
    return _page(contents_of(runs, entries_of(runs)))


def _page(contents: dict[str, Any]) -> str:
    return page.render("run.html.j2", contents, "clinical.css")


def contents_of(runs: Sequence[LabelledRun], all_entries: Sequence[Entry], *, pictures: bool = True) -> dict[str, Any]:
    """Return the variables of ``run.html.j2``.

    Args:
        pictures: whether to show what runs keep of their own test part: relations, layers, galleries, outlines, and
            the curves of training.

    Raises:
        PreceptorError: runs have different tasks or classes.
    """
    _refuse_unlike(runs)
    entries, differences = tables.distinct(all_entries), tables.differences(all_entries)
    task, intervals = TASKS[runs[0].task], tables.intervals(entries)
    judged = [learnt(entry, intervals.get(entry.index)) for entry in entries]
    return {
        "title": run_text.title(runs),
        "subject": run_text.subject(runs),
        "of_masks": task.needs_masks,
        "of_labels": task.target == "labels",
        "runs": runs,
        "all_entries": all_entries,
        "entries": entries,
        "classes": runs[0].classes,
        "class_words": class_words(runs[0]),
        "warnings": [*run_text.warnings(runs), *useless_networks(judged)],
        "notes": data_notes(runs),
        "findings": run_text.findings(differences),
        "fidelities": run_text.fidelities(all_entries),
        "headline": METRICS[task.headline].label,
        "headline_key": task.headline,
        "metrics": {key: metric.label for key, metric in tables.metrics_shown(entries).items()},
        "digits": {key: metric.digits for key, metric in tables.metrics_shown(entries).items()},
        "metrics_note": run_text.metrics_note(task, tables.metrics_shown(entries)),
        "intervals": intervals,
        "samples": SAMPLES,
        "differences": differences,
        "layers": layer_sections(runs) if pictures else [],
        "costs": [
            (entry, run_text.description(entry) if entry.kind == "ensemble" else entry.result.backbone, cost)
            for entry in entries
            if (cost := entry.result.cost)
        ],
        "cost_conditions": run_text.cost_conditions(entries),
        "cost_figures": figures.headline_against_cost(entries),
        "curves": [
            (run, run_text.epoch_choice(run), figures.training_curves(run, [e for e in all_entries if e.run is run]))
            for run in runs
            if pictures
        ],
        "splits": [_split(sharers) for sharers in _by_split(runs)],
        "participants": participants(_by_split(runs)),
        "parts": PARTS,
        **_SECTIONS[task.target](runs, entries, differences, pictures),
    }


def _of_classes(
    runs: Sequence[LabelledRun], entries: Sequence[Entry], differences: Sequence[tables.Difference], pictures: bool
) -> dict[str, Any]:
    classes = runs[0].classes
    return {
        "recalls": tables.recall_table(entries, classes),
        "cases": tables.class_sizes(entries, classes),
        "confusions": [(entry, tables.confusion_table(entry)) for entry in entries],
        "flows": error_flows(differences),
        "shown_streams": SHOWN_ROWS,
        "roc": figures.roc_curves(entries, class_words(runs[0])),
        "areas": tables.area_table(entries, classes) if len(entries) > figures.MOST_AREAS else [],
        "relations": relation_section(entries) if pictures else None,
        "galleries": galleries([run.path for run in runs if pictures]),
        "reliability": figures.reliability_diagrams(entries),
        **clinical_sections(entries, pictures=pictures),
    }


def _of_masks(
    runs: Sequence[LabelledRun], entries: Sequence[Entry], differences: Sequence[tables.Difference], pictures: bool
) -> dict[str, Any]:
    return {
        "sizes": mask_tables.size_table(entries),
        "whole_mask_labels": {key: metric.label for key, metric in mask_tables.whole_mask_metrics(entries).items()},
        "whole_masks": mask_tables.whole_mask_table(entries),
        "mask_classes": mask_tables.class_table(entries, runs[0].classes) if len(runs[0].classes) > 2 else [],
        "overlays": overlay_sections(entries) if pictures else [],
        "outline_colours": COLOURS,
    }


def _of_labels(
    runs: Sequence[LabelledRun], entries: Sequence[Entry], differences: Sequence[tables.Difference], pictures: bool
) -> dict[str, Any]:
    return {
        "labels": tables.label_table(entries, runs[0].classes),
        "positives": label_positives(entries),
        "points": POINTS,
    }


_SECTIONS = {"class": _of_classes, "labels": _of_labels, "mask": _of_masks}


def _split(sharers: Sequence[LabelledRun]) -> tuple[Sequence[LabelledRun], list[dict[str, Any]], dict[str, str]]:
    """Return the runs of a split, its table, and the names of its rows in full words."""
    rows = tables.split_table(sharers[0])
    return sharers, rows, class_words(sharers[0], [row["name"] for row in rows])


def _by_split(runs: Sequence[LabelledRun]) -> list[list[LabelledRun]]:
    sharers: dict[str, list[LabelledRun]] = {}
    for run in runs:
        sharers.setdefault(run.split_hash, []).append(run)
    return list(sharers.values())


def _refuse_unlike(runs: Sequence[LabelledRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.task != first.task:
            raise PreceptorError(
                f"{run.path} is a run of {run.task}, but {first.path} is one of {first.task}",
                expected="runs of one task in one report",
                remedy="write a report for each task",
            )
        if run.classes != first.classes:
            raise PreceptorError(
                f"{run.path} has the classes {', '.join(run.classes)}, but {first.path} has {', '.join(first.classes)}",
                expected="runs on the same classes in one report",
                remedy="write a report for each data set",
            )
