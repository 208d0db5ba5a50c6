"""A study's table as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from preceptor.report.formatting import NONE, THIN
from preceptor.report.study_compare import Comparison
from preceptor.report.study_results import Line
from preceptor.report.study_words import (
    difference,
    figure,
    mark,
    method,
    papers,
    probability,
    published,
    span,
    warnings,
)
from preceptor.runs.marks import NOT_EVIDENCE

_ARROWS = {"▲": r"$^\uparrow$", "▼": r"$^\downarrow$", "": ""}
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    one: f"\\{one}" for one in "&%$#_{}"
}


def as_markdown(found: Comparison) -> str:
    """The table, the differences and what must be known of them."""
    study, decimals, own = found.study, found.study.decimals, papers(found)
    title = f"{study.title} ({NOT_EVIDENCE})" if study.quick else study.title
    out = [f"# {title}", ""]
    for heading, sentence in warnings(found):
        out += [f"> **{heading}.** {' '.join(sentence.split())}", ""]
    headings = [f"{heading}" for heading in study.layout.values()]
    table = [["row", "cells", *headings]]
    for line in study.lines:
        table.append([line.label, str(len(line.runs)), *_marked(found, line)])
        if own[line.index]:
            figures = [published(own[line.index], metric, decimals) for metric in study.layout]
            table.append(["*published*", "", *figures])
    out += [*_rows(table), "", f"▲ ▼: differs from {study.baseline}, after correction."]
    out += [f"Published: {study.plan.published.table}."] if study.plan.published and any(own.values()) else []
    for metric, heading in study.layout.items():
        versus = found.versus[metric]
        if versus:
            out += ["", f"## {heading}, less {study.baseline}{f' ({NOT_EVIDENCE})' if study.quick else ''}", ""]
            head = ["row", f"difference (95{THIN}%)", "p", "Holm p", f"pooled, 95{THIN}%", "verdict"]
            out += _rows(
                [
                    head,
                    *(
                        [
                            one.line.label, difference(one, decimals), probability(one.test.p),
                            probability(one.adjusted),
                            span(one.pooled.low, one.pooled.high, decimals) if one.pooled else NONE, one.words,
                        ]
                        for one in versus
                    ),
                ]
            )  # fmt: skip
    out += ["", *(f"- {sentence}" for sentence in method(found))]
    failed = study.of("failed")
    if failed:
        out += ["", "## Failed cells", ""]
        out += [f"- {one.row}, fold {one.fold}, seed {one.seed}: {' '.join(one.error.split())}" for one in failed]
    return "\n".join(out) + "\n"


def as_csv(found: Comparison) -> str:
    """One row a line of the table and metric, with all figures at full precision."""
    study, own = found.study, papers(found)
    head = [
        "row", "network", "metric", "cells", "mean", "std", "paper", "less", "folds", "difference", "low", "high", "p",
        "holm_p", "verdict", "pooled", "pooled_low", "pooled_high", "pooled_difference_low", "pooled_difference_high",
        "evidence",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for line in study.lines:
        for metric in study.layout:
            spread, pooled = found.spreads[line.index][metric], found.pooled[line.index].get(metric)
            one = found.against(line, metric)
            test = one.test if one else None
            gap = one.pooled if one else None
            writer.writerow(
                [
                    line.row.name, line.network, metric,
                    spread.cells if spread else 0, spread.mean if spread else None, spread.std if spread else None,
                    own[line.index].get(metric), one.baseline.label if one else None,
                    *((test.folds, test.mean, test.low, test.high, test.p) if test else (None,) * 5),
                    one.adjusted if one else None, one.words if one else None,
                    *((pooled.value, pooled.interval.low, pooled.interval.high) if pooled else (None,) * 3),
                    *((gap.low, gap.high) if gap else (None, None)), NOT_EVIDENCE if study.quick else None,
                ]
            )  # fmt: skip
    return text.getvalue()


def as_latex(found: Comparison) -> str:
    """A table for a paper, in booktabs' style."""
    study, decimals, own = found.study, found.study.decimals, papers(found)
    quick = rf" \textbf{{({NOT_EVIDENCE})}}" if study.quick else ""
    cited = f" Published: {_tex(study.plan.published.table)}." if study.plan.published and any(own.values()) else ""
    lines = [
        *([f"% {NOT_EVIDENCE}"] if study.quick else []),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(study.title)}{quick}. Mean $\pm$ standard deviation over cells; $\uparrow\downarrow$: "
        rf"differs from {_tex(study.baseline)} (corrected resampled $t$-test over folds, Holm, $p<0.05$).{cited}}}",
        rf"\begin{{tabular}}{{l{'c' * len(study.layout)}}}",
        r"\toprule",
        " & ".join(["", *map(_tex, study.layout.values())]) + r" \\",
        r"\midrule",
    ]
    for line in study.lines:
        cells = []
        for metric in study.layout:
            said = figure(found.spreads[line.index][metric], decimals).replace("±", r"$\pm$").replace(NONE, "--")
            cells.append(said + _ARROWS[mark(found.against(line, metric))])
        lines.append(" & ".join([_tex(line.label), *cells]) + r" \\")
        if own[line.index]:
            figures = [published(own[line.index], metric, decimals).replace(NONE, "--") for metric in study.layout]
            lines.append(" & ".join([r"\quad\emph{published}", *figures]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _marked(found: Comparison, line: Line) -> list[str]:
    return [
        f"{figure(found.spreads[line.index][metric], found.study.decimals)} {mark(found.against(line, metric))}".strip()
        for metric in found.study.layout
    ]


def _rows(table: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return [head, "|---" * len(table[0]) + "|", *body]


def _tex(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in text)
