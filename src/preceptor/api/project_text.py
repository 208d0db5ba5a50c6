"""The text of the recipe and the study plan that ``init`` writes, with a comment on each key that people change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.utils.plain_yaml import dump_yaml

if TYPE_CHECKING:
    from preceptor.data.recognise import Recognised

#: Key of a recipe → what a reader of the file may want to know before changing it.
_NOTES = {
    "task": "classification, ordinal (grades in order), multi_label or segmentation",
    "protocol": "grouped keeps lesions or patients together and reads the test part once",
    "image_size": "side in pixels; images are stretched to a square",
    "batch_size": "smaller if memory is short",
    "epochs": "of the student; its teacher's: networks.teacher.trained_by: {recipe: teacher, set: {epochs: 30}}",
    "precision": "bf16, float32+graphed (a GPU's), or auto: the fastest that agrees, timed when training begins",
    "networks": "timm's names; pretrained: imagenet (from the hub), none, or a file of weights. The teacher is\n"
    "trained first; run: runs/teacher takes a finished one. 'preceptor profile' compares what networks cost.",
    "views": "how images are augmented; 'preceptor data check … --preview views.png' draws it",
    "objectives": "a weighted sum; 'preceptor recipes' lists other methods, 'preceptor recipes show NAME' prints one",
    "optimiser": "adam, adamw or sgd",
    "schedule": "one_cycle, cosine, multi_step, exponential, plateau or constant",
    "split": "each fold is the test part once (--fold); validation is a share of the rest",
    "select": "which network's metric on the validation part chooses the epoch",
}


def recipe_text(task: str, settings: Mapping[str, int], folds: int, data: Recognised, root: Path) -> str:
    """A student under a teacher, as YAML with comments; ``preceptor train FILE`` runs it."""
    recipe = resolve("kd", {"task": task, **settings, "split.folds": folds})
    lines = [
        "# Written by preceptor init: a small network (student) that learns from the labels and from a large one.",
        f"# preceptor train THIS_FILE {_on_command_line(data, root)} --out runs/kd",
        "",
    ]
    for line in to_yaml(recipe).splitlines():
        note = _NOTES.get(line.partition(":")[0], "")
        lines += [*(f"# {part}" for part in note.splitlines()), line]
    return "\n".join(lines) + "\n"


def plan_text(task: str, settings: Mapping[str, int], folds: int, data: Recognised, root: Path) -> str:
    """A study of the student alone and distilled, as YAML with comments; ``preceptor study FILE`` runs it."""
    source = {"reader": data.reader, "root": str(root.resolve())}
    options = {"options": dict(data.options)} if data.options else {}
    return f"""\
# Written by preceptor init: does distillation help here? The same small network alone and under a teacher, on every
# fold, with the teacher of a fold trained once.
# preceptor study THIS_FILE --dry-run     # what there is to do, and how long it takes
# preceptor study THIS_FILE               # does it; the same command again continues where it was stopped
name: kd
title: Student alone and distilled
data: {_flow({**source, **options})}
# folds: [0] is a first trial; a difference between methods needs all folds
folds: {folds}
# seeds: 3 repeats every cell with three seeds
seeds: [0]
# for every row that has such a key, the teacher included
set: {_flow({"task": task, **settings})}
rows:
  - {{name: alone, recipe: student}}
  - {{name: KD, recipe: kd}}
# further methods, for instance:
#  - {{name: AT, recipe: at}}
#  - {{name: KD at a higher temperature, recipe: kd, set: {{temperature: 8.0}}}}
# each row is compared with this one, fold by fold
baseline: alone
"""


def _on_command_line(data: Recognised, root: Path) -> str:
    options = "".join(f" 'data.{key}={value}'" for key, value in data.options.items())
    return f"--data {data.reader} --root {root}{options}"


def _flow(value: Mapping[str, object]) -> str:
    return dump_yaml(value, flow=True, width=10_000).strip()
