"""A study small enough for a test: two rows on the phantom's tiny networks."""

from __future__ import annotations

from typing import Any

from conftest import TINY
from preceptor.study.plan import Plan, validate

SETTINGS = {
    **TINY,
    "epochs": 1,
    "networks.student.backbone": "test_efficientnet",
    "networks.student.pretrained": "none",
    "networks.teacher.backbone": "test_resnet",
    "networks.teacher.pretrained": "none",
}
PLAN: dict[str, Any] = {
    "name": "tiny",
    "data": {"reader": "phantom"},
    "folds": [0],
    "set": SETTINGS,
    "rows": [{"name": "alone", "recipe": "student"}, {"name": "KD", "recipe": "kd"}],
    "baseline": "alone",
    "layout": {"columns": {"accuracy": "ACC"}},
}


def plan(**changes: Any) -> Plan:
    text = {**PLAN, **changes}
    if text["set"].keys() >= SETTINGS.keys() and {row.get("recipe") for row in text["rows"]} == {"student"}:
        text["set"] = {key: value for key, value in text["set"].items() if "teacher" not in key}
    return validate(text, "plan tiny")
