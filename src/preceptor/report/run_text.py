"""Sentences of a run report: its title and subject, warnings, findings, and what a network is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from preceptor.evaluation.metrics import Metric
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import counted, listed, percent, points
from preceptor.report.tables import Difference
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.tasks import TASKS, Task

PAPER_PROTOCOL = """\
In {} the folds are drawn over images, as some papers do, so images of one lesion lie in the training and the test part.
There is no validation part; the test results are the mean of the last ten epochs (or of as many as there
were). They are optimistic: do not compare them with results on grouped folds."""
QUICK_RUNS = """\
From a quick study: {}. It shows that everything runs, on little data, with small networks and few epochs; nothing
follows from its results."""
DIFFERENT_SPLITS = """\
These runs do not share one split. Their results are listed together, but only networks tested on the same images are
subtracted from one another."""
_MEANS = {
    "class": "Macro metrics are means over classes.",
    "labels": "Macro metrics are means over labels that have a positive and a negative (F1: a positive); a label is "
    "predicted from a probability of 0.5 on.",
    "mask": "Pooled metrics count the pixels of all test images; per-image metrics are means over images: without a "
    "target, 1 for an empty prediction and 0 for any other. HD95 is a distance in pixels of the network's input.",
}
#: What student and teacher agree on, by the target of the task.
AGREEMENT = {"class": "test images", "labels": "labels of the test images", "mask": "pixels of the test images"}
_MOST_VALUES = 3  # named one by one under the title


def title(runs: Sequence[LabelledRun]) -> str:
    """The recipes in order, each once, and the marks of the runs."""
    marks = dict.fromkeys(run.mark for run in runs if run.mark)
    names = dict.fromkeys(run.recipe.name for run in runs)
    return ", ".join(names) + "".join(f" ({mark})" for mark in marks)


def subject(runs: Sequence[LabelledRun]) -> list[str]:
    """Data, classes, protocol, folds and seeds of the runs; of many different values, only their number."""
    values = {
        "data sets": [run.environment.data.name for run in runs],
        "numbers of images": [counted(run.environment.data.images, "image") for run in runs],
        "classes": [
            f"masks of {listed(run.classes[1:])}"
            if TASKS[run.task].needs_masks
            else f"{len(run.classes)} {'labels' if TASKS[run.task].target == 'labels' else 'classes'}"
            for run in runs
        ],
        "protocols": [f"{run.metrics.protocol} folds" for run in runs],
        "folds": [_fold(run) for run in runs],
        "seeds": [f"seed {run.environment.seed}" for run in runs],
    }
    distinct = {name: list(dict.fromkeys(filter(None, column))) for name, column in values.items()}
    return [
        listed(column) if len(column) <= _MOST_VALUES else f"{len(column)} {name}"
        for name, column in distinct.items()
        if column
    ]


def warnings(runs: Sequence[LabelledRun]) -> list[tuple[str, str]]:
    """What must be known before any result is read: (heading, sentences)."""
    result = []
    if quick := [run.label for run in runs if run.mark == NOT_EVIDENCE]:
        result.append(quick_warning(quick))
    if optimistic := [run.label for run in runs if run.paper_protocol]:
        result.append(("Optimistic results: protocol “paper”", PAPER_PROTOCOL.format(listed(optimistic))))
    if len({(run.split_hash, run.metrics.protocol) for run in runs}) > 1:
        result.append(("Different test images", DIFFERENT_SPLITS))
    return result


def quick_warning(labels: Sequence[str]) -> tuple[str, str]:
    """Warning that runs are of a quick study: heading, sentences."""
    return NOT_EVIDENCE.capitalize(), QUICK_RUNS.format(listed(labels))


def metrics_note(task: Task, shown: Mapping[str, Metric]) -> str:
    """How the metrics of a table are to be read: what means run over, and which way is better."""
    lower = [metric.label for metric in shown.values() if not metric.higher_is_better]
    higher = f"Higher is better, except for {listed(lower)}." if lower else "Higher is better."
    return f"{_MEANS[task.target]} {higher}"


def findings(differences: Sequence[Difference]) -> list[tuple[Difference, str]]:
    """One sentence for each difference in the headline metric, whatever its sign."""
    result = []
    for difference in differences:
        value = difference.values[TASKS[difference.of.run.task].headline]
        if value is None:
            continue
        size, level = points(abs(value)), points(abs(value)) == points(0)
        place = "level with" if level else f"{size} {'above' if value > 0 else 'below'}"
        other = "the same network trained alone" if difference.less.kind == "alone" else "its teacher"
        sentence = f"is {place} {other}"
        result.append((difference, sentence))
    return result


def fidelities(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """How faithfully each student copies its teacher, in a sentence, where runs measured it."""
    result = []
    for entry in entries:
        if fidelity := entry.test.get("fidelity"):
            cases = AGREEMENT[TASKS[entry.run.task].target]
            sentence = f"agrees with its {fidelity['to']} on {percent(fidelity['agreement'])} of the {cases}, right or "
            sentence += "wrong"
            if fidelity["kl"] is not None:  # a union of masks has none
                sentence += f" (KL divergence from the {fidelity['to']}: {fidelity['kl']:.3g} nats)"
            for teacher, other in fidelity.get("others", {}).items():
                sentence += f"; with its {teacher} on {percent(other['agreement'])}"
            result.append((entry, sentence))
    return result


def description(entry: Entry) -> str:
    """A network's backbone, its role in the run, and where its weights started."""
    if entry.kind == "ensemble":
        how = "union of the masks" if TASKS[entry.run.task].needs_masks else "largest probabilities"
        return f"ensemble: {how} of {listed(entry.members)}" if entry.members else "ensemble"
    kind = {"alone": "trained alone", "taught": "distilled"}.get(entry.kind, entry.kind)
    return f"{entry.result.backbone}, {kind}; start: {entry.result.start}"


