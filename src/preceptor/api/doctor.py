"""``doctor``: what is installed and what this machine has, and what would keep a training run from working."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from preceptor.api.inputs import PathLike, optional_path
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import refuse_unwritable
from preceptor.utils.machine import (
    cuda_of_torch,
    free_space,
    graphics_cards,
    memory,
    size_of,
    size_text,
    usable_cores,
)
from preceptor.utils.packages import DISTRIBUTION, Package, extras, is_installed, required
from preceptor.version import __version__

_LITTLE = 5_000_000_000  # bytes on a disk: a cache of 10,000 images at 224 px and a few runs


@dataclass(frozen=True)
class Check:
    """One line of what ``doctor`` reports.

    Attributes:
        subject: what was examined, such as ``memory``.
        finding: what there is, in words.
        problem: what will not work, or an empty string.
        remedy: what to do about the problem, or what else there is to gain.
    """

    subject: str
    finding: str
    problem: str = ""
    remedy: str = ""


def doctor(
    folder: PathLike = ".", *, cache: PathLike | None = None, say: Callable[[Check], object] | None = None
) -> list[Check]:
    """Examine the installation and this machine; torch is not imported.

    Args:
        folder: where runs will be written.
        cache: where decoded images will be kept; the usual place unless given.
        say: called with each check as soon as it is made.

    Returns:
        All checks; those with a ``problem`` keep something from working.

    Raises:
        PreceptorError: a folder that is not there, or a cache that is a file.

    >>> [check.problem for check in doctor() if check.subject == "python"]
    ['']
    """
    place, kept = Path(folder).expanduser(), optional_path(cache)
    if not place.is_dir():
        what = "is not a folder" if place.exists() else "does not exist"
        raise PreceptorError(f"{place} {what}", expected="the folder that runs will be written to")
    if kept is not None and kept.exists() and not kept.is_dir():
        raise PreceptorError(f"--cache {kept} is a file", expected="a folder for decoded images")
    checks = []
    for check in _checks(place, kept):
        checks.append(check)
        if say is not None:
            say(check)
    return checks


def _checks(folder: Path, cache: Path | None) -> Iterator[Check]:
    yield Check("preceptor", f"{__version__} in {Path(__file__).parents[1]}")
    yield Check("python", f"{platform.python_version()} ({sys.executable}), {platform.platform()}")
    try:
        yield _packages(required())
    except PackageNotFoundError:
        yield Check("packages", "unknown: Preceptor runs from its source and is not installed", remedy="pip install .")
    yield _threads()
    yield _memory()
    yield _cards()
    from preceptor.data.cache import default_directory

    yield _cache(cache or default_directory())
    yield _disk("disk", folder, f"{folder.resolve()}: {size_text(free_space(folder))} free")
    try:
        for extra, packages in extras().items():
            yield _extra(extra, packages)
    except PackageNotFoundError:
        return


def _packages(packages: list[Package]) -> Check:
    return _judged("packages", packages, [package for package in packages if not package.fits])


def _judged(subject: str, packages: list[Package], wrong: list[Package], remedy: str = "") -> Check:
    """What is installed; a problem where packages are ``wrong``."""
    names = ", ".join(map(str, packages))
    if not wrong:
        return Check(subject, names, remedy=remedy)
    wanted = " ".join(f"'{package.name}{package.wanted}'" for package in wrong)
    what = ", ".join(f"{package} (needs {package.wanted or 'any'})" for package in wrong)
    return Check(subject, names, f"missing, or of another version than is needed: {what}", f"pip install {wanted}")


def _threads() -> Check:
    cores, asked = usable_cores(), os.environ.get("OMP_NUM_THREADS")
    threads = f"torch takes {asked} threads (OMP_NUM_THREADS)" if asked else f"torch takes up to {cores} threads"
    return Check("processor", f"{cores} cores for this process; {threads}")


def _memory() -> Check:
    sizes = memory()
    if sizes is None:
        return Check("memory", "unknown on this system")
    return Check("memory", f"{size_text(sizes[0])}, {size_text(sizes[1])} free")


def _cards() -> Check:
    cards, cuda = graphics_cards(), cuda_of_torch()
    torch = "without CUDA" if cuda is None else f"for CUDA {cuda}"
    build = f"torch is built {torch}" if is_installed("torch") else "torch is not installed"
    if not cards:
        return Check("GPU", f"no NVIDIA driver: training runs on the CPU ({build})")
    if cuda is None and is_installed("torch"):
        remedy = "install a build of torch with CUDA (pytorch.org tells the command)"
        return Check("GPU", "; ".join(cards), "torch is built without CUDA and will not use it", remedy)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = f"; CUDA_VISIBLE_DEVICES={hidden}" if hidden is not None else ""
    return Check("GPU", f"{'; '.join(cards)}; {build}{limited}")


def _cache(place: Path) -> Check:
    size = f"{size_text(size_of(place))} used" if place.is_dir() else "not there yet"
    return _disk("cache", place, f"{place}: {size}, {size_text(free_space(place))} free")


def _disk(subject: str, place: Path, finding: str) -> Check:
    try:
        refuse_unwritable(place, subject)
    except PreceptorError as error:
        remedy = "name another with PRECEPTOR_CACHE or --cache" if subject == "cache" else "go to another folder"
        return Check(subject, finding, error.what, remedy)
    if free_space(place) < _LITTLE:
        return Check(subject, f"{finding}; little for decoded images, checkpoints and reports")
    return Check(subject, finding)


def _extra(name: str, packages: list[Package]) -> Check:
    """Judge one extra: a missing extra is no problem, an installed one of an unsupported version is."""
    missing = any(package.installed is None for package in packages)
    wrong = [package for package in packages if package.installed and not package.fits]
    return _judged(f"extra {name}", packages, wrong, f"pip install '{DISTRIBUTION}[{name}]'" if missing else "")
