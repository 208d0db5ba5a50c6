"""What a report says in words, and how it writes numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from preceptor.report.run import HEADLINES, Entry, Run
from preceptor.report.tables import SHOWN, Difference
from preceptor.runs.marks import NOT_EVIDENCE

THIN = "\u202f"  # narrow no-break space, between thousands and before units
MINUS = "\u2212"
NONE = "\u2013"
PAPER_PROTOCOL = """\
In {} the folds are drawn over images, as some papers do, so images of one lesion lie in the training and the test part.
There is no validation part; the test figures are the mean of the last ten epochs (or of as many as there
were). They are optimistic: do not set them beside figures from grouped folds."""
QUICK_RUNS = """\
From a quick study: {}. It shows that everything runs, on little data, with small networks and few epochs; nothing
follows from its figures."""
DIFFERENT_SPLITS = """\
These runs do not share one split. Their figures stand side by side, but only networks tested on the same images are
subtracted from one another."""
MOST_VALUES = 3  # named one by one under the title


def title(runs: Sequence[Run]) -> str:
    """The recipes, in order, each once; and the marks of the runs."""
    marks = dict.fromkeys(run.mark for run in runs if run.mark)
    return ", ".join(dict.fromkeys(_recipe(run) for run in runs)) + "".join(f" ({mark})" for mark in marks)


def subject(runs: Sequence[Run]) -> list[str]:
    """What the runs are about, a few words each; where they differ, the first values or how many there are."""
    facts = {
        "data sets": [str(run.data.get("name", "")) for run in runs],
        "numbers of images": [f"{count(run.data.get('images', len(run.split)))} images" for run in runs],
        "classes": [
            f"{len(run.classes)} classes" if run.task == "classification" else f"masks of {listed(run.classes[1:])}"
            for run in runs
        ],
        "protocols": [f"{run.metrics.get('protocol')} folds" for run in runs],
        "folds": [_fold(run) for run in runs],
        "seeds": [f"seed {run.environment.get('seed', run.recipe.get('seed'))}" for run in runs],
    }
    said = []
    for name, values in facts.items():
        distinct = list(dict.fromkeys(value for value in values if value))
        if distinct:
            said.append(listed(distinct) if len(distinct) <= MOST_VALUES else f"{len(distinct)} {name}")
    return said


def warnings(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What must be known before any figure is read: (heading, sentences)."""
    said = []
    if quick := [run.label for run in runs if run.mark == NOT_EVIDENCE]:
        said.append(quick_warning(quick))
    if optimistic := [run.label for run in runs if run.paper_protocol]:
        said.append(("Optimistic figures: protocol “paper”", PAPER_PROTOCOL.format(listed(optimistic))))
    if len({(run.split_hash, run.metrics.get("protocol")) for run in runs}) > 1:
        said.append(("Different test images", DIFFERENT_SPLITS))
    return said


def quick_warning(labels: Sequence[str]) -> tuple[str, str]:
    """That runs are of a quick study: heading, sentences."""
    return NOT_EVIDENCE.capitalize(), QUICK_RUNS.format(listed(labels))


