"""Sentences of a study's report: warnings, findings and statistical methods."""

from __future__ import annotations

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import SAMPLES
from preceptor.evaluation.statistics import FEW
from preceptor.report.formatting import MINUS, THIN, capitalised, count, counted, listed, signed
from preceptor.report.run_text import PAPER_PROTOCOL
from preceptor.report.study_compare import BETTER, SAME, UNTESTED, WORSE, Comparison, Versus
from preceptor.runs.marks import NOT_EVIDENCE

QUICK_STUDY = """\
This study shows that everything runs: little data, small networks, few epochs. Nothing follows from its results,
whatever the tests say."""
UNLIKE_SPLITS = "Cells of one fold do not share a split: rows are of different test images. They are not subtracted."
UNLIKE_DATA = "The cells were not trained on the same data: their fingerprints differ. Do not compare them."


def warnings(comparison: Comparison) -> list[tuple[str, str]]:
    """What must be known before any result is read: (heading, sentences)."""
    study = comparison.study
    result = [(NOT_EVIDENCE.capitalize(), QUICK_STUDY)] if study.quick else []
    states = {"failed": len(study.of("failed")), "not been run": len(study.of("pending"))}
    missing = [f"{number} {'have' if number > 1 else 'has'} {state}" for state, number in states.items() if number]
    if missing:
        errors = "; errors are at the end" if states["failed"] else ""
        sentence = f"{capitalised(listed(missing))}{errors}. Rows are compared on the cells that both have."
        result.append((f"{len(study.of('done'))} of {len(study.cells)} cells are finished", sentence))
    if any(run.paper_protocol for run in study.runs):
        result.append(("Optimistic results: protocol “paper”", PAPER_PROTOCOL.format("this study")))
    if len({run.environment.data.fingerprint for run in study.runs}) > 1:
        result.append(("Different data", UNLIKE_DATA))
    splits = {(fold, run.split_hash) for line in study.lines for (fold, _), run in line.runs.items()}
    if len(splits) > len({fold for fold, _ in splits}):
        result.append(("Different splits", UNLIKE_SPLITS))
    return result


def findings(comparison: Comparison) -> list[str]:
    """Results of the tests in the main metric, a sentence for each verdict; and what is shown in the other metrics."""
    study = comparison.study
    tests = comparison.versus[study.first]
    sentences = _shown(comparison, study.first)
    if same := [versus for versus in tests if versus.verdict == SAME]:
        sentences.append(
            f"In {study.layout[study.first]} no difference to {study.baseline} is shown for {_names(same)}."
        )
    for metric in study.layout:
        if metric != study.first:
            sentences += _shown(comparison, metric)
    untested = [versus for versus in tests if versus.verdict == UNTESTED]
    for reason in dict.fromkeys(versus.test.reason for versus in untested):
        names = [versus.line.label for versus in untested if versus.test.reason == reason]
        sentences.append(f"Not testable: {listed(names)} ({reason}).")
    if any(versus.adjusted is not None and versus.test.folds <= FEW for versus in tests):
        sentences.append(f"With {FEW} folds a test detects only very large differences.")
    return sentences


def _shown(comparison: Comparison, metric: str) -> list[str]:
    """Which methods are better or worse than the baseline in a metric."""
    study, sentences = comparison.study, []
    for verdict in (BETTER, WORSE):
        if some := [versus for versus in comparison.versus[metric] if versus.verdict == verdict]:
            verb = "are" if len(some) > 1 else "is"
            sentences.append(f"In {study.layout[metric]} {_names(some)} {verb} {verdict} than {study.baseline}.")
    return sentences


def _names(some: list[Versus]) -> str:
    return listed([f"{versus.line.label} ({signed(versus.test.mean)})" for versus in some])


def method(comparison: Comparison) -> list[str]:
    """How the statistics were computed, a sentence each."""
    study = comparison.study
    folds, seeds = ({getattr(cell, key) for cell in study.cells} for key in ("fold", "seed"))
    sentences = [
        f"Mean ± sample standard deviation over cells ({counted(len(folds), 'fold')} × {counted(len(seeds), 'seed')}).",
        "Differences are paired by fold and seed and averaged over the seeds of a fold, which share their images. "
        "p-values are of the corrected resampled t-test over the k folds (Nadeau and Bengio 2003: "
        f"k {MINUS} 1 degrees of freedom, variance times 1/k + n_test/n_train, here n_test/n_train is "
        f"{comparison.test_share:.2f}), after Holm over the methods. “No difference shown” does not mean that there "
        "is none.",
        "Intervals of differences are corrected like the p-values: each has the level at which Holm tests its method "
        f"(1 {MINUS} 0.05/k for the k-th comparison from the last). That of the t-test excludes zero exactly when the "
        "Holm p is below 0.05; the bootstrap's, which leaves out how two trainings differ, may exclude it where the "
        f"test shows nothing. For a single comparison both are 95{THIN}% CIs.",
        f"Pooled metrics take the test parts of all folds together ({count(comparison.images)} images of "
        f"{count(comparison.groups)} patients or lesions; the mean over seeds); their 95{THIN}% CI is a percentile "
        f"bootstrap over patients or lesions ({count(SAMPLES)} resamplings). AUC and average precision rank images by "
        "score, and every fold has a network of its own: they are computed within folds and averaged. The interval "
        "contains neither the variation between seeds nor that of the training data.",
    ]
    if len(folds) == 1:
        sentences.append(
            "There is one fold, so no difference can be tested: seeds share their images, and their spread says "
            "nothing about other images. The bootstrap intervals hold (level corrected by Bonferroni)."
        )
    if lower := [METRICS[key].label for key in study.layout if not METRICS[key].higher_is_better]:
        sentences.append(f"A lower {listed(lower)} is better.")
    for names in study.alike:
        sentences.append(f"{listed(names)} are one run under {len(names)} names: their settings do not differ.")
    return sentences
