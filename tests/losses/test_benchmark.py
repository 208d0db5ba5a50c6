from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

KEYS = {"name", "shape", "speedup", "memory_ratio", "max_rel_error_value", "max_rel_error_grad"}


def test_the_fast_forms_are_exact_in_the_benchmark_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    losses = importlib.import_module("benchmarks.losses")
    small = {"BATCH": 8, "SIZE": 32, "NEGATIVES": 60, "MAPS": (3, 40, 3), "EMBEDDINGS": (12, 30, 40)}
    for name, value in small.items():
        monkeypatch.setattr(losses, name, value)
    small_peers = {
        "IFVD": (2, 6, 3, 5),
        "SKD": (2, 6, 8),
        "FSP": (2, 60, 70, 2),
        "SEMCKD": (4, (3, 4), (5, 6), 4, 4),
        "SDD": (4, 6, 8, 5, 3),
        "DKD": (6, 5),
        "TEMPERATURE": (60, 3, 5),
    }
    for name, value in small_peers.items():
        monkeypatch.setattr(importlib.import_module("benchmarks.peer_losses"), name, value)
    monkeypatch.setattr(sys, "argv", ["losses", "--rows", "500", "6000", "--json", str(tmp_path / "out.json")])
    losses.main()
    cases = json.loads((tmp_path / "out.json").read_text())
    assert [case["name"].split(",")[0] for case in cases][:-1] == [
        *["ccd", "ccd with sampling", "crp with bank update"] * 2,
        "crkd",
        "crkd near the teacher",
        "drkd",
        "drkd near duplicates",
        "ifvd",
        "skd",
        "fsp",
        "semckd",
        "sdd",
        "dkd",
    ]
    assert cases[-1]["name"].startswith("temperature")
    for case in cases:
        assert set(case) >= KEYS
        assert case["max_rel_error_value"] < 5e-6
        assert case["max_rel_error_grad"] < 5e-6
        assert case["memory_ratio"] > 0
    assert len(capsys.readouterr().out.splitlines()) == len(cases)
