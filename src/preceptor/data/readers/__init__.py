"""Readers turn a published layout on disk, as downloaded, into a :class:`~preceptor.data.catalog.Catalog`.

A reader is a function of the root folder and of typed options; the decorator makes it known, to the command line too::

    @reader("mine", layout="one CSV and one folder of PNG files")
    def mine(root: Path, site: str = "all") -> Catalog: ...

    read("mine", Path("data"), {"site": "Vienna"})        # or: --data mine --root data data.site=Vienna

Third parties name their module in an entry point of the group ``preceptor.readers``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from preceptor.data.catalog import Catalog
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.registry import Registry

F = TypeVar("F", bound=Callable[..., Catalog])


@dataclass(frozen=True)
class ReaderSpec:
    """A registered reader.

    Attributes:
        name: what ``--data`` calls it.
        function: ``function(root, **options)``.
        layout: one line on the layout that it reads.
        needs_root: whether it reads nothing without a root folder.
        options: option -> its type (pydantic constraints included).
        defaults: option -> its value when it is not given.
    """

    name: str
    function: Callable[..., Catalog]
    layout: str
    needs_root: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def convert(self, options: Mapping[str, object]) -> dict[str, Any]:
        """Options as typed in a shell or a recipe, as the types that the reader's signature asks for.

        Raises:
            PreceptorError: an option that the reader does not have, or a value of the wrong type or range.
        """
        return {key: self._converted(key, value) for key, value in options.items()}

    def _converted(self, key: str, value: object) -> Any:
        if key not in self.options:
            takes = f"one of {', '.join(sorted(self.options))}" if self.options else "no options"
            raise PreceptorError(
                f"data.{key}: the reader {self.name!r} has no such option.{did_you_mean(key, self.options)}",
                expected=takes,
            )
        try:
            return TypeAdapter(self.options[key], config=_LENIENT).validate_python(value)
        except ValidationError as error:
            reason = ", or: ".join(one["msg"] for one in error.errors())  # one for each type that it could have been
            raise PreceptorError(f"data.{key}={value} for the reader {self.name!r}: {reason}") from None


_LENIENT = ConfigDict(coerce_numbers_to_str=True)  # a class called 1 in YAML is the class "1"


def _load_ours() -> None:
    for module in iter_modules(import_module(__name__).__path__):
        import_module(f"{__name__}.{module.name}")


READERS: Registry[ReaderSpec] = Registry("data reader", "preceptor.readers", _load_ours)


def reader(
    name: str, *, layout: str, needs_root: bool = True, options: Callable[..., object] | None = None
) -> Callable[[F], F]:
    """Register ``function(root, **options) -> Catalog`` under ``name``.

    Args:
        name: what ``--data`` calls it.
        layout: one line on the layout that it reads, for ``data check`` and for messages.
        needs_root: False when the reader can do without a folder.
        options: what has the options as its typed parameters, when it is not the function itself.
    """

    def decorate(function: F) -> F:
        source = options or function
        arguments = {key: arg for key, arg in inspect.signature(source).parameters.items() if key != "root"}
        hints = get_type_hints(source, include_extras=True)
        types = {key: hints[key] for key in arguments}
        READERS.add(name, ReaderSpec(name, function, layout, needs_root, types, _defaults(arguments)))
        return function

    return decorate


def _defaults(arguments: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    return {key: arg.default for key, arg in arguments.items() if arg.default is not inspect.Parameter.empty}


def read(name: str, root: Path | None = None, options: Mapping[str, object] | None = None) -> Catalog:
    """The catalog of a data set.

    Args:
        name: a registered reader.
        root: the data set's folder (for ``table`` also a CSV file).
        options: the reader's options; strings are converted to the types of its signature.

    Raises:
        PreceptorError: an unknown reader or option, no root where one is needed, and whatever the reader finds wrong.
    """
    spec = READERS[name]
    converted = spec.convert(options or {})
    if root is None:
        if spec.needs_root:
            raise PreceptorError(
                f"the reader {name!r} needs to know where the data are", expected=spec.layout, remedy="give --root DIR"
            )
    else:
        root = Path(root).expanduser()
        if spec.needs_root and not root.exists():
            raise PreceptorError(
                f"{root} does not exist", expected=f"{spec.layout} (reader {name!r})", remedy="check --root"
            )
    return spec.function(root, **converted)
