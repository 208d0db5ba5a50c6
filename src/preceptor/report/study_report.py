"""The report on a study: its folder in, ``report.html``, ``report.md``, ``table.csv`` and ``table.tex`` out.

Of networks that predict classes or labels also ``clinical.csv``, with the numbers of the sections for reviewers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.data.catalog import PARTS
from preceptor.evaluation.resampling import Interval
from preceptor.evaluation.statistics import Spread, spread
from preceptor.report import page, study_tables, study_text
from preceptor.report.entries import Entry
from preceptor.report.formatting import counted, duration
from preceptor.report.gallery import galleries
from preceptor.report.layers import layer_sections
from preceptor.report.network_predictions import class_words
from preceptor.report.notes import data_notes, useless_networks
from preceptor.report.outlines import COLOURS
from preceptor.report.overlays import overlay_sections
from preceptor.report.relations import relation_section
from preceptor.report.run_text import AGREEMENT
from preceptor.report.study_clinical import clinical_csv, clinical_sections
from preceptor.report.study_compare import Comparison, compare
from preceptor.report.study_external import external_sections
from preceptor.report.study_figures import costs_of, curves, forest, frontiers
from preceptor.report.study_pooled import PooledResults, pooled_results, roc_figures
from preceptor.report.study_results import CellRun, Key, Line, StudyResults, read_study
from preceptor.tasks import TASKS


def write_study_report(folder: Path) -> Path:
    """Write the report of a study, finished or not, into its folder.

    ``report.html`` is one self-contained page; ``report.md``, ``table.csv`` and ``table.tex`` hold its table. Files
    that exist are replaced, each as a whole.

    Returns:
        The page.

    Raises:
        PreceptorError: no study, no finished cell, a broken file (see
            :func:`preceptor.report.study_results.read_study`), or a folder that cannot be written to.
    """
    return write_report_of(read_study(folder))


def write_report_of(study: StudyResults) -> Path:
    """Write the report of a study that has been read; see :func:`write_study_report`."""
    comparison, of_classes = compare(study), TASKS[study.task].target == "class"
    contents = _contents(comparison)
    page.write_page(study.folder / "report.md", study_tables.as_markdown(comparison))
    page.write_page(study.folder / "table.csv", study_tables.as_csv(comparison))
    page.write_page(study.folder / "table.tex", study_tables.as_latex(comparison))
    if contents["positives"] or contents["selective"]:
        page.write_page(study.folder / "clinical.csv", clinical_csv(contents))
        sections = "operating points, calibration, uncertainty and subgroups" if of_classes else "operating points"
        contents["beside"]["clinical.csv"] = f"{sections} with intervals"
    return page.write_page(study.folder / "report.html", _page(contents))


def render(comparison: Comparison) -> str:
    """The page as text."""
    return _page(_contents(comparison))


def _page(contents: dict[str, Any]) -> str:
    return page.render("study.html.j2", contents, "study.css", "clinical.css")


def _contents(comparison: Comparison) -> dict[str, Any]:
    study = comparison.study
    of_masks, of_classes = TASKS[study.task].needs_masks, TASKS[study.task].target == "class"
    pooled = pooled_results(study, _intervals(comparison))
    forests = [shown for metric in study.layout if (shown := forest(comparison, metric)) is not None]
    costs = costs_of(study.lines)
    labels = {key: metric.label for key, metric in TASKS[study.task].metrics.items()} | study.layout
    return {
        "title": study.title,
        "beside": {
            "report.md": "the table of results and the differences",
            "table.csv": "the same with every interval",
            "table.tex": "the table for a paper",
        },
        "plan": study.plan,
        "plan_text": study.text,
        "quick": study.quick,
        "of_masks": of_masks,
        "agreement": AGREEMENT[TASKS[study.task].target],
        "of_classes": of_classes,
        "of_labels": TASKS[study.task].target == "labels",
        "classes": study.classes,
        "class_words": class_words(study.some_run),
        "lines": study.lines,
        "folds": sorted({cell.fold for cell in study.cells}),
        "seeds": sorted({cell.seed for cell in study.cells}),
        "comparison": comparison,
        "main_metric": study.first,
        "pooled_labels": {
            name: labels[name] for name in next(iter(comparison.pooled.values()), {}) if any(comparison.pooled.values())
        },
        "warnings": [
            *study_text.warnings(comparison),
            *useless_networks(pooled.learnt),
        ],
        "notes": data_notes(study.runs),
        "method": study_text.method(comparison),
        "findings": study_text.findings(comparison),
        "published": study_tables.published(comparison),
        "forests": sorted(forests, key=lambda shown: shown.metric != study.first),
        "frontiers": frontiers(comparison),
        "costs": [(study.lines[index], "", cost) for index, cost in costs.items()],
        "cost_conditions": [
            "Latency is of one image, the median over the cells of all networks of this size and FLOPs; cells that run "
            "beside others are slower than alone."
        ],
        "fidelity": _fidelity(study),
        "curves": curves(comparison),
        "failed": study.of("failed"),
        "keys": sorted({cell.key for cell in study.cells}),
        "cell_rows": _cell_rows(study),
        "splits": _splits(study),
        "facts": _facts(study),
        **_of_one_cell_each(study, of_masks),
        **(_of_classes(study, pooled) if of_classes else {}),
        **clinical_sections(study, comparison.resampling),
        "externals": external_sections(study),
    }


def _of_classes(study: StudyResults, pooled: PooledResults) -> dict[str, Any]:
    return {
        "recalls": [(line, [_recall(line, name) for name in study.classes]) for line in study.lines],
        "confusions": pooled.confusions,
        "roc": roc_figures(study, pooled),
        "areas": pooled.areas,
        "reliability": pooled.reliability,
    }


def _of_one_cell_each(study: StudyResults, of_masks: bool) -> dict[str, Any]:
    """What is shown of one run a line: on the fold and seed that most lines have."""
    common = Counter(key for line in study.lines for key in line.runs)
    usual = max(sorted(common), key=lambda key: common[key])
    entries = [_entry(line, usual if usual in line.runs else min(line.runs)) for line in study.lines]
    firsts = [entry for entry, line in zip(entries, study.lines, strict=True) if line.is_first]
    return {
        "relations": relation_section(entries) if TASKS[study.task].target == "class" else None,
        "relation_ratios": _relations(study),
        "galleries": galleries(list({entry.run.path: None for entry in entries})),
        "layers": layer_sections([entry.run for entry in firsts]),
        "overlays": overlay_sections(firsts) if of_masks else [],
        "outline_colours": COLOURS,
    }


def _intervals(comparison: Comparison) -> dict[int, Interval]:
    name = "balanced_accuracy"
    return {index: of[name].interval for index, of in comparison.pooled.items() if name in of}


def _entry(line: Line, key: Key) -> Entry:
    return Entry(CellRun.of(line.runs[key], line.label), line.network, line.label, line.index)


def _recall(line: Line, name: str) -> Spread | None:
    return _spread((line.result(key).test.get("per_class_recall") or {} for key in line.runs), name)


def _relations(study: StudyResults) -> list[tuple[Line, dict[str, Spread | None]]]:
    """R_d of each line and its two parts, where its runs measured them."""
    result = []
    for line in study.lines:
        of_runs = [line.result(key).relations or {} for key in line.runs]
        spreads = {name: _spread(of_runs, name) for name in ("r_d", "intra", "inter")}
        if any(of is not None for of in spreads.values()):
            result.append((line, spreads))
    return result


def _fidelity(study: StudyResults) -> list[tuple[Line, str, dict[str, Spread | None]]]:
    result = []
    for line in study.lines:
        of_runs = [of for key in line.runs if (of := line.result(key).test.get("fidelity"))]
        if of_runs:
            to = ", ".join(sorted({str(of.get("to")) for of in of_runs}))
            result.append((line, to, {name: _spread(of_runs, name) for name in ("agreement", "kl")}))
    return result


def _spread(of_runs: Iterable[dict[str, Any]], name: str) -> Spread | None:
    return spread([of[name] for of in of_runs if of.get(name) is not None])


def _cell_rows(study: StudyResults) -> list[tuple[str, Line | None, list[tuple[float | None, str]]]]:
    """Main metric of every cell, or its state: one row per line, and one for each row without a finished cell."""
    keys = sorted({cell.key for cell in study.cells})
    states = {(cell.name, cell.key): cell.state for cell in study.cells}
    result: list[tuple[str, Line | None, list[tuple[float | None, str]]]] = []
    for row in study.plan.rows:
        lines: list[Line | None] = [line for line in study.lines if line.row is row]
        for line in lines or [None]:
            values = line.values(study.first) if line else {}
            result.append((row.name, line, [(values.get(key), _state(states.get((row.name, key)))) for key in keys]))
    return result


def _state(state: str | None) -> str:
    return "–" if state in (None, "done") else str(state)


def _splits(study: StudyResults) -> list[dict[str, Any]]:
    """One row for each split of the cells: its hash, its fold, and images and groups of each part."""
    result: dict[str, dict[str, Any]] = {}
    for line in study.lines:
        for (fold, _), run in sorted(line.runs.items()):
            name = run.split_hash
            if name not in result:
                parts = run.split.groupby("part")["group"].agg(["size", "nunique"])
                sizes = [tuple(map(int, parts.loc[part])) if part in parts.index else (0, 0) for part in PARTS]
                result[name] = {"fold": fold, "hash": name, "parts": sizes}
    return sorted(result.values(), key=lambda split: split["fold"])


def _facts(study: StudyResults) -> dict[str, list[str]]:
    """Environment of the runs, each distinct value once."""
    runs = [run.environment for run in study.runs]
    seconds = [cell.seconds for cell in study.cells if cell.seconds]
    spent = f"{duration(sum(seconds))} in {counted(len(seconds), 'cell')}, median {duration(np.median(seconds))}"
    facts = {
        "Command": (run.command for run in runs),
        "Data": (f"{run.data.name}, {run.data.images} images" for run in runs),
        "Fingerprint": (run.data.fingerprint for run in runs),
        "Protocol": (run.metrics.protocol for run in study.runs),
        "Machine": (f"{run.device}, {run.machine or 'unknown'}" for run in runs),
        "Threads": (f"{run.threads}, precision {run.precision_in_use}" for run in runs),
        "Time": [spent] if seconds else [],
        "Versions": (", ".join(f"{name} {version}" for name, version in run.versions.items()) for run in runs),
    }
    return {name: list(dict.fromkeys(map(str, values))) for name, values in facts.items()}
