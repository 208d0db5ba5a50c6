"""YAML as recipes, plans and overrides are written in."""

from __future__ import annotations

import pytest
import yaml

from preceptor.utils.errors import PreceptorError
from preceptor.utils.plain_yaml import dump_yaml, load_yaml

ODD = [
    "no",
    "on",
    "1e5",
    "010",
    "0x1f",
    "1:30",
    "2020-01-02",
    "null",
    "~",
    "",
    "=",
    "<<",
    "${oc.env:HOME}",
    "a #b",
    "'",
]

#: Nine values, nine times each of them, and so on: 9^6 of them in 200 bytes.
BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("no", "no"), ("Yes", "Yes"), ("true", True), ("010", 10), ("1:30", "1:30"), ("~", None),
     ("2020-01-02", "2020-01-02"), (".5", 0.5), ("-3", -3), ("${oc.env:HOME}", "${oc.env:HOME}"), ("0x1f", 31)],
)  # fmt: skip
def test_scalars(text: str, value: object) -> None:
    loaded = load_yaml(text, "here")
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!!python/object/apply:os.system [ls]", "tag"),
        ("!mine x", "tag"),
        ("[" * 200 + "]" * 200, "nested"),
        ("9" * 5000, "digits"),
        ("a: 1\na: 2", "duplicate key"),
        ("&a [*a]", "endlessly large"),
        (BOMB, "endlessly large"),
        ("a: [1", "line 1"),
        ("a\x00", "not readable"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PreceptorError, match=f"(?s)^here: is not readable as YAML: .*{reason}|^here.*{reason}"):
        load_yaml(text, "here")


def test_what_is_written_is_read_again_by_any_reader() -> None:
    value = {"texts": ODD, "numbers": [1e-5, 1.0, 3, True, None]}
    assert load_yaml(dump_yaml(value), "here") == value
    assert yaml.safe_load(dump_yaml(value)) == value
