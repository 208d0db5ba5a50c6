"""What a typed text means by the type of its setting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from preceptor.recipes.overrides import parse_override, split_overrides
from preceptor.recipes.resolve import resolve
from preceptor.utils.errors import PreceptorError
from preceptor.utils.typed_text import value_of


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("No", str, "No"),
        ("t #2", str, "t #2"),
        ("[A-Z]+_(\\d+)", str, "[A-Z]+_(\\d+)"),
        ("null", str, "null"),
        ("null", str | None, None),
        ("a", str | list[str], "a"),
        ("[a, b]", str | list[str], ["a", "b"]),
        ("32", Literal["auto", "32"], "32"),
        ("'32'", Literal["auto", "32"], "32"),
        ("3", Annotated[int, Field(ge=1)], 3),
        ("1e-3", float, 0.001),
        ("true", bool | Literal["backbone"], True),
        ("backbone", bool | Literal["backbone"], "backbone"),
        ("{a: 1}", Any, {"a": 1}),
    ],
)
def test_value_of(text: str, annotation: Any, value: object) -> None:
    assert value_of(text, annotation, "key") == value


def test_overrides_follow_the_recipes_types() -> None:
    assert parse_override("name=t #2") == ("name", "t #2")
    assert parse_override("networks.teacher.run=runs/a #b") == ("networks.teacher.run", "runs/a #b")
    assert parse_override("networks.student.backbone=No") == ("networks.student.backbone", "No")
    assert parse_override("objectives.kl.weight=1e-2") == ("objectives.kl.weight", 0.01)
    assert resolve("kd", ["name=t #2"]).name == "t #2"


def test_options_follow_the_readers_types() -> None:
    _, options = split_overrides(["data.group_pattern=[A-Z]+", "data.groups_csv=No"], "folder")
    assert options == {"group_pattern": "[A-Z]+", "groups_csv": "No"}
    assert split_overrides(["data.images=70"], "phantom") == ({}, {"images": 70})
    with pytest.raises(PreceptorError, match="Did you mean 'images'"):
        split_overrides(["data.image=70"], "phantom")


def test_a_mapping_is_taken_as_it_is() -> None:
    assert split_overrides({"epochs": 3, "data.label": "No"}, "table") == ({"epochs": 3}, {"label": "No"})


def test_the_environment_stays_out_of_a_recipe() -> None:
    assert resolve("kd", ["paper=${oc.env:HOME}"]).paper == "${oc.env:HOME}"


@pytest.mark.parametrize("name", ["../../x", "a/b", ".", "..", "", " x", "a\nb", "x" * 101])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(PreceptorError, match="name"):
        resolve("kd", {"name": name})