def notes(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """What the reader of the data noted, which images were left out and masks cut: (text, labels of the runs)."""
    found: dict[str, list[str]] = {}
    for run in runs:
        said = [str(note) for note in run.data.get("notes") or []]
        if excluded := [str(one) for one in run.data.get("excluded") or []]:
            said.append(f"{count(len(excluded))} images were left out by --exclude: {', '.join(excluded)}")
        if cut := run.metrics.get("masks_cut_at_half"):
            said.append(f"{count(cut)} masks have grey values at the border (JPEG, smoothing) and were cut at half")
        for note in said:
            found.setdefault(note, []).append(run.label)
    return [(note, [] if len(labels) == len(runs) else labels) for note, labels in found.items()]


def findings(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """One sentence for each difference in the headline's figure, with either sign."""
    said = []
    for one in differences:
        value = one.values[HEADLINES[one.of.run.task]]
        if value is None:
            continue
        if one.less.kind == "alone":
            verb = "gained" if value > 0 else "lost" if value < 0 else "neither gained nor lost"
            by = f"{verb} {points(abs(value))} over the same network trained alone"
        else:
            place = f"{points(abs(value))} {'above' if value > 0 else 'below'}" if value else "level with"
            by = f"stands {place} its teacher"
        said.append({"difference": one, "sentence": by})
    return said


def fidelities(entries: Sequence[Entry]) -> list[tuple[Entry, str]]:
    """How faithfully each student copies its teacher, in a sentence; where runs say it."""
    said = []
    for entry in entries:
        if one := entry.test.get("fidelity"):
            cases = "test images" if entry.run.task == "classification" else "pixels of the test images"
            sentence = f"agrees with its {one['to']} on {percent(one['agreement'])} of the {cases}, right or wrong"
            if one["kl"] is not None:  # a union of masks has none
                sentence += f" (KL divergence from the {one['to']}: {one['kl']:.3g} nats)"
            said.append((entry, sentence))
    return said


def nature(entry: Entry) -> str:
    """What a network is, in a few words: its backbone, its part in the run, and where its weights started."""
    if entry.kind == "ensemble":
        how = "largest probabilities" if entry.run.task == "classification" else "union of the masks"
        return f"ensemble: {how} of {listed(entry.members)}" if entry.members else "ensemble"
    kind = "trained alone" if entry.kind == "alone" else entry.kind
    return f"{entry.facts.get('backbone')}, {kind}; start: {entry.facts.get('start', 'unknown')}"


def cost_conditions(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """Under which conditions the costs were measured: (words, labels of the networks measured so)."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if cost := entry.facts.get("cost"):
            said = [f"One image of {cost['image_size']} px"] if "image_size" in cost else []
            if latency := cost.get("latency_ms"):
                said.append(f"latency in batches of {latency.get('batch', 1)} on {latency.get('device', 'unknown')}")
                said.append(f"{latency.get('threads', '?')} threads")
            found.setdefault(", ".join(said), []).append(entry.label)
    return [(said, labels) for said, labels in found.items() if said]


def ratio(value: float | None) -> str:
    """0.123"""
    return NONE if value is None else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """+0.012, or with a true minus sign."""
    if value is None:
        return NONE
    return "0.000" if abs(value) < SHOWN else f"{value:+.3f}".replace("-", MINUS)


def points(value: float) -> str:
    """A difference of two ratios in percentage points: 1.2 points."""
    return f"{value * 100:.1f} points"


def percent(value: float) -> str:
    """12.3 %"""
    return f"{value * 100:.1f}{THIN}%"


def count(value: int) -> str:
    """10 015, with narrow spaces."""
    return f"{value:,}".replace(",", THIN)


def scaled(value: float | None, unit: str = "") -> str:
    """1.23 M: three digits and a prefix."""
    if value is None:
        return NONE
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{THIN}{prefix}{unit}"
    return f"{value:.3g}{THIN}{unit}".rstrip(THIN)


def duration(seconds: float | None) -> str:
    """1 h 02 min, 3 min 20 s or 12 s."""
    if seconds is None:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60:02d}{THIN}min"


def milliseconds(value: float | None) -> str:
    """12.3 ms"""
    return NONE if value is None else f"{value:.3g}{THIN}ms" if value < 100 else f"{value:.0f}{THIN}ms"


def listed(names: Sequence[str]) -> str:
    """a, b and c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


FILTERS: dict[str, Callable[..., str]] = {
    "ratio": ratio,
    "signed": signed,
    "percent": percent,
    "count": count,
    "scaled": scaled,
    "duration": duration,
    "milliseconds": milliseconds,
    "listed": listed,
    "nature": nature,
}


def _recipe(run: Run) -> str:
    return str(run.recipe.get("name", run.label))


def _fold(run: Run) -> str:
    fold, folds = run.data.get("fold"), run.data.get("folds")
    return "" if fold is None else f"fold {fold} of {folds}"
