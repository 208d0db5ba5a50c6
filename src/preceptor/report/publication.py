"""The files beside a run report: its numbers as CSV, its table as LaTeX, BibTeX, and a checklist for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import Interval
from preceptor.report import page
from preceptor.report.bibliography import MARK as BIB_MARK
from preceptor.report.bibliography import as_bibtex
from preceptor.report.calibration import CalibrationRow
from preceptor.report.carried_over import CarriedOver
from preceptor.report.checklist import MARK as CHECKLIST_MARK
from preceptor.report.checklist import as_markdown
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import NONE, ratio
from preceptor.report.network_predictions import Estimate
from preceptor.report.operating_points import POINTS
from preceptor.report.study_results import Line
from preceptor.report.study_tables import latex_text
from preceptor.report.uncertainty import ANSWERED
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.tasks import TASKS
from preceptor.utils.files import refuse_foreign

ENDINGS = {
    ".csv": "every number with its interval",
    ".tex": "the table of results",
    ".bib": "the methods",
    ".checklist.md": "what CLAIM 2024 and TRIPOD+AI ask",
}
HEAD = ("network", "of", "quantity", "value", "low", "high")
TEX_MARK = "% Table of a Preceptor report"
Row = tuple[str, str, str, float | None, float | None, float | None]


def files_beside(out: Path) -> dict[str, str]:
    """Return name → contents in words of the files that go with a page.

    >>> list(files_beside(Path("report.html")))
    ['report.csv', 'report.tex', 'report.bib', 'report.checklist.md']
    """
    return {out.with_suffix(ending).name: words for ending, words in ENDINGS.items()}


def refuse_foreign_files(out: Path) -> None:
    """Raise :class:`PreceptorError` where a file of another origin has the name of one that goes with a page."""
    marks = {".csv": ",".join(HEAD), ".tex": TEX_MARK, ".bib": BIB_MARK, ".checklist.md": CHECKLIST_MARK}
    for ending, mark in marks.items():
        refuse_foreign(out.with_suffix(ending), [mark.encode()])


def write_files(runs: Sequence[LabelledRun], contents: Mapping[str, Any], out: Path) -> None:
    """Write the files beside a page, each as a whole.

    Args:
        contents: what the page was made of.
        out: the page.
    """
    entries = contents["entries"]
    page.write_page(out.with_suffix(".csv"), as_csv(contents))
    page.write_page(out.with_suffix(".tex"), as_latex(entries, contents["metrics"], contents["intervals"]))
    recipes = {run.recipe.name: run.recipe.paper for run in runs}
    page.write_page(out.with_suffix(".bib"), as_bibtex(recipes, _methods(contents)))
    page.write_page(out.with_suffix(".checklist.md"), as_markdown(runs, entries, out.name))


def as_csv(contents: Mapping[str, Any]) -> str:
    """Return one row per network and quantity: metrics of the test part, then those of every section."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(_metric_rows(contents["entries"], contents["metrics"], contents["intervals"]))
    for entry, estimates in contents.get("whole_masks", ()):
        writer.writerows(_row(entry, "whole masks", key, estimate) for key, (estimate, _) in estimates.items())
    if contents.get("carried"):
        writer.writerows(_carried_rows(contents["carried"]))
    writer.writerows(_calibration_rows(contents.get("calibrations", ())))
    writer.writerows(section_rows(contents))
    return text.getvalue()


