"""What a text that was typed in a shell means, by the type of the setting that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from preceptor.utils.plain_yaml import load_yaml

_STRUCTURE = ("[", "{")


def value_of(text: str, annotation: Any, key: str) -> Any:
    """The value that ``text`` stands for where a setting has the type ``annotation``.

    A setting that takes text takes it as it is (``No``, ``t #2`` and ``[A-Z]+`` are text), except that ``null`` is
    None where None is allowed, and that a list or mapping is read where one is allowed. Any other is read as YAML.

    Raises:
        PreceptorError: no YAML, where YAML is read.

    >>> value_of("No", str, "name"), value_of("No", int | str, "name"), value_of("3", int, "epochs")
    ('No', 'No', 3)
    """
    kinds = list(_branches(annotation))
    words = [kind for kind in kinds if kind is str or (get_origin(kind) is Literal and _all_text(kind))]
    if not words or any(kind in (int, float, bool) for kind in kinds):
        value = load_yaml(text, key, "a value, as in a recipe's YAML")
        return text if str in kinds and not isinstance(value, int | float | bool | None) else value
    if text == "null" and type(None) in kinds:
        return None
    if str not in kinds and text[:1] == text[-1:] and text[:1] in ("'", '"'):  # one of some words, quoted as in YAML
        return text[1:-1]
    structured = any(kind not in words and kind is not type(None) for kind in kinds)
    if structured and text.startswith(_STRUCTURE):
        return load_yaml(text, key, "a value, as in a recipe's YAML")
    return text


def _branches(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type: unions taken apart, metadata of ``Annotated`` left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _branches(part)
    else:
        yield annotation


def _all_text(literal: Any) -> bool:
    return all(isinstance(value, str) for value in get_args(literal))
