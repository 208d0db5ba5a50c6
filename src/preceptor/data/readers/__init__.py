"""Readers turn a published layout on disk, as downloaded, into a :class:`~preceptor.data.catalog.Catalog`.

A reader is a function of the root folder and of typed options; the decorator makes it known, to the command line too::

    @reader("mine", layout="one CSV and one folder of PNG files")
    def mine(root: Path, site: str = "all") -> Catalog: ...

    read("mine", Path("data"), {"site": "Vienna"})        # or: --data mine --root data data.site=Vienna

Every reader takes the option ``groups_csv`` too: a CSV file (id, group) with other groups than the data set's own, as
``preceptor data check --duplicates`` writes it. Third parties name their module in an entry point of the group
``preceptor.readers``.
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
from preceptor.data.groups import regrouped
from preceptor.data.layout import refuse_no_folder
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.registry import Registry

F = TypeVar("F", bound=Callable[..., Catalog])


@dataclass(frozen=True)
class About:
    """What ``preceptor data list`` tells of a data set before anyone downloads it.

    Attributes:
        title: what it shows, in a few words.
        tasks: what it is published for, as ``preceptor.tasks`` calls them; the usual one first.
        images: how many there are, as published.
        groups: what keeps images together (lesion, patient, slide), or none.
        attributes: what is known of patient and acquisition.
        licence: as the publisher states it.
        parts: whether the publisher prescribes parts.
        archive: that its images' ids are those of; one id is one image in all data sets of it.
    """

    title: str = ""
    tasks: tuple[str, ...] = ("classification",)
    images: str = ""
    groups: str = "none"
    attributes: tuple[str, ...] = ()
    licence: str = ""
    parts: bool = False
    archive: str = ""


@dataclass(frozen=True)
class ReaderSpec:
    """A registered reader.

    Attributes:
        name: what ``--data`` calls it.
        function: ``function(root, **options)``.
        layout: one line on the layout that it reads.
        needs_root: whether it reads nothing without a root folder.
        reads_file: whether its root may be a file.
        options: option -> its type (pydantic constraints included).
        defaults: option -> its value when it is not given.
        about: the data set that it reads, in words.
    """

    name: str
    function: Callable[..., Catalog]
    layout: str
    needs_root: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    about: About = field(default_factory=About)
    reads_file: bool = False

    def convert(self, options: Mapping[str, object]) -> dict[str, Any]:
        """Options as typed in a shell or a recipe, as the types that the reader's signature asks for.

        Raises:
            PreceptorError: an option that the reader does not have, or a value of the wrong type or range.
        """
        return {key: self._converted(key, value) for key, value in options.items()}

    def type_of(self, key: str) -> Any:
        """The type of an option.

        Raises:
            PreceptorError: the reader has no such option.
        """
        if key == GROUPS_OPTION:
            return str
        if key not in self.options:
            takes = f"one of {', '.join(sorted([*self.options, GROUPS_OPTION]))}"
            raise PreceptorError(
                f"data.{key}: the reader {self.name!r} has no such option.{did_you_mean(key, self.options)}",
                expected=takes,
            )
        return self.options[key]

    def _converted(self, key: str, value: object) -> Any:
        adapter = TypeAdapter(self.type_of(key), config=_LENIENT)
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            if type(value) in (int, float):  # a choice called 1 in YAML is the choice "1"
                return self._converted(key, str(value))
            if isinstance(value, list | tuple) and self.type_of(key) is str:  # names, as a list in YAML or Python
                return ",".join(map(str, value))
            reason = ", or: ".join(part["msg"] for part in error.errors())  # one for each type that it could be
            raise PreceptorError(f"data.{key}={value} for the reader {self.name!r}: {reason}") from None


#: The option of every reader that names a CSV file with other groups.
GROUPS_OPTION = "groups_csv"
_LENIENT = ConfigDict(coerce_numbers_to_str=True)  # a class called 1 in YAML is the class "1"


def _load_ours() -> None:
    for module in iter_modules(import_module(__name__).__path__):
        import_module(f"{__name__}.{module.name}")


READERS: Registry[ReaderSpec] = Registry("data reader", "preceptor.readers", _load_ours)


def same_ids(name: str, options: Mapping[str, object], other: str, other_options: Mapping[str, object]) -> bool:
    """Whether an id stands for the same image in what two readers read under their options.

    It does in one published data set and in those of one archive. In folders and tables of users' own, ``mel/001.png``
    may be any image.

    >>> same_ids("ham10000", {}, "isic2019", {}), same_ids("folder", {}, "folder", {})
    (True, False)
    """
    archive = READERS[name].about.archive
    if archive:
        return READERS[other].about.archive == archive
    return bool(READERS[name].about.images) and (name, dict(options)) == (other, dict(other_options))


def reader(
    name: str,
    *,
    layout: str,
    needs_root: bool = True,
    reads_file: bool = False,
    options: Callable[..., object] | None = None,
    about: About | None = None,
) -> Callable[[F], F]:
    """Register ``function(root, **options) -> Catalog`` under ``name``.

    Args:
        name: what ``--data`` calls it.
        layout: one line on the layout that it reads, for ``data check`` and for messages.
        needs_root: False when the reader can do without a folder.
        reads_file: True when its root may be a file; :func:`read` refuses files for all other readers.
        options: what has the options as its typed parameters, when it is not the function itself.
        about: the data set that it reads, for ``preceptor data list``.
    """

    def decorate(function: F) -> F:
        source = options or function
        arguments = {key: arg for key, arg in inspect.signature(source).parameters.items() if key != "root"}
        hints = get_type_hints(source, include_extras=True)
        types = {key: hints[key] for key in arguments}
        defaults = _defaults(arguments)
        spec = ReaderSpec(name, function, layout, needs_root, types, defaults, about or About(), reads_file)
        READERS.add(name, spec, function)
        return function

    return decorate


def _defaults(arguments: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    return {key: arg.default for key, arg in arguments.items() if arg.default is not inspect.Parameter.empty}


def read(name: str, root: Path | None = None, options: Mapping[str, object] | None = None) -> Catalog:
    """The catalog of a data set.

    Args:
        name: a registered reader.
        root: the data set's folder (for ``table`` also a CSV file, for ``medmnist`` an .npz file).
        options: the reader's options; strings are converted to the types of its signature. ``groups_csv`` names a
            CSV file with the columns ``id`` and ``group``; the images that it names get those groups.

    Raises:
        PreceptorError: an unknown reader or option, no root where one is needed, a file (an archive, say)
            instead of a folder, and whatever the reader finds wrong.
    """
    spec = READERS[name]
    options = dict(options or {})
    groups_csv = options.pop(GROUPS_OPTION, None)
    converted = spec.convert(options)
    if root is None:
        if spec.needs_root:
            raise PreceptorError(
                f"the reader {name!r} needs to know where the data are", expected=spec.layout, remedy="give --root DIR"
            )
    else:
        root = Path(root).expanduser()
        if spec.needs_root:
            layout = f"{spec.layout} (reader {name!r})"
            if not root.exists():
                raise PreceptorError(f"{root} does not exist", expected=layout, remedy="check --root")
            refuse_no_folder(root, layout, spec.reads_file)
    catalog = spec.function(root, **converted)
    return catalog if groups_csv is None else regrouped(catalog, Path(str(groups_csv)).expanduser())
