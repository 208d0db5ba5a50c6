"""Put an export into its folder: whole or not at all, and never at the price of both the old one and the new one."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from preceptor.deploy.manifest import MANIFEST
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import is_alive, write_bytes

_NEW, _OLD = ".tmp", ".old"  # endings of .NAME.PROCESS.tmp, where an export is made, and of what it replaces


@contextmanager
def staged(out: Path, refuse: Callable[[], None]) -> Iterator[Path]:
    """A folder whose files are those of ``out`` when the block ends; it vanishes when the block fails.

    It lies beside ``out`` and takes its name. Where ``out`` cannot be renamed (a mount point, a parent folder that is
    read-only) the files are moved into it one by one, ``export.json`` last.

    Args:
        refuse: raises unless ``out`` may be replaced; asked again when the block has ended, since other processes
            may have written there meanwhile.

    Raises:
        PreceptorError: nothing can be written there, or ``refuse`` raises it. If the files could not be put in their
            place, names the folder where they are.
    """
    target = out.resolve()
    _remove_leftovers(target)
    staging = _make_staging(target, out)
    try:
        yield staging
        refuse()
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    try:
        if staging.parent == target or not _swap(staging, target):
            _move_into(staging, target)
    except OSError as error:
        raise PreceptorError(
            f"--out {out}: the new export cannot be put there ({error.strerror}); it is in {staging}",
            remedy=f"move the files of that folder into {out} yourself, {MANIFEST} last",
        ) from None
    except BaseException as error:
        error.add_note(f"What of the new export is not in {out} yet is in {staging}.")
        raise
    shutil.rmtree(staging, ignore_errors=True)


def contents(out: Path) -> set[str]:
    """Names in a folder, but for exports that are being made, or were when their process was killed."""
    target = out.resolve()
    return {path.name for path in target.iterdir() if _process_of(path, target.name, _NEW) is None}


def restore_interrupted(out: Path) -> None:
    """Give an export its name back if a process was killed between renaming it and putting another in its place."""
    target = out.resolve()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        return
    for old in _leftovers(target.parent, target.name, _OLD):
        if old.with_suffix(_NEW).is_dir():  # else that process came to the end of its swap
            old.replace(target)
            return


def _remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed have left; only once ``target`` is known to be empty or to be replaced."""
    for folder, ending in ((target.parent, _NEW), (target.parent, _OLD), (target, _NEW)):
        for leftover in _leftovers(folder, target.name, ending):
            shutil.rmtree(leftover, ignore_errors=True)


def _leftovers(folder: Path, name: str, ending: str) -> list[Path]:
    """Folders of processes that run no more. Numbers begin anew in each container, so that ours may be an old one."""
    paths = {path: _process_of(path, name, ending) for path in folder.glob(f".{glob.escape(name)}.*{ending}")}
    return [
        path
        for path, process in paths.items()
        if process is not None and (process == os.getpid() or not is_alive(process))
    ]


def _process_of(path: Path, name: str, ending: str) -> int | None:
    """The number of the process that made the folder ``.NAME.PROCESS.ENDING``; None for any other path."""
    number = path.name.removeprefix(f".{name}.").removesuffix(ending)
    matches = number.isdecimal() and path.name == f".{name}.{number}{ending}" and path.is_dir()
    return int(number) if matches else None


def _make_staging(target: Path, out: Path) -> Path:
    """Beside the target, or in it where that is another disk or nothing can be made beside it."""
    name = f".{target.name}.{os.getpid()}{_NEW}"
    beside, inside = target.with_name(name), target / name
    try:
        if not target.is_mount():
            try:
                beside.mkdir(parents=True)
                return beside
            except OSError:
                if not target.is_dir():
                    raise
        inside.mkdir()
        return inside
    except OSError as error:
        raise PreceptorError(f"--out {out}: cannot be written ({error.strerror})", remedy="name another") from None


def _swap(staging: Path, target: Path) -> bool:
    """Rename the staging folder to the target; False, with nothing changed, where the target cannot be renamed."""
    if not target.exists():
        staging.rename(target)
        return True
    old = target.with_name(f".{target.name}.{os.getpid()}{_OLD}")
    try:
        target.rename(old)
    except OSError:
        return False
    try:
        staging.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return True


def _move_into(staging: Path, target: Path) -> None:
    """Move the files one by one. Without ``export.json`` the folder is no export: the old one goes first, the new last.

    In between the target is never empty, so that it is refused, and the staging folder kept, after a kill.
    """
    (target / MANIFEST).unlink(missing_ok=True)
    files = [path for path in staging.iterdir() if path.name != MANIFEST]
    for path in files:
        _move(path, target / path.name)
    names = {path.name for path in files}
    for path in list(target.iterdir()):
        if path.name in names or _process_of(path, target.name, _NEW) is not None:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    _move(staging / MANIFEST, target / MANIFEST)


def _move(source: Path, destination: Path) -> None:
    try:
        source.replace(destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        write_bytes(destination, source.read_bytes())
