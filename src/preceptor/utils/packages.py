"""Which of the packages that the installed distribution asks for are there, in which version; nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "preceptor"
#: Extras of those who work on Preceptor itself.
OF_DEVELOPERS = ("dev", "docs", "peers")


@dataclass(frozen=True)
class Package:
    """A package that is asked for.

    Attributes:
        name: as the index calls it.
        installed: its version, or None.
        wanted: the versions that are asked for, such as ``<3,>=2.10``; empty where any will do.
        fits: whether it is installed in such a version.
    """

    name: str
    installed: str | None
    wanted: str
    fits: bool

    def __str__(self) -> str:
        return f"{self.name} {self.installed or 'missing'}"


def required() -> list[Package]:
    """Packages that every command may need, as the installed distribution names them.

    Raises:
        importlib.metadata.PackageNotFoundError: Preceptor runs from a source tree and was never installed.

    >>> "numpy" in [package.name for package in required()]
    True
    """
    return [_package(requirement) for requirement in _requirements() if _asked_for(requirement, "")]


def extras() -> dict[str, list[Package]]:
    """Extra → the packages that it adds to the others that it contains; without the extras of developers.

    Raises:
        importlib.metadata.PackageNotFoundError: Preceptor runs from a source tree and was never installed.
    """
    names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    asked = {name: list(_of_extra(name)) for name in names if name not in OF_DEVELOPERS}
    result = {}
    for name, packages in asked.items():
        contained = {package for other in asked.values() if set(other) < set(packages) for package in other}
        result[name] = [package for package in packages if package not in contained]
    return result


def _of_extra(name: str) -> Iterator[Package]:
    for requirement in _requirements():
        if _asked_for(requirement, name) and not _asked_for(requirement, ""):
            yield _package(requirement)


def is_installed(name: str) -> bool:
    """Whether a distribution is installed, in whatever version."""
    return _package(Requirement(name)).installed is not None


def _requirements() -> Iterator[Requirement]:
    yield from map(Requirement, metadata.requires(DISTRIBUTION) or [])


def _asked_for(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement) -> Package:
    wanted = str(requirement.specifier)
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Package(requirement.name, None, wanted, False)
    fits = requirement.specifier.contains(installed, prereleases=True)
    return Package(requirement.name, installed, wanted, fits)
