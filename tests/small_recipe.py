"""The smallest recipe, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preceptor.utils.errors import PreceptorError

CE = {"loss": "cross_entropy", "of": "student"}


def plain(**changes: Any) -> dict[str, Any]:
    """The smallest whole recipe, as YAML would hold it."""
    smallest = {
        "name": "small",
        "networks": {"student": {"backbone": "test_resnet"}},
        "views": {"student": "plain"},
        "objectives": [dict(CE)],
    }
    return {**smallest, **changes}


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return str(file)


def refused(call: Any, *parts: str) -> PreceptorError:
    """The error of ``call``, which says all of ``parts`` in few lines."""
    with pytest.raises(PreceptorError) as caught:
        call()
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    assert "Traceback" not in text
    assert "pydantic" not in text
    return caught.value
