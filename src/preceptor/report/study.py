"""A study's folder in, four files out: ``report.html``, ``report.md``, ``table.csv`` and ``table.tex``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from preceptor.evaluation.metrics import calibration_error
from preceptor.evaluation.names import MASK_METRICS, METRICS
from preceptor.evaluation.statistics import Spread, spread
from preceptor.report import figures, tables
from preceptor.report import study_export as text
from preceptor.report import study_words as words
from preceptor.report.canvas import Figure
from preceptor.report.formatting import duration
from preceptor.report.gallery import galleries
from preceptor.report.layers import layer_sections
from preceptor.report.outlines import SAID, TRUTH
from preceptor.report.overlays import overlay_sections
from preceptor.report.page import templates
from preceptor.report.relations import relation_section
from preceptor.report.run import Entry
from preceptor.report.study_compare import Comparison, compare
from preceptor.report.study_figures import costs_of, curves, forest, frontiers
from preceptor.report.study_results import Key, Line, Study, read_study
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

TEMPLATE = "study.html.j2"


def write_study_report(folder: Path) -> Path:
    """Writes the report of a study, finished or not, into its folder.

    ``report.html`` is one self-contained page; ``report.md``, ``table.csv`` and ``table.tex`` hold its table. Files
    that exist are replaced, each as a whole.

    Returns:
        The page.

    Raises:
        PreceptorError: no study, no finished cell, a broken file (see
            :func:`preceptor.report.study_results.read_study`), or a folder that cannot be written to.
    """
    return write_report_of(read_study(folder))


def write_report_of(study: Study) -> Path:
    """:func:`write_study_report` of a study that has been read."""
    folder, found = study.folder, compare(study)
    written = {
        "report.md": text.as_markdown(found),
        "table.csv": text.as_csv(found),
        "table.tex": text.as_latex(found),
        "report.html": render(found),
    }
    try:
        for name, content in written.items():
            write_text(folder / name, content)
    except OSError as error:
        raise PreceptorError(f"{folder} cannot be written to: {error.strerror}") from error
    return folder / "report.html"


def render(found: Comparison) -> str:
    """The page as text."""
    page = templates()
    page.filters |= {"probability": words.probability}
    return page.get_template(TEMPLATE).render(_contents(found))


def _contents(found: Comparison) -> dict[str, Any]:
    study = found.study
    forests = [one for metric in study.layout if (one := forest(found, metric)) is not None]
    return {
        "style": Markup("\n".join(_text(name) for name in ("style.css", "study.css"))),
        "study": study,
        "found": found,
        "words": words,
        "titles": METRICS | MASK_METRICS,
        "warnings": words.warnings(found),
        "notes": _notes(study),
        "method": words.method(found),
        "findings": words.findings(found),
        "papers": words.papers(found),
        "first": study.first,
        "forests": sorted(forests, key=lambda one: one.metric != study.first),
        "frontiers": frontiers(found),
        "costs": [(study.lines[index], cost) for index, cost in costs_of(study.lines).items()],
        "fidelity": _fidelity(study),
        "curves": curves(found),
        "keys": sorted({cell.key for cell in study.cells}),
        "cells": {(cell.row, cell.key): cell for cell in study.cells},
        "runs": study.runs,
        "splits": _splits(study),
        "facts": _facts(study),
        **_of_one_cell_each(study),
        **(_of_classes(study) if study.task == "classification" else {}),
    }


def _of_classes(study: Study) -> dict[str, Any]:
    """What only classifiers have."""
    pooled = [_pooled(study, line) for line in study.lines]
    return {
        "recalls": [(line, [_recall(line, name) for name in study.classes]) for line in study.lines],
        "confusions": [(entry, tables.confusion_table(entry)) for entry in pooled],
        "entries": pooled,
        "roc": [_noted(study, one) for one in figures.roc_curves(pooled, study.classes)],
        "areas": tables.area_table(pooled, study.classes) if len(pooled) > figures.MOST_AREAS else [],
        "reliability": figures.reliability_diagrams(pooled),
    }


def _of_one_cell_each(study: Study) -> dict[str, Any]:
    """What is shown of one run a line: on the fold and seed that most lines have."""
    common = Counter(key for line in study.lines for key in line.runs)
    shown = max(sorted(common), key=lambda key: common[key])
    some = [_entry(line, shown if shown in line.runs else min(line.runs)) for line in study.lines]
    firsts = [entry for entry, line in zip(some, study.lines, strict=True) if line is study.first_of(line.row)]
    masks = study.task == "segmentation"
    return {
        "relations": None if masks else relation_section(some),
        "r_d": _relations(study),
        "galleries": galleries(list({entry.run.path: None for entry in some})),
        "layers": layer_sections([entry.run for entry in firsts]),
        "overlays": overlay_sections(firsts) if masks else [],
        "outline_colours": {"truth": TRUTH, "said": SAID},
    }


def _noted(study: Study, figure: Figure) -> Figure:
    """A class's ROC curves with how many images it has, each counted once, whatever cells are missing."""
    images = pd.concat([run.tested[["id", "target"]] for run in study.runs]).drop_duplicates()
    return replace(figure, note=f"{(images['target'] == figure.title).sum()} of {len(images)} images")


