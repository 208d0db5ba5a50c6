"""Fixtures of the tests of the pixel cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from preceptor.data import cache_build
from preceptor.data.catalog import Catalog
from small_cache import write_images


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return write_images(tmp_path / "images")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the image files that were decoded since the start of the test."""
    names: list[str] = []
    real = cache_build.read_oriented

    def counted(path: Path) -> tuple[np.ndarray, int]:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(cache_build, "read_oriented", counted)
    return names
