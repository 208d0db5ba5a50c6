"""The report on runs measured on another data set: the run report's sections, of those images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preceptor.report.carried_over import carried_over
from preceptor.report.entries import LabelledRun, entries_of
from preceptor.report.formatting import count, counted
from preceptor.report.participants import demographics, external_flow
from preceptor.report.publication import refuse_foreign_files
from preceptor.report.run_report import contents_of, write_contents
from preceptor.runs.external import ExternalResult
from preceptor.utils.errors import PreceptorError
from preceptor.utils.path_names import shortest_endings


def write_external_report(results: Sequence[ExternalResult], out: Path) -> Path:
    """Write one self-contained page on runs that were measured on one other data set, and the files beside it.

    Args:
        results: of runs with the same classes; their order is that of the tables.
        out: the file to write; see :func:`preceptor.report.run_report.write_report`.

    Raises:
        PreceptorError: runs of different tasks or classes, or a file that cannot be written.
    """
    refuse_foreign_files(out)
    labels = shortest_endings([result.run.path.resolve() for result in results])
    runs = [external_run(result, label) for result, label in zip(results, labels, strict=True)]
    return write_contents(runs, _contents(results, runs), out)


def external_run(result: ExternalResult, label: str) -> LabelledRun:
    """Return a run as if the other data were its test part; its validation part stays its own."""
    run, record = result.run, result.record
    networks = {
        name: run.metrics.networks[name].model_copy(
            update={"test": dict(metrics), "validation": None, "relations": None}
        )
        for name, metrics in result.metrics.items()
    }
    metrics = run.metrics.model_copy(
        update={"classes": record.classes, "protocol": "grouped", "parts": {"test": len(result.images)}}
        | {"networks": networks, "masks_cut_at_half": None}
    )
    environment = run.environment.model_copy(update={"data": record.data, "split_hash": record.split_hash})
    predictions = result.predictions.replace({"part": {record.name: "test"}})
    readers = run.environment.data.name, record.data.name
    of: dict[str, Any] = {"metrics": metrics, "environment": environment, "predictions": predictions}
    return LabelledRun.of(run, label, split=result.images, readers=readers, **of)


def _contents(results: Sequence[ExternalResult], runs: Sequence[LabelledRun]) -> dict[str, Any]:
    if len({result.record.split_hash for result in results}) > 1:
        raise PreceptorError(
            "the runs were not measured on the same images", expected="runs with one class map, measured together"
        )
    entries, record = entries_of(runs), results[0].record
    contents = contents_of(runs, entries, pictures=False)
    return contents | {
        "title": f"{contents['title']} on {record.name}",
        "subject": [
            f"trained on {', '.join(dict.fromkeys(result.run.environment.data.name for result in results))}",
            f"measured on {record.data.name}",
            counted(len(results[0].images), "image"),
            f"{count(len(record.classes))} classes",
        ],
        "carried": carried_over(results, contents["entries"], contents["differences"]),
        "participants": [{"flow": external_flow(runs[0], record.data.images), "demographics": demographics(runs[0])}],
    }
