"""Named things that others may add to: losses, readers, recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.imports import import_inherited
from preceptor.utils.registrations import note_registration

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things. Our own are registered on import of ``home``; plug-ins through an entry point group.

    A plug-in package declares, in its ``pyproject.toml``, an entry point in ``group`` that names a module; importing
    the module runs its decorators, and that is all there is to it. A single file is imported with ``--import FILE``.

    A package whose module cannot be imported stops every lookup, with an error that names it: without its entries a
    name would be unknown that is known elsewhere, or mean something else.

    Args:
        kind: what one entry is called in messages, such as ``loss``.
        group: the entry point group, such as ``preceptor.losses``.
        load: imports our own entries.
    """

    def __init__(self, kind: str, group: str, load: Callable[[], object]) -> None:
        self.kind, self.group = kind, group
        self._load, self._loaded = load, False
        self._failure: PreceptorError | None = None
        self._entries: dict[str, T] = {}
        self._definitions: dict[str, object] = {}

    def add(self, name: str, entry: T, definition: object = None) -> None:
        """Register an entry.

        Args:
            definition: the function or class that the entry was made from. One of a notebook or script that is defined
                again, as when a cell is run twice, takes the place of the earlier one.

        Raises:
            PreceptorError: another entry has the name.
        """
        if name in self._entries and not _is_defined_again(self._definitions.get(name), definition):
            raise PreceptorError(f"two {self.kind} entries are called {name!r}", remedy="rename one of them")
        self._entries[name], self._definitions[name] = entry, definition
        note_registration(lambda: self._remove(name, entry))

    def _remove(self, name: str, entry: T) -> None:
        if self._entries.get(name) is entry:
            del self._entries[name]

    def __getitem__(self, name: str) -> T:
        self._fill()
        if name not in self._entries:
            raise PreceptorError(
                f"there is no {self.kind} called {name!r}.{did_you_mean(name, self._entries)}",
                expected="one of " + ", ".join(sorted(self._entries)),
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(list(self._entries))

    def _fill(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._loaded:
            return
        self._loaded = True  # before the imports, which may look names up themselves
        try:
            self._load()
            self._import_plugins()
            import_inherited()
        except BaseException:
            self._loaded = False
            raise

    def _import_plugins(self) -> None:
        try:
            for point in entry_points(group=self.group):
                _import_plugin(point, self.kind)
        except PreceptorError as error:  # kept: a second import would register again what the first one did
            self._failure = error
            raise


def _is_defined_again(earlier: object, later: object) -> bool:
    """Whether two functions or classes are one definition of the main module that was run twice."""
    name = getattr(later, "__qualname__", None)
    if name is None or name.endswith("<lambda>"):  # which all have one name
        return False
    main = getattr(earlier, "__module__", None) == getattr(later, "__module__", None) == "__main__"
    return main and getattr(earlier, "__qualname__", None) == name


def _import_plugin(point: EntryPoint, kind: str) -> None:
    package = "an installed package" if point.dist is None else f"the installed package {point.dist.name}"
    where = f"{point.value}, which {package} adds to preceptor"
    try:
        point.load()
    except PreceptorError as error:
        raise error.prefixed(where) from error
    except Exception as error:  # whatever the package does
        raise PreceptorError(
            f"{where}: {type(error).__name__}: {error}",
            expected=f"a module that can be imported, and registers a {kind}",
            remedy="update this package, or remove it with: pip uninstall "
            + ("PACKAGE" if point.dist is None else point.dist.name),
        ) from error
