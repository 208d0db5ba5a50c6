"""Registries whose plug-ins cannot be imported, as pip would have installed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from preceptor.utils.errors import PreceptorError
from preceptor.utils.registry import Registry

GROUP = "preceptor.fruits"
FRUITS: list[Registry[int]] = []  # what the plug-ins register with


@pytest.fixture
def fruits() -> Registry[int]:
    registry: Registry[int] = Registry("fruit", GROUP, lambda: None)
    registry.add("apple", 1)
    FRUITS[:] = [registry]
    return registry


def install(folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nfruit = {name}\n")


ADDS = f"from {__name__} import FRUITS\nFRUITS[0].add('{{}}', 2)\n"


def test_a_plug_in_adds_its_entries(fruits: Registry[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "whole_fruit", ADDS.format("pear"))
    monkeypatch.syspath_prepend(tmp_path)
    assert fruits["pear"] == 2
    assert list(fruits) == ["apple", "pear"]


@pytest.mark.parametrize(
    ("name", "code", "parts"),
    [
        ("broken_fruit", "import no_such_module", ("ModuleNotFoundError: No module named 'no_such_module'",)),
        ("half_fruit", "1 / 0", ("ZeroDivisionError: division by zero",)),
        ("twin_fruit", ADDS.format("apple"), ("two fruit entries are called 'apple'", "rename one of them")),
    ],
)
def test_a_plug_in_that_fails_is_named_at_every_lookup(
    fruits: Registry[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: str,
    parts: tuple[str, ...],
) -> None:
    install(tmp_path, name, ADDS.format("pear") + code)
    monkeypatch.syspath_prepend(tmp_path)
    for lookup in (lambda: fruits["apple"], lambda: "plum" in fruits, lambda: list(fruits)):
        with pytest.raises(PreceptorError) as caught:
            lookup()
        for part in (f"installed package {name}", *parts):
            assert part in str(caught.value)


def test_an_interrupted_import_is_taken_up_again(tmp_path: Path) -> None:
    signals = [KeyboardInterrupt]

    def load() -> None:
        if signals:
            raise signals.pop()
        numbers.add("one", 1)

    numbers: Registry[int] = Registry("number", "preceptor.numbers", load)
    with pytest.raises(KeyboardInterrupt):
        list(numbers)
    assert list(numbers) == ["one"]
