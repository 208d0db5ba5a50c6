"""The sections that a clinical reviewer asks for, of runs that predict one class per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from preceptor.report.calibration import calibration_rows
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.network_predictions import predictions_of
from preceptor.report.operating_points import POINTS, positive_classes
from preceptor.report.participants import demographics, flow
from preceptor.report.subgroups import attribute_sections
from preceptor.report.surest_errors import surest_errors
from preceptor.report.uncertainty import ANSWERED, ERROR, adaptive, risk_figure, selective_rows, sets_rows


def clinical_sections(entries: Sequence[Entry], *, pictures: bool = True) -> dict[str, Any]:
    """Return what ``clinical.html.j2`` shows of networks; empty lists where the task has no such section.

    Args:
        pictures: whether to show those that runs keep of their own test part.
    """
    networks = predictions_of(entries)
    return {
        "positives": positive_classes(networks, class_groups([entry.run for entry in entries])),
        "points": POINTS,
        "calibrations": calibration_rows(networks),
        "sets": sets_rows(networks),
        "adaptive_sets": sets_rows(networks, adaptive),
        "coverage_wanted": 1 - ERROR,
        "selective": selective_rows(networks),
        "answered": ANSWERED,
        "risks": risk_figure(networks) if networks else None,
        "attributes": attribute_sections(networks),
        "failures": surest_errors(networks, pictures=pictures),
    }


def class_groups(runs: Sequence[LabelledRun]) -> dict[str, list[str]]:
    """Return the groups of classes that the recipes of runs name, of those whose classes the runs have.

    Groups of one name and other classes get their run's label.
    """
    groups: dict[str, list[str]] = {}
    for run in runs:
        for name, members in run.recipe.class_groups.items():
            if set(members) <= set(run.classes):
                key = name if groups.get(name, members) == members else f"{name} ({run.label})"
                groups[key] = list(members)
    return groups


def participants(sharers: Sequence[Sequence[LabelledRun]]) -> list[dict[str, Any]]:
    """Return flow diagram and attributes of each split of a report, in the order of its tables of images."""
    return [{"flow": flow(runs[0]), "demographics": demographics(runs[0])} for runs in sharers]
