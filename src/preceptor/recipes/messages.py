"""Turns what pydantic says of a wrong recipe into one error that names the key."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from preceptor.utils.errors import PreceptorError, UnknownKeyError, did_you_mean

_TAGS = {
    *("number", "ramp", "steps", "str", "Policy"),
    *("adam", "adamw", "sgd", "one_cycle", "cosine", "multi_step", "exponential", "plateau", "constant"),
}
_UNNAMED = ("constrained-", "literal[", "bool")  # what pydantic calls the branches of a union of plain types
_LONGEST = 200  # characters of a value in a message


def as_preceptor_error(error: ValidationError, where: str, schema: type[BaseModel], data: Any = None) -> PreceptorError:
    """The first fault of a validation, with the key as a user writes it and a suggestion for a mistyped one."""
    faults = error.errors()
    fault = next((other for other in faults if other["type"] == "extra_forbidden"), _deepest(faults))
    key = _written(fault["loc"], data)
    if fault["type"] == "extra_forbidden":
        known = _siblings(schema, fault["loc"][:-1])
        hint = did_you_mean(str(fault["loc"][-1]), known)
        return UnknownKeyError(
            f"{where}: unknown key {key!r}.{hint}", key=key, known=known, expected="one of " + ", ".join(known)
        )
    if fault["type"] == "missing":
        return PreceptorError(f"{where}: {key!r} is missing")
    if fault["type"] == "union_tag_invalid":
        tags = fault["ctx"]
        return PreceptorError(f"{where}: '{key}.name' is {tags['tag']!r}", expected=f"one of {tags['expected_tags']}")
    if fault["type"] == "union_tag_not_found":
        return PreceptorError(f"{where}: '{key}.name' is missing", expected="which kind it is, as in name: adam")
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return PreceptorError(f"{where}: {key + ': ' if key else ''}{message}")
    if fault["type"] == "too_short" and not fault["input"]:
        return PreceptorError(f"{where}: {key!r} is empty", expected=f"at least {_entries(fault['ctx']['min_length'])}")
    branches = [other for other in faults if other["loc"][:-1] == fault["loc"][:-1] and _is_unnamed(other["loc"][-1])]
    expected = [str(branch["msg"]).removeprefix("Input should be ") for branch in branches or [fault]]
    return PreceptorError(
        f"{where}: {key!r} is {_short(fault['input'])}", expected=", or ".join(dict.fromkeys(expected))
    )


def _entries(number: int) -> str:
    return "one entry" if number == 1 else f"{number} entries"


def _is_unnamed(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(_UNNAMED)


def _deepest(faults: list[Any]) -> Any:
    """The first fault; of a union's branches, the one that got furthest (``policy`` is a name or a mapping)."""
    first = faults[0]
    if first["loc"] and first["loc"][-1] in _TAGS:
        stem = first["loc"][:-1]
        branches = (fault for fault in faults if fault["loc"][: len(stem)] == stem)
        return max(branches, key=lambda fault: len(fault["loc"]))
    return first


def _written(loc: tuple[int | str, ...], data: Any) -> str:
    """``('objectives', 1, 'weight', 'number')`` as ``objectives.kl.weight``."""
    words, here = [], data
    for before, part in zip((None, *loc), loc, strict=False):
        tag = part in _TAGS and (before == "weight" or not (isinstance(here, dict) and part in here))
        if part == "[key]" or tag or _is_unnamed(part):
            continue
        here = here[part] if _holds(here, part) else None
        named = here.get("name") or here.get("loss") if isinstance(part, int) and isinstance(here, dict) else None
        words.append(str(named or part))
    return ".".join(words)


def _holds(here: Any, part: int | str) -> bool:
    if isinstance(part, int):
        return isinstance(here, list) and part < len(here)
    return isinstance(here, dict) and part in here


def _siblings(schema: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one was found: follows the JSON schema along ``loc``."""
    whole = _json_schema(schema)
    here: dict[str, Any] = whole
    for part in loc:
        here = _into(_follow(here, whole), part, whole)
    here = _follow(here, whole)
    for choice in here.get("anyOf", here.get("oneOf", [])):
        here = _follow(choice, whole) if "properties" in _follow(choice, whole) else here
    return sorted(here.get("properties", {}))


@lru_cache(maxsize=8)
def _json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Generate a JSON schema once: that of a recipe takes a tenth of a second, and a plan tries many keys."""
    return schema.model_json_schema(mode="validation")


def _follow(here: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in here:
        here = whole["$defs"][here["$ref"].rsplit("/", 1)[-1]]
    return here


def _into(here: dict[str, Any], part: int | str, whole: dict[str, Any]) -> dict[str, Any]:
    if isinstance(part, int):
        return here.get("items", {})
    if part in here.get("properties", {}):
        return here["properties"][part]
    choices = [_follow(choice, whole) for choice in here.get("anyOf", here.get("oneOf", []))]
    for choice in choices:  # the tag of a union: the branch with that name, or title
        tagged = choice.get("properties", {}).get("name", {}).get("const")
        if part in (tagged, choice.get("title"), str(choice.get("title", "")).lower()):
            return choice
    extra = here.get("additionalProperties")
    return extra if isinstance(extra, dict) else {}


def _short(value: object) -> str:
    """A value as it would be typed, cut where it is endless."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
