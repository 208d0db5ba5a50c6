"""``key=value`` as typed in a shell: which settings of a recipe, and which options of a reader, they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

import numpy as np
from pydantic import BaseModel

from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.utils.errors import PreceptorError
from preceptor.utils.typed_text import value_of

_OF_READER = "data."


def parse_override(override: str) -> tuple[str, Any]:
    """``key=value`` as the key and its value, by the type that recipes give the key.

    Raises:
        PreceptorError: no key, no value, or a value that is not readable where the key is not text.

    >>> parse_override("epochs=30"), parse_override("name=t #2"), parse_override("objectives.kl.weight=1e-2")
    (('epochs', 30), ('name', 't #2'), ('objectives.kl.weight', 0.01))
    """
    key, text = _split(override)
    return key, value_of(text, _type_of(key), key)


def split_overrides(
    overrides: Iterable[str] | Mapping[str, Any] | None, reader: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the recipe, and options of the reader (``data.key``), each key with its value.

    Args:
        overrides: ``key=value`` texts, or keys with values that are taken as they are, numbers of numpy as
            Python's; None is none.
        reader: the reader whose options ``data.key`` are; without one they are refused.

    Raises:
        PreceptorError: see :func:`parse_override`; a key given twice; an option without a reader, or one that the
            reader does not have.
    """
    if isinstance(overrides, str):
        raise PreceptorError(f"overrides: {overrides!r} is one text", expected="a list of key=value, or a mapping")
    overrides = () if overrides is None else overrides
    settings: dict[str, Any] = {}
    options: dict[str, Any] = {}
    typed = not isinstance(overrides, Mapping)
    pairs: list[tuple[str, Any]]
    if isinstance(overrides, Mapping):
        pairs = [(key, _plain(value)) for key, value in overrides.items()]
    else:
        pairs = list(map(_split, overrides))
    refuse_repeated(key for key, _ in pairs)
    for key, value in pairs:
        if key.startswith(_OF_READER):
            name = key.removeprefix(_OF_READER)
            options[name] = _option(name, value, reader) if typed else value
        else:
            settings[key] = value_of(value, _type_of(key), key) if typed else value
    if options and reader is None:
        raise PreceptorError(f"data.{next(iter(options))}: there is no reader to have this option")
    return settings, options


def refuse_repeated(keys: Iterable[str]) -> None:
    """Raise :class:`PreceptorError` for a key that one command gives several times, since the last may not be meant."""
    for key, count in Counter(keys).items():
        if count > 1:
            raise PreceptorError(f"{key}: is given {count} times", expected="each key once")


def is_setting(key: str) -> bool:
    """Whether some recipe has this key or argument."""
    return key.partition(".")[0] in Recipe.model_fields or any(key in spec.arguments for spec in _recipes())


def _split(override: str) -> tuple[str, str]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise PreceptorError(f"{override!r} is not an override", expected="key=value, as in epochs=30")
    if not text.strip(" "):  # a tab may be a value: data.separator
        raise PreceptorError(f"{key}: has no value", expected="key=value; key=null takes a setting away")
    return key, text


def _plain(value: Any) -> Any:
    """The value with numbers and arrays of numpy, in lists and mappings too, as Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _option(name: str, text: str, reader: str | None) -> Any:
    from preceptor.data.readers import READERS

    if reader is None:
        return text
    return value_of(text, READERS[reader].type_of(name), _OF_READER + name)


def _type_of(key: str) -> Any:
    """The type of a key of recipes, or of an argument of one; Any of what nobody declares, such as a loss's setting."""
    for spec in _recipes():
        if key in spec.arguments:
            return get_type_hints(spec.function, include_extras=True).get(key, Any)
    here: Any = Recipe
    for part in key.split("."):
        here = next(_parts(here, part), Any)
    return here


def _parts(annotation: Any, name: str) -> Iterator[Any]:
    """What ``name`` may be below a type: a field of a section, or the values of a mapping or list by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for key, field in annotation.model_fields.items():
            if name in (key, field.alias):
                yield field.annotation
        return
    arguments = get_args(annotation)
    if getattr(annotation, "__origin__", None) in (dict, list) and arguments:
        yield arguments[-1]
        return
    for argument in arguments:
        yield from _parts(argument, name)


def _recipes() -> Iterator[Any]:
    return (RECIPES[name] for name in RECIPES)