def epoch_choice(run: LabelledRun) -> str:
    """Of which epoch the results are, and why, in a sentence."""
    metrics, select = run.metrics, run.recipe.select
    if run.paper_protocol:
        last = metrics.mean_of_last_epochs or "ten"
        return f"No epoch was selected: the results are the mean of the last {last} on the test part."
    if select.epoch == "each":
        own = [
            f"{name} {network.selected_epoch}" for name, network in metrics.networks.items() if network.selected_epoch
        ]
        return f"Each network has the epoch that is its own best by validation/{select.metric}: {', '.join(own)}."
    if select.metric == "last":
        return f"No epoch was selected: the results are those of the last, {metrics.selected_epoch}."
    if metrics.selected_epoch is None or metrics.selected_by is None:  # runs of early versions may not say
        return ""
    return f"Epoch {metrics.selected_epoch} was selected by {metrics.selected_by}."


def cost_conditions(entries: Sequence[Entry]) -> list[str]:
    """Sentences on how the costs were measured, with the networks where conditions differ."""
    labels: dict[str, list[str]] = {}
    for entry in entries:
        if cost := entry.result.cost:
            parts = [f"One image of {cost['image_size']} px"] if "image_size" in cost else []
            if latency := cost.get("latency_ms"):
                parts.append(f"latency in batches of {latency.get('batch', 1)} on {latency.get('device', 'unknown')}")
                parts.append(f"{latency.get('threads', '?')} threads")
            labels.setdefault(", ".join(parts), []).append(entry.label)
    sentences = [f"{text}{f' ({listed(of)})' if len(labels) > 1 else ''}." for text, of in labels.items() if text]
    if any(entry.kind == "ensemble" for entry in entries):
        sentences.append("An ensemble costs the sum of its members, one after the other.")
    if any(is_busy((entry.result.cost or {}).get("latency_ms") or {}) for entry in entries):
        sentences.append("Busy machine: other programs took CPU time while this latency was measured; it is too long.")
    return sentences


def is_busy(latency: dict[str, Any]) -> bool:
    """Whether a latency on the CPU was measured while more threads wanted to run than the machine has cores."""
    return latency.get("device") == "cpu" and latency.get("load", 0) > latency.get("cores", 1) + 0.5


def _fold(run: LabelledRun) -> str:
    data = run.environment.data
    return f"fold {data.fold} of {data.folds}"
