"""A finished run directory, read and checked; the only thing a report is made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from preceptor.utils.errors import PreceptorError

FORMAT = 1
#: task -> the figure of the test part that a report is headed by; the epoch is chosen by the same, as a rule.
HEADLINES = {"classification": "balanced_accuracy", "segmentation": "iou_pooled"}
TEACHERS = {"frozen teacher": "teacher", "mean teacher": "mean teacher"}  # role in metrics.json -> kind
SPLIT = ("id", "group", "part", "label")
HISTORY = ("epoch", "lr", "loss")
PREDICTIONS = {
    "classification": ("id", "part", "network", "target", "predicted"),
    "segmentation": ("id", "part", "network", "iou", "dice", "target_pixels", "predicted_pixels"),
}
TEXT = ("id", "group", "part", "label", "network", "target", "predicted")  # never numbers, never missing


@dataclass(frozen=True)
class Run:
    """One run directory.

    Attributes:
        path: the directory.
        label: short, and unique within a report.
        recipe: recipe.yaml, parsed.
        recipe_text: recipe.yaml, as it stands.
        environment: environment.json.
        metrics: metrics.json.
        split: id, group, part, label; all text.
        history: one row an epoch.
        predictions: id, part, network; then, of classes, target and predicted (text) and one ``p_<class>`` for each;
            of masks, what :meth:`preceptor.evaluation.masks.MaskMeter.rows` says of each image.
    """

    path: Path
    label: str
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    metrics: dict[str, Any]
    split: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def task(self) -> str:
        """``classification`` or ``segmentation``."""
        return str(self.metrics["task"])

    @property
    def classes(self) -> list[str]:
        """Of the images, or of the masks' pixels, the background first."""
        return list(self.metrics["classes"])

    @property
    def data(self) -> dict[str, Any]:
        return self.environment.get("data", {})

    @property
    def paper_protocol(self) -> bool:
        """Image-level folds and no validation part, as some authors report; lesions straddle the parts."""
        return self.metrics.get("protocol") == "paper"

    @property
    def mark(self) -> str:
        """What must be said wherever its figures are shown: of a run of a quick study, that they are no evidence."""
        return str(self.environment.get("marked", ""))

    @property
    def split_hash(self) -> str:
        return str(self.environment.get("split_hash", ""))