def _pooled(study: Study, line: Line) -> Entry:
    """A line's predictions on the test parts of all folds (and seeds) as if one run had made them."""
    table = pd.concat(line.tested().values(), ignore_index=True)
    scores = table[[f"p_{name}" for name in study.classes]].to_numpy()
    targets = table["target"].map({name: index for index, name in enumerate(study.classes)}).to_numpy()
    facts = {"test": {"calibration_error": calibration_error(targets, scores)}}
    metrics = {"classes": study.classes, "networks": {line.network: facts}}
    read = replace(study.some_run, label=line.label, metrics=metrics, predictions=table)
    return Entry(read, line.network, line.label, line.index)


def _entry(line: Line, key: Key) -> Entry:
    """One cell of a line, for what is shown of one run."""
    return Entry(replace(line.runs[key], label=line.label), line.network, line.label, line.index)


def _recall(line: Line, name: str) -> Spread | None:
    values = [(line.facts(key)["test"].get("per_class_recall") or {}).get(name) for key in line.runs]
    return spread([value for value in values if value is not None])


def _relations(study: Study) -> list[tuple[Line, dict[str, Spread | None]]]:
    """R_d of each line and what it is made of, where its runs have it."""
    found = []
    for line in study.lines:
        said = [line.facts(key).get("relations") or {} for key in line.runs]
        spreads = {name: _over(said, name) for name in ("r_d", "intra", "inter")}
        if any(one is not None for one in spreads.values()):
            found.append((line, spreads))
    return found


def _fidelity(study: Study) -> list[tuple[Line, str, dict[str, Spread | None]]]:
    found = []
    for line in study.lines:
        said = [one for key in line.runs if (one := (line.facts(key)["test"] or {}).get("fidelity"))]
        if said:
            to = ", ".join(sorted({str(one.get("to")) for one in said}))
            found.append((line, to, {name: _over(said, name) for name in ("agreement", "kl")}))
    return found


def _over(said: list[dict[str, Any]], name: str) -> Spread | None:
    return spread([one[name] for one in said if one.get(name) is not None])


def _notes(study: Study) -> list[str]:
    """What the reader of the data noted, and how many images were left out."""
    data = [run.environment.get("data", {}) for run in study.runs]
    notes = [str(note) for one in data for note in one.get("notes") or []]
    notes += [f"{len(one['excluded'])} images were left out by --exclude" for one in data if one.get("excluded")]
    return list(dict.fromkeys(notes))


def _splits(study: Study) -> list[dict[str, Any]]:
    """One row for each split that the cells used: its hash, its folds, and how many images and groups each part has."""
    found: dict[str, dict[str, Any]] = {}
    for line in study.lines:
        for (fold, _), run in sorted(line.runs.items()):
            name = str(run.environment.get("split_hash", "without a hash"))
            if name in found:
                continue
            parts = run.split.groupby("part")["group"].agg(["size", "nunique"])
            cells = [tuple(map(int, parts.loc[part])) if part in parts.index else (0, 0) for part in tables.PARTS]
            found[name] = {"fold": fold, "hash": name, "parts": cells}
    return sorted(found.values(), key=lambda one: one["fold"])


def _facts(study: Study) -> dict[str, list[str]]:
    """What the runs say of themselves, each saying once."""
    runs = [run.environment for run in study.runs]
    data = [run.get("data", {}) for run in runs]
    versions = (run.get("versions") or {} for run in runs)
    seconds = [cell.seconds for cell in study.cells if cell.seconds]
    spent = f"{duration(sum(seconds))} in {len(seconds)} cells, {duration(float(np.median(seconds)))} in the middle one"
    return {
        "Command": _once(run.get("command", "unknown") for run in runs),
        "Data": _once(f"{one.get('name', 'unknown')}, {one.get('images', '?')} images" for one in data),
        "Fingerprint": _once(one.get("fingerprint", "unknown") for one in data),
        "Protocol": _once(run.metrics.get("protocol", "unknown") for run in study.runs),
        "Machine": _once(f"{run.get('device', 'unknown')}, {run.get('machine', 'unknown')}" for run in runs),
        "Threads": _once(f"{run.get('threads', '?')}, precision {run.get('precision', 'unknown')}" for run in runs),
        "Time": [spent] if seconds else [],
        "Versions": _once(", ".join(f"{name} {version}" for name, version in one.items()) for one in versions),
    }


def _once(said: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(one) for one in said))


def _text(name: str) -> str:
    return files("preceptor.report").joinpath(name).read_text(encoding="utf-8")
