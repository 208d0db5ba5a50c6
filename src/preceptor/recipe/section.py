"""What all sections of a recipe share: unknown keys and wrong types are refused, defaults are not written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def _plain_name(name: str) -> str:
    if not name.strip() or name != name.strip() or name.startswith(".") or not name.isprintable():
        raise ValueError(f"{name!r} is not a name (no blanks at its ends, no dot in front, nothing unprintable)")
    if "/" in name or "\\" in name or len(name) > 100:
        raise ValueError(f"{name!r} is not a name (no slashes, at most 100 characters)")
    return name


#: A name that folders are called after.
Name = Annotated[str, AfterValidator(_plain_name)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)


def without_defaults(section: BaseModel, plain: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the keys of a serialised section that differ from their defaults, and those to keep."""
    fields = type(section).model_fields
    return {
        key: value
        for key, value in plain.items()
        if key in keep or key not in fields or getattr(section, key) != default_of(fields[key])
    }


def default_of(field: FieldInfo) -> Any:
    """A field's default to compare with; pydantic's own ``get_default`` copies it deeply each time."""
    return field.default if field.default_factory is None else field.get_default(call_default_factory=True)