@dataclass(frozen=True)
class Entry:
    """One network of one run: a row of every table, and one colour in every figure."""

    run: Run
    name: str
    label: str
    index: int

    @property
    def facts(self) -> dict[str, Any]:
        """What ``metrics.json`` says of the network; ``validation`` is None under ``protocol: paper``."""
        return {"validation": None, **self.run.metrics["networks"][self.name]}

    @property
    def role(self) -> str:
        return str(self.facts.get("role", "trained"))

    @property
    def test(self) -> dict[str, Any]:
        return self.facts["test"]

    @property
    def headline(self) -> float:
        """The figure that the report is headed by, of the test part."""
        return float(self.test[HEADLINES[self.run.task]])

    @property
    def members(self) -> list[str]:
        """Of an ensemble."""
        return list((self.run.recipe.get("ensembles") or {}).get(self.name) or [])

    @property
    def kind(self) -> str:
        """What it is beside the others of its run.

        ``teacher`` (a frozen one), ``mean teacher``, ``online teacher`` (it learns beside its students, from its own
        loss alone), ``ensemble``, ``taught`` (trained beside other networks) or ``alone``.
        """
        if self.role in TEACHERS or self.role == "ensemble":
            return TEACHERS.get(self.role, self.role)
        edges = [one for one in self.run.recipe.get("objectives") or [] if one.get("from")]
        if any(one["from"] == self.name for one in edges) and not any(one.get("to") == self.name for one in edges):
            return "online teacher"
        return "taught" if len(self.run.metrics["networks"]) > 1 else "alone"

    @property
    def colour(self) -> int:
        return self.index % 8 + 1

    @property
    def line(self) -> str:
        """How its curves are drawn: with more than eight networks, colours come again."""
        return ("solid", "dashed", "dotted")[self.index // 8 % 3]

    @property
    def predictions(self) -> pd.DataFrame:
        """The test rows of this network."""
        table = self.run.predictions
        return table[(table["network"] == self.name) & (table["part"] == "test")]


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads the directories in the order given and labels each by its name, or by more of its path where names agree.

    Raises:
        PreceptorError: for no directory, one given twice, or one that :func:`load_run` refuses.
    """
    if not paths:
        raise PreceptorError("no run directory was given", expected="one or more directories written by a finished run")
    places = [path.resolve() for path in paths]
    for place, times in Counter(places).items():
        if times > 1:
            raise PreceptorError(f"{place} is given {times} times", remedy="name each run directory once")
    return [load_run(path, label) for path, label in zip(paths, _labels(places), strict=True)]


def load_run(path: Path, label: str | None = None) -> Run:
    """Reads one finished run directory.

    Raises:
        PreceptorError: when it is no run directory, is unfinished, comes from another version, or holds a file that is
            missing, broken, or lacks a column.
    """
    if not path.is_dir():
        raise PreceptorError(f"{path} is not a directory", expected="the directory of a finished run")
    if not (path / "recipe.yaml").is_file():
        raise PreceptorError(
            f"{path} is not a run directory: it holds no recipe.yaml",
            expected="a directory that preceptor train has written",
        )
    if not (path / "metrics.json").is_file():
        raise PreceptorError(
            f"{path} is unfinished: it holds no metrics.json yet",
            expected="a run that has come to its end",
            remedy=f"preceptor resume {path}",
        )
    metrics = _json(path / "metrics.json")
    _check_metrics(metrics, path / "metrics.json")
    recipe_text = _text(path / "recipe.yaml")
    run = Run(
        path=path,
        label=label or path.resolve().name,
        recipe=_yaml(recipe_text, path / "recipe.yaml"),
        recipe_text=recipe_text,
        environment=_json(path / "environment.json"),
        metrics=metrics,
        split=_table(path / "split.csv", SPLIT),
        history=_table(path / "history.csv", HISTORY),
        predictions=_table(path / "predictions.csv", PREDICTIONS[metrics["task"]]),
    )
    _check_predictions(run)
    return run


def entries_of(runs: Sequence[Run]) -> list[Entry]:
    """All networks of all runs; labelled by the run, the network, or both, as far as needed to tell them apart."""
    entries: list[Entry] = []
    for run in runs:
        for name in run.metrics["networks"]:
            by_run = run.label if name == run.label else f"{run.label} · {name}"
            entries.append(Entry(run, name, name if len(runs) == 1 else by_run, len(entries)))
    return entries


def _labels(places: Sequence[Path]) -> list[str]:
    """The shortest path endings that differ."""
    deepest = max(len(place.parts) for place in places)
    for depth in range(1, deepest + 1):
        labels = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("distinct paths have distinct endings")


def _check_metrics(metrics: dict[str, Any], path: Path) -> None:
    if metrics.get("format") != FORMAT:
        raise PreceptorError(
            f"{path}: the format is {metrics.get('format')!r}",
            expected=f"format {FORMAT}",
            remedy="report it with the version of preceptor that ran it (environment.json names it)",
        )
    if metrics.get("task") not in HEADLINES:
        raise PreceptorError(f"{path}: the task is {metrics.get('task')!r}", expected=" or ".join(HEADLINES))
    headline = HEADLINES[metrics["task"]]
    missing = [key for key in ("classes", "networks") if not metrics.get(key)]
    for name, facts in metrics.get("networks", {}).items():
        if headline not in (facts.get("test") or {}):
            missing.append(f"networks.{name}.test.{headline}")
    if missing:
        raise PreceptorError(
            f"{path} lacks {', '.join(missing)}",
            expected="the figures of a finished run",
            remedy=f"preceptor evaluate {path.parent}",
        )


def _check_predictions(run: Run) -> None:
    path = run.path / "predictions.csv"
    wanted = [f"p_{name}" for name in run.classes]
    if run.task == "segmentation":
        kinds = ("iou", "target_pixels", "predicted_pixels") if len(run.classes) > 2 else ()
        wanted = [f"{kind}_{name}" for name in run.classes[1:] for kind in kinds]
    if missing := [name for name in wanted if name not in run.predictions.columns]:
        raise PreceptorError(f"{path} lacks the column {', '.join(missing)}", expected="one column for each class")
    tested = set(run.predictions.loc[run.predictions["part"] == "test", "network"])
    silent = [name for name in run.metrics["networks"] if name not in tested]
    if silent:
        raise PreceptorError(
            f"{path} holds no test row of the network {', '.join(silent)}",
            expected="rows of every network that metrics.json names",
            remedy=f"preceptor evaluate {run.path}",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PreceptorError(f"{path} is missing", expected="a whole run directory") from error
    except UnicodeDecodeError as error:
        raise PreceptorError(f"{path} is not UTF-8 text: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise PreceptorError(f"{path} cannot be read as JSON: {error}") from error
    return _mapping(found, path)


def _yaml(text: str, path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PreceptorError(f"{path} cannot be read as YAML: {error}") from error
    return _mapping(found, path)


def _mapping(found: object, path: Path) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise PreceptorError(f"{path} holds a {type(found).__name__}", expected="keys and values")
    return found


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise PreceptorError(f"{path} is missing", expected="a whole run directory")
    try:
        text = dict.fromkeys(TEXT, str)
        header = pd.read_csv(path, nrows=0).columns
        # In the columns of text, "NA" is a name like any other; in those of numbers an empty cell is no value.
        absent = {name: ([] if name in text else [""]) for name in header}
        table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=absent)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PreceptorError(f"{path} cannot be read as CSV: {error}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise PreceptorError(f"{path} lacks the column {', '.join(missing)}", expected=", ".join(columns))
    return table
