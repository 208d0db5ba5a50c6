from __future__ import annotations

from preceptor.utils.errors import some_of


def test_a_long_list_is_counted() -> None:
    assert some_of("abcd", 2) == "a, b and 2 more"


def test_an_endless_name_is_cut() -> None:
    listed = some_of(["x" * 20_000, "b"])
    assert len(listed) < 300
    assert listed.endswith("…, b")
