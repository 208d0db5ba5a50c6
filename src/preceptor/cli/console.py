"""What commands print: results of the functions of ``preceptor`` as lines and tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:
    from rich.console import Console

    from preceptor.api.evaluation import EvaluationResult
    from preceptor.api.prediction import Predictions
    from preceptor.data.check import DataReport
    from preceptor.deploy.profile import Profile
    from preceptor.runs.directory import Run


def wide_console() -> Console:
    """The terminal; wide enough for any table where there is none."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=200)


def print_run(run: Run) -> None:
    """Test metrics of each network of a finished run, and where its report is."""
    for name, result in run.metrics.networks.items():
        print(metrics_line(run.recipe.task, name, "test", result.test))
    print(f"report: {run.report}")


def print_evaluation(result: EvaluationResult) -> None:
    """Metrics and relations of each network, what the run was given, and what could not be measured."""
    for name, reason in result.unavailable.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    for name, metrics in result.metrics.items():
        print(metrics_line(result.task, name, result.part, metrics))
    for name, relations in result.relations.items():
        print(relations_line(name, result.part, relations))
    for name in result.added:
        print(f"{name}: added to the run; preceptor report shows it")
    for sentence in result.notes:
        print(sentence)
    if result.page is not None:
        print(f"report: {result.page}")
    if result.out is not None:
        print(f"written: {result.out}")


def print_predictions(result: Predictions) -> None:
    """The predictions as CSV, or where they were written.

    Raises:
        PreceptorError: images that could not be read, once the others are printed.
    """
    from preceptor.deploy.predict import refuse_failures

    if result.masks and result.out is not None:
        print(f"masks: {result.out}; what they hold: {result.out / 'masks.csv'}")
    elif result.out is not None:
        print(f"predictions: {result.out}")
    else:
        print(result.table.to_csv(index=False, float_format="%.6f"), end="")
    refuse_failures(result.unreadable, len(result.table))


def print_data_report(report: DataReport) -> None:
    """What a data set holds.

    Raises:
        PreceptorError: images that cannot be used, once all is printed.
    """
    wide_console().print(report)
    if not report.ok:
        raise PreceptorError(
            f"{len(report.unreadable)} of {report.images} images of {report.name} cannot be used; they are named above",
            remedy="repair them, or write their ids into a file and leave them out with --exclude FILE",
        )


def print_readers() -> None:
    """Every reader with what is known of its data set."""
    from preceptor.data.readers import READERS

    for name in sorted(READERS):
        about = READERS[name].about
        facts = [", ".join(about.tasks), f"images: {about.images}" if about.images else "", f"groups: {about.groups}"]
        facts += [f"attributes: {', '.join(about.attributes)}"] if about.attributes else []
        facts += ["published split"] if about.parts else []
        facts += [f"licence: {about.licence}"] if about.licence else []
        lines = [about.title, "; ".join(filter(None, facts)), READERS[name].layout]
        print(f"{name:16} " + f"\n{'':16} ".join(filter(None, lines)))


def print_profiles(profiles: Sequence[Profile]) -> None:
    """The cost table."""
    from preceptor.deploy.profile import as_table

    wide_console().print(as_table(profiles))


def metrics_line(task_name: str, network: str, part: str, metrics: Mapping[str, Any]) -> str:
    """The main metrics of a network on one part."""
    from preceptor.evaluation.metrics import METRICS
    from preceptor.tasks import TASKS

    task = TASKS[task_name]
    known = [key for key in task.summary if metrics[key] is not None]
    figures = ", ".join(f"{key.replace('_', ' ')} {metrics[key]:.{METRICS[key].digits}f}" for key in known)
    return f"{network}: {part} {figures} ({metrics[task.cases]} images)"


def relations_line(network: str, part: str, relations: Mapping[str, Any]) -> str:
    """The relation distance R_d of a network, or that it has none."""
    means = [f"{key} {relations[key]:.3f}" for key in ("intra", "inter") if relations[key] is not None]
    distance = "no R_d" if relations["r_d"] is None else f"R_d {relations['r_d']:.3f}"
    return f"{network}: {part} {distance} ({', '.join([*means, str(relations['images']) + ' images'])})"
