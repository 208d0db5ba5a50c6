"""The Grad-CAM gallery of a study: one distilled student beside the same network trained alone."""

from __future__ import annotations

from pathlib import Path

from preceptor.report.entries import Entry
from preceptor.report.gallery import read_gallery
from preceptor.report.study_results import Line, StudyResults, read_study
from preceptor.tasks import TASKS


def write_study_gallery(folder: Path) -> Path | None:
    """Write the Grad-CAM gallery that a study's report embeds, unless it exists.

    It is of the plan's last distilled row (the plans of the papers end with the paper's own method), on the first fold
    and seed that it shares with a row trained from labels alone.

    Returns:
        The run that has a gallery; None of masks, and where the study has no such pair of rows.

    Raises:
        PreceptorError: the data or a teacher's run are gone.
    """
    study = read_study(folder)
    pair = None if TASKS[study.task].needs_masks else _pair(study)
    if pair is None:
        return None
    distilled, alone = pair
    key = min(distilled.runs.keys() & alone.runs.keys())
    path = distilled.runs[key].path
    if read_gallery(path) is None:
        from preceptor.report.explain import explain

        explain(path, alone.runs[key].path, network=distilled.network)
    return path


def _pair(study: StudyResults) -> tuple[Line, Line] | None:
    taught = [line for line in study.lines if _kind(line) == "taught"]
    alone = [line for line in study.lines if _kind(line) == "alone" and not line.row.teacher]
    pairs = [(line, single) for line in reversed(taught) for single in alone if line.runs.keys() & single.runs.keys()]
    return pairs[0] if pairs else None


def _kind(line: Line) -> str:
    return Entry(next(iter(line.runs.values())), line.network, line.label, line.index).kind
