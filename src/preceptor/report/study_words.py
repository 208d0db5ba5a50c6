"""What a study's report says in words, and how it writes its figures."""

from __future__ import annotations

from collections.abc import Mapping

from preceptor.evaluation.statistics import FEW, Spread
from preceptor.report.formatting import MINUS, NONE, PAPER_PROTOCOL, THIN, count, listed
from preceptor.report.intervals import SAMPLES
from preceptor.report.study_compare import BETTER, SAME, UNTESTED, WORSE, Comparison, Versus
from preceptor.report.tables import LOWER_IS_BETTER
from preceptor.runs.marks import NOT_EVIDENCE

QUICK_SAYS = """\
This study was made to show that everything runs: little data, small networks, few epochs. Nothing follows from its
figures, whatever the tests say."""
UNLIKE_SPLITS = "Cells of one fold do not share a split: rows are of different test images. They are not subtracted."
UNLIKE_DATA = "The cells did not all see the same data: their fingerprints differ. Do not compare them."


def figure(found: Spread | None, decimals: int, *, spread: bool = True) -> str:
    """0.722 ± 0.012; 0.722 alone of a single cell, or where no ``spread`` is wanted."""
    if found is None:
        return NONE
    mean = plain(found.mean, decimals)
    return f"{mean} ± {plain(found.std, decimals)}" if spread and found.std is not None else mean


def plain(value: float, decimals: int) -> str:
    """0.722"""
    return f"{value:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """+0.012 or −0.012"""
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def tick(value: float) -> str:
    """+0.05: as short as it goes."""
    return f"{value:+.3g}".replace("-", MINUS) if abs(value) > 1e-9 else "0"


def span(low: float, high: float, decimals: int) -> str:
    """−0.010 to +0.030"""
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def probability(p: float | None) -> str:
    """p-values with two digits, and no more zeros than anybody believes."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def difference(one: Versus, decimals: int) -> str:
    """+0.012, with its 95 % interval where it was tested."""
    if one.test.mean is None:
        return NONE
    mean = signed(one.test.mean, decimals)
    if one.test.low is None or one.test.high is None:
        return mean
    return f"{mean} ({span(one.test.low, one.test.high, decimals)})"


def mark(one: Versus | None) -> str:
    """▲ or ▼ beside a figure that differs from the baseline's, to the good or not; else nothing."""
    if one is None or one.verdict not in (BETTER, WORSE) or one.test.mean is None:
        return ""
    return "▲" if one.test.mean > 0 else "▼"


def findings(found: Comparison) -> list[str]:
    """What the tests say of the first metric, a sentence for each verdict."""
    study = found.study
    by: dict[str, list[Versus]] = {}
    for one in found.versus[study.first]:
        by.setdefault(one.verdict, []).append(one)
    heading, said = study.layout[study.first], []
    for verdict in (BETTER, WORSE):
        if verdict in by:
            names = [f"{one.line.label} ({_points(one)})" for one in by[verdict]]
            said.append(
                f"In {heading} {listed(names)} {'are' if len(names) > 1 else 'is'} {verdict} than {study.baseline}."
            )
    if SAME in by:
        names = [f"{one.line.label} ({_points(one)})" for one in by[SAME]]
        said.append(f"No difference to {study.baseline} is shown for {listed(names)}.")
    reasons = dict.fromkeys(one.test.reason for one in by.get(UNTESTED, []))
    for reason in reasons:
        names = [one.line.label for one in by[UNTESTED] if one.test.reason == reason]
        said.append(f"Not testable: {listed(names)} ({reason}).")
    if any(one.adjusted is not None and one.test.folds <= FEW for one in found.versus[study.first]):
        said.append(f"With {FEW} folds a test finds huge differences at best.")
    return said


def _points(one: Versus) -> str:
    """+1.2 points"""
    return f"{100 * (one.test.mean or 0.0):+.1f} points".replace("-", MINUS)


def warnings(found: Comparison) -> list[tuple[str, str]]:
    """What must be known before any figure is read: (heading, sentences)."""
    study = found.study
    said = [(NOT_EVIDENCE.capitalize(), QUICK_SAYS)] if study.quick else []
    failed, pending = len(study.of("failed")), len(study.of("pending"))
    if failed or pending:
        told = ((failed, "failed"), (pending, "not been run"))
        what = listed([f"{number} {'have' if number > 1 else 'has'} {how}" for number, how in told if number])
        said.append(
            (
                f"{len(study.of('done'))} of {len(study.cells)} cells are finished",
                f"{what[0].upper()}{what[1:]}; what went wrong is at the end. Rows are compared on the cells that both "
                "have.",
            )
        )
    if any(run.metrics.get("protocol") == "paper" for run in study.runs):
        said.append(("Optimistic figures: protocol “paper”", PAPER_PROTOCOL.format("this study")))
    if len({str(run.environment.get("data", {}).get("fingerprint")) for run in study.runs}) > 1:
        said.append(("Different data", UNLIKE_DATA))
    splits = {(fold, run.split_hash) for line in study.lines for (fold, _), run in line.runs.items()}
    if len(splits) > len({fold for fold, _ in splits}):
        said.append(("Different splits", UNLIKE_SPLITS))
    return said


def method(found: Comparison) -> list[str]:
    """How the figures were made, a sentence each."""
    study = found.study
    folds, seeds = ({getattr(cell, key) for cell in study.cells} for key in ("fold", "seed"))
    cells = f"{_counted(len(folds), 'fold')} × {_counted(len(seeds), 'seed')}"
    said = [
        f"Mean ± sample standard deviation over cells ({cells}).",
        "Differences are paired by fold and seed, and averaged over the seeds of a fold, which share their images; "
        f"their 95{THIN}% intervals and p-values are of the corrected resampled t-test over the k folds (Nadeau and "
        f"Bengio 2003: k {MINUS} 1 degrees of freedom, the variance is taken times 1/k + n_test/n_train, here "
        f"n_test/n_train is {found.test_share:.2f}), p-values after Holm over the rows. “No difference shown” does not "
        "mean that there is none.",
        f"Pooled figures take the test parts of all folds together ({count(found.images)} images of "
        f"{count(found.groups)} patients or lesions; the mean over seeds); their 95{THIN}% intervals come from "
        f"{count(SAMPLES)} resamplings of patients or lesions. They hold neither the variation between seeds nor that "
        "of the training data.",
    ]
    if len(folds) == 1:
        said.append(
            "There is one fold, so no difference can be tested: seeds share their images, and their spread says "
            "nothing of others. The intervals over patients or lesions stand."
        )
    if any(metric in LOWER_IS_BETTER for metric in study.layout):
        said.append("Of the calibration error less is better.")
    for names in study.alike:
        said.append(f"{listed(names)} are one run under {len(names)} names: nothing that decides on results differs.")
    return said


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


def papers(found: Comparison) -> dict[int, dict[str, float]]:
    """Line index -> metric -> what the paper reports; for the first network of each row."""
    study = found.study
    told = study.plan.published.rows if study.plan.published else {}
    return {
        line.index: {metric: value for metric, value in told.get(line.row.name, {}).items() if metric in study.layout}
        if line is study.first_of(line.row)
        else {}
        for line in study.lines
    }


def published(paper: Mapping[str, float], metric: str, decimals: int) -> str:
    """What the paper reports of a metric, or that it does not."""
    return plain(paper[metric], decimals) if metric in paper else NONE
