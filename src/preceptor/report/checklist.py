"""``checklist.md``: what CLAIM 2024 and TRIPOD+AI ask of a paper, filled in as far as a run knows it.

Items are named by their subject, in our words; the guidelines themselves have the wording and the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from preceptor.evaluation.resampling import SAMPLES
from preceptor.report import run_text
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import count, counted, duration, listed
from preceptor.report.network_predictions import class_words
from preceptor.report.participants import flow
from preceptor.report.subgroups import attributes_of
from preceptor.tasks import TASKS

MARK = "<!-- checklist of a Preceptor report -->"
Item = tuple[str, str]  # subject, answer; no answer where only the authors know it


def as_markdown(runs: Sequence[LabelledRun], entries: Sequence[Entry], page: str) -> str:
    """Return the checklist of a report.

    Args:
        runs: of the report, of one task and with the same classes.
        entries: their networks.
        page: file name of the report.
    """
    sections = {
        "Data": _data(runs),
        "Reference standard": _reference(runs[0]),
        "Model and training": _model(runs, entries),
        "Evaluation": _evaluation(runs[0]),
        "Results": _results(runs, page),
        "Only the authors know": [(subject, "") for subject in OPEN],
    }
    items = [item for section in sections.values() for item in section]
    known = sum(bool(answer) for _, answer in items)
    lines = [
        MARK,
        "# What CLAIM 2024 and TRIPOD+AI ask",
        "",
        f"{known} of {len(items)} subjects are filled in from the runs; check each. The others are open: write them.",
        "",
    ]
    for title, section in sections.items():
        lines += [f"## {title}", ""]
        lines += [f"- [{'x' if answer else ' '}] **{subject}**: {answer or 'open'}" for subject, answer in section]
        lines.append("")
    return "\n".join(lines)


#: Subjects of the guidelines that no run can know.
OPEN = (
    "Title and abstract name the kind of model, the data and the main results",
    "Clinical background, intended use and intended users",
    "Objectives and hypotheses, set before the analysis",
    "Prospective or retrospective; setting, places and dates of collection",
    "How images were acquired: device, protocol, who took them",
    "Inclusion and exclusion of patients; treatments received",
    "De-identification",
    "How the sample size was determined",
    "Training and agreement of those who labelled the images",
    "Whether performance suffices for the intended use; harm of each kind of error",
    "Testing on data from other hospitals and devices",
    "Limitations; implications for practice",
    "Fairness: which groups were considered, and why",
    "Patients' and the public's part in the study",
    "Ethical approval and consent",
    "Registration and protocol of the study",
    "Availability of data, code and model",
    "Funding and conflicts of interest",
)


def _data(runs: Sequence[LabelledRun]) -> list[Item]:
    run = runs[0]
    data, shown = run.environment.data, flow(run)
    parts = listed([f"{box.name} {count(box.images)} images of {counted(box.groups, 'group')}" for box in shown.parts])
    attributes = attributes_of(run)
    missing = [
        f"{name} of {counted(int((run.split[name].str.strip() == '').sum()), 'image')}"
        for name in attributes
        if (run.split[name].str.strip() == "").any()
    ]
    missing += _labels_not_known(run)
    disjoint = (
        "images (patients or lesions may stand in two parts)" if run.paper_protocol else "groups: lesion or patient"
    )
    return [
        ("Source of the data", f"{data.name}, fingerprint {data.fingerprint[:12]}"),
        ("Images left out", f"{counted(shown.excluded, 'image')} by --exclude; of {count(shown.images)}"),
        ("Pre-processing", f"resized to {run.recipe.image_size} × {run.recipe.image_size} pixels, RGB"),
        ("Notes on the images", "; ".join(data.notes)),
        ("Assignment to parts", f"{run.metrics.protocol} folds, fold {data.fold} of {data.folds}: {parts}"),
        ("Level at which parts are disjoint", disjoint),
        ("Missing data", "not recorded: " + listed(missing) if missing else ""),
        ("Recorded attributes", listed(attributes) if attributes else ""),
    ]


def _labels_not_known(run: LabelledRun) -> list[str]:
    """Labels that are not known of every image of the parts that were predicted."""
    if TASKS[run.task].target != "labels":
        return []
    table = run.predictions.drop_duplicates(["part", "id"])
    counts = {name: int(table[f"t_{name}"].isna().sum()) for name in run.classes}
    whole = counted(len(table), "predicted image")
    return [f"label {name} of {count(number)} of {whole}" for name, number in counts.items() if number]


def _reference(run: LabelledRun) -> list[Item]:
    if TASKS[run.task].needs_masks:
        classes = listed(run.classes[1:])
    else:
        classes = "; ".join(f"{code} ({words})" if code != words else code for code, words in class_words(run).items())
    return [("Outcome that is predicted", f"{TASKS[run.task].label}: {classes}"), ("How labels were made", "")]


def _model(runs: Sequence[LabelledRun], entries: Sequence[Entry]) -> list[Item]:
    run = runs[0]
    networks = listed([f"{entry.label}: {entry.result.backbone}" for entry in entries if entry.kind != "ensemble"])
    starts = listed([f"{entry.label}: {entry.result.start or 'of its members'}" for entry in entries])
    losses = dict.fromkeys(objective.loss for each in runs for objective in each.recipe.objectives)
    ensembles = [entry.label for entry in entries if entry.kind == "ensemble"]
    versions = listed([f"{name} {version}" for name, version in run.environment.versions.items()])
    seeds = listed([str(seed) for seed in dict.fromkeys(each.environment.seed for each in runs)])
    return [
        ("Networks", networks),
        ("Initial weights", starts),
        ("Objectives", listed(list(losses)) if losses else ""),
        (
            "Training",
            f"{counted(run.metrics.epochs, 'epoch')}, batches of {run.recipe.batch_size}, "
            f"{run.recipe.optimiser.name}, seed {seeds}, {duration(run.metrics.training_seconds)} "
            f"on {run.environment.device}; every setting in recipe.yaml",
        ),
        ("Choice of the final model", run_text.epoch_choice(run)),
        ("Imbalance of classes", f"resampling of images: {run.recipe.resample}"),
        ("Ensembles", listed(ensembles) if ensembles else "none"),
        ("Software", versions),
    ]


def _evaluation(run: LabelledRun) -> list[Item]:
    metrics = listed([metric.label for metric in TASKS[run.task].metrics.values()])
    interval = "" if run.paper_protocol else f"95 % percentile bootstrap over groups, {count(SAMPLES)} resamplings"
    return [
        ("Measures of performance", metrics),
        ("Uncertainty of the measures", interval),
        ("Thresholds", "" if run.paper_protocol else "chosen on the validation part, applied to the test part"),
        ("Explanation of predictions", "Grad-CAM: preceptor explain" if (run.path / "explain.json").is_file() else ""),
    ]


def _results(runs: Sequence[LabelledRun], page: str) -> list[Item]:
    run = runs[0]
    of_classes = TASKS[run.task].target == "class"
    return [
        ("Flow of images", f"{page}, Data"),
        ("Characteristics of each part", f"{page}, Data" if attributes_of(run) else ""),
        ("Performance on the test part", f"{page}, Results"),
        ("Calibration", f"{page}, Calibration" if of_classes else ""),
        ("Performance in subgroups", f"{page}, Subgroups" if of_classes and attributes_of(run) else ""),
        ("Analysis of failures", f"{page}, Surest errors" if of_classes else ""),
    ]
