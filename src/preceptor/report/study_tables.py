"""A study's table as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from preceptor.report.formatting import NONE, mean_std, probability, ratio, span
from preceptor.report.study_compare import Comparison
from preceptor.report.study_results import Line
from preceptor.report.study_text import method, warnings
from preceptor.runs.marks import NOT_EVIDENCE

_ARROWS = {"▲": r"$^\uparrow$", "▼": r"$^\downarrow$", "": ""}
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    letter: f"\\{letter}" for letter in "&%$#_{}"
}


def published(comparison: Comparison) -> dict[int, dict[str, float]]:
    """Line index → metric → published value, for the first network of each row."""
    study = comparison.study
    rows = study.plan.published.rows if study.plan.published else {}
    return {
        line.index: {
            metric: value
            for metric, value in rows.get(line.row.name, {}).items()
            if line.is_first and metric in study.layout
        }
        for line in study.lines
    }


def as_markdown(comparison: Comparison) -> str:
    """The table, the differences, and how both were computed."""
    study, decimals, paper = comparison.study, comparison.study.decimals, published(comparison)
    mark = f" ({NOT_EVIDENCE})" if study.quick else ""
    out = [f"# {study.title}{mark}", ""]
    for heading, sentence in warnings(comparison):
        out += [f"> **{heading}.** {' '.join(sentence.split())}", ""]
    table = [["row", "cells", *study.layout.values()]]
    for line in study.lines:
        table.append([line.label, str(len(line.runs)), *_marked(comparison, line)])
        if values := paper[line.index]:
            table.append(["*published*", "", *(ratio(values.get(metric), decimals) for metric in study.layout)])
    out += [*_rows(table), "", f"▲ ▼: differs from {study.baseline}, after correction."]
    out += [f"Published: {study.plan.published.table}."] if study.plan.published and any(paper.values()) else []
    for metric, heading in study.layout.items():
        if not (versus := comparison.versus[metric]):
            continue
        out += ["", f"## {heading}, minus {study.baseline}{mark}", ""]
        out += _rows(
            [
                [
                    "row", "difference (corrected CI)", "folds higher", "p", "Holm p",
                    "bootstrap (corrected CI)", "verdict",
                ],
                *(
                    [
                        row.line.label, row.difference(decimals), row.folds_higher,
                        probability(row.test.p), probability(row.adjusted),
                        span(row.pooled.low, row.pooled.high, decimals) if row.pooled else NONE, row.words,
                    ]
                    for row in versus
                ),
            ]
        )  # fmt: skip
    out += ["", *(f"- {sentence}" for sentence in method(comparison))]
    if failed := study.of("failed"):
        out += ["", "## Failed cells", ""]
        out += [f"- {cell.name}, fold {cell.fold}, seed {cell.seed}: {' '.join(cell.error.split())}" for cell in failed]
    return "\n".join(out) + "\n"


def as_csv(comparison: Comparison) -> str:
    """One row for each line of the table and metric, with all values at full precision."""
    study, paper = comparison.study, published(comparison)
    head = [
        "row", "network", "metric", "cells", "mean", "std", "paper", "less",
        "folds", "folds_higher", "difference", "low", "high", "p", "holm_p", "level", "verdict",
        "pooled", "pooled_low", "pooled_high", "pooled_difference_low", "pooled_difference_high",
        "evidence",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for line in study.lines:
        for metric in study.layout:
            spread, pooled = comparison.spreads[line.index][metric], comparison.pooled[line.index].get(metric)
            versus = comparison.against(line, metric)
            test = versus.test if versus else None
            gap = versus.pooled if versus else None
            writer.writerow(
                [
                    line.row.name, line.network, metric,
                    spread.cells if spread else 0, spread.mean if spread else None, spread.std if spread else None,
                    paper[line.index].get(metric), versus.baseline.label if versus else None,
                    *((test.folds, test.higher, test.mean, test.low, test.high, test.p) if test else (None,) * 6),
                    *((versus.adjusted, versus.level, versus.words) if versus else (None,) * 3),
                    *((pooled.value, pooled.interval.low, pooled.interval.high) if pooled else (None,) * 3),
                    *((gap.low, gap.high) if gap else (None, None)), NOT_EVIDENCE if study.quick else None,
                ]
            )  # fmt: skip
    return text.getvalue()


def as_latex(comparison: Comparison) -> str:
    """A table for a paper, in the style of booktabs."""
    study, decimals, paper = comparison.study, comparison.study.decimals, published(comparison)
    quick = rf" \textbf{{({NOT_EVIDENCE})}}" if study.quick else ""
    cited = (
        f" Published: {latex_text(study.plan.published.table)}." if study.plan.published and any(paper.values()) else ""
    )
    lines = [
        *([f"% {NOT_EVIDENCE}"] if study.quick else []),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(study.title)}{quick}. Mean $\pm$ standard deviation over cells; "
        rf"$\uparrow\downarrow$: differs from {latex_text(study.baseline)} "
        rf"(corrected resampled $t$-test over folds, Holm, $p<0.05$).{cited}}}",
        rf"\begin{{tabular}}{{l{'c' * len(study.layout)}}}",
        r"\toprule",
        " & ".join(["", *map(latex_text, study.layout.values())]) + r" \\",
        r"\midrule",
    ]
    for line in study.lines:
        cells = []
        for metric in study.layout:
            text = mean_std(comparison.spreads[line.index][metric], decimals).replace("±", r"$\pm$")
            versus = comparison.against(line, metric)
            cells.append(text.replace(NONE, "--") + _ARROWS[versus.arrow if versus else ""])
        lines.append(" & ".join([latex_text(line.label), *cells]) + r" \\")
        if values := paper[line.index]:
            texts = [ratio(values.get(metric), decimals).replace(NONE, "--") for metric in study.layout]
            lines.append(" & ".join([r"\quad\emph{published}", *texts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _marked(comparison: Comparison, line: Line) -> list[str]:
    cells = []
    for metric in comparison.study.layout:
        versus = comparison.against(line, metric)
        text = mean_std(comparison.spreads[line.index][metric], comparison.study.decimals)
        cells.append(f"{text} {versus.arrow if versus else ''}".strip())
    return cells


def _rows(table: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return [head, "|---" * len(table[0]) + "|", *body]


def latex_text(text: str) -> str:
    """Return a text with the characters escaped that mean something to LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in text)
