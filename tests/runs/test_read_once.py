"""Within one process what was read is passed on: nothing is resolved, read, hashed or built again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY
from preceptor import train
from preceptor.data.catalog import Catalog
from preceptor.recipes import resolve as resolving
from preceptor.runs import create, data, dependencies, schema, worker

SETTINGS = {
    **TINY,
    "epochs": 1,
    "networks.teacher.backbone": "test_resnet",
    "networks.teacher.pretrained": "none",
    "networks.student.backbone": "test_efficientnet",
}


def test_one_run_reads_everything_once(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **keywords)

        return call

    monkeypatch.setattr(dependencies, "resolve", counted("stage resolved", dependencies.resolve))
    monkeypatch.setattr("preceptor.api.training.resolve", counted("recipe resolved", resolving.resolve))
    monkeypatch.setattr("preceptor.runs.directory.recipe_from_yaml", counted("recipe.yaml parsed", lambda *_: None))
    monkeypatch.setattr(data, "read", counted("catalog read", data.read))
    monkeypatch.setattr(Catalog, "fingerprint", counted("fingerprint", Catalog.fingerprint))
    monkeypatch.setattr(schema, "read_json", counted("JSON parsed", schema.read_json))
    for module in (create, worker):
        monkeypatch.setattr(module, "build_networks", counted("networks built", module.build_networks))
    run = train("kd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=SETTINGS)
    assert run.report.is_file()
    assert run.stage("teacher").report.is_file()
    assert calls["recipe resolved"] == 1
    assert calls["stage resolved"] == 2, "the stage's own defaults, and the stage with what is handed on"
    assert calls["recipe.yaml parsed"] == 0
    assert calls["catalog read"] == 1
    assert calls["fingerprint"] == 1
    assert calls["JSON parsed"] == 1, "the stage's metrics, for the checksum of its weights"
    assert calls["networks built"] == 4, "two for the teacher's run and two for the student's"