def as_latex(entries: Sequence[Entry], metrics: Mapping[str, str], intervals: Mapping[int, Interval]) -> str:
    """Return the table of results for a paper, in the style of booktabs.

    Args:
        metrics: key → label.
        intervals: of the headline metric, by the entry's index.
    """
    headline = TASKS[entries[0].run.task].headline
    marks = dict.fromkeys(entry.run.mark for entry in entries if entry.run.mark)
    columns = [key for key in metrics if any(entry.test.get(key) is not None for entry in entries)]
    lines = [
        TEX_MARK,
        *([f"% {NOT_EVIDENCE}"] if NOT_EVIDENCE in marks else []),
        r"\begin{table}",
        r"\centering",
        r"\caption{Results on the test part" + "".join(rf" \textbf{{({latex_text(mark)})}}" for mark in marks)
        + r"; in brackets the 95\,\% interval, bootstrap over groups.}",
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["network", *(latex_text(metrics[key]) for key in columns)]) + r" \\",
        r"\midrule",
    ]  # fmt: skip
    for entry in entries:
        cells = [ratio(entry.test.get(key), METRICS[key].digits).replace(NONE, "--") for key in columns]
        if entry.index in intervals and headline in columns:
            bounds = intervals[entry.index]
            cells[columns.index(headline)] += f" [{ratio(bounds.low)}, {ratio(bounds.high)}]"
        lines.append(" & ".join([latex_text(entry.label), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _methods(contents: Mapping[str, Any]) -> list[str]:
    used = {
        "bootstrap": contents["intervals"],
        "calibration": contents.get("calibrations"),
        "brier": contents.get("calibrations"),
        "decision_curve": contents.get("positives"),
        "conformal": contents.get("sets"),
        "adaptive_sets": contents.get("adaptive_sets"),
        "selective": contents.get("selective"),
        "out_of_distribution": contents.get("carried") and contents["carried"].separations,
        "grad_cam": contents.get("galleries"),
        "cka": contents["layers"],
        "cka_batches": contents["layers"],
        "claim": True,
        "tripod": True,
    }
    return [key for key, value in used.items() if value]


def _metric_rows(
    entries: Sequence[Entry], metrics: Mapping[str, str], intervals: Mapping[int, Interval]
) -> Iterator[Row]:
    for entry in entries:
        headline = TASKS[entry.run.task].headline
        for key in metrics:
            bounds = intervals.get(entry.index) if key == headline else None
            yield _row(entry, "test part", key, Estimate(entry.test.get(key), bounds))


def _carried_rows(shown: CarriedOver) -> Iterator[Row]:
    for row in (*shown.networks, *shown.gains):
        for quantity, estimate in (("own test part", row.own), ("there", row.other), ("change", row.change)):
            bounds = estimate.interval
            of = f"carried over to {shown.name}"
            yield row.label, of, quantity, estimate.value, *((bounds.low, bounds.high) if bounds else (None, None))
    for network in shown.separations:
        bounds = network.area.interval
        ends = (bounds.low, bounds.high) if bounds else (None, None)
        of = f"own test part against {shown.name}"
        yield network.label, of, "AUROC of the largest probability", network.area.value, *ends


def _calibration_rows(rows: Sequence[CalibrationRow]) -> Iterator[Row]:
    for row in rows:
        of = "after temperature scaling" if row.scaled else "as it is"
        for key in ("error", "nll", "brier", "slope", "intercept"):
            yield _row(row.network.entry, of, f"calibration {key}", getattr(row, key))


def section_rows(contents: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the numbers of operating points, selective prediction, conformal sets and subgroups, if any."""
    for positive in contents.get("positives", ()):
        for network, area, partial, points in positive.rows:
            yield _row(network.entry, positive.name, "AUC", area)
            yield _row(network.entry, positive.name, "AUC above 80% sensitivity", partial)
            for (rate, target, other), point in zip(POINTS, points, strict=True):
                name = f"{target:.0%} {rate}"
                if point.threshold is not None:  # a study has one in each cell
                    yield _row(network.entry, positive.name, f"threshold for {name}", Estimate(point.threshold))
                yield _row(network.entry, positive.name, f"{other} at {name}", point.value)
                yield _row(network.entry, positive.name, f"{rate} reached at {name}", point.reached)
    for row in contents.get("selective", ()):
        for share, risk in zip(ANSWERED, row.risks, strict=True):
            yield _row(row.network.entry, "selective prediction", f"error rate, {share:.0%} answered", Estimate(risk))
        yield _row(row.network.entry, "selective prediction", "AURC", row.area)
    for kind, of in (("sets", "conformal sets"), ("adaptive_sets", "adaptive conformal sets")):
        for row in contents.get(kind, ()):
            for key in ("coverage", "size", "single"):
                yield _row(row.network.entry, of, key, getattr(row, key))
    for attribute in contents.get("attributes", ()):
        for value in attribute.values:
            for row in value.rows:
                of = f"{attribute.name}: {value.name} ({value.images} images)"
                for place, key in enumerate(attribute.metrics):
                    yield _row(row.network.entry, of, key, row.values[place])
                    yield _row(row.network.entry, of, f"{key} gap", row.gaps[place])
                    if (change := row.changes[place]) is not None:
                        yield _row(row.network.entry, of, f"{key} gap against teacher", Estimate(*change))


def _row(entry: Entry | Line, of: str, quantity: str, estimate: Estimate) -> Row:
    bounds = estimate.interval
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    return entry.label, of, quantity, estimate.value, low, high
