"""How an export gets into its folder: whole or not at all, and never at the price of the old one and the new one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preceptor.api.exporting import export
from preceptor.deploy.export.staging import restore_interrupted, staged
from preceptor.deploy.export.write import refuse_occupied
from preceptor.utils.errors import PreceptorError

NOBODY = 2**22 + 1  # a process that cannot be: numbers end at 2**22


def put(out: Path, overwrite: bool = False, text: str = "new", meanwhile: Callable[[], object] = lambda: None) -> Path:
    """Export three files to ``out``; returns where they were made."""
    refuse_occupied(out, overwrite)
    with staged(out, lambda: refuse_occupied(out, overwrite)) as folder:
        for name in ("export.json", "model.onnx", "network.onnx"):
            (folder / name).write_text(text)
        meanwhile()
    return folder


def older(out: Path) -> Path:
    """An older export with a file that the new one lacks."""
    out.mkdir()
    for name in ("export.json", "model.onnx", "model.int8.onnx"):
        (out / name).write_text("old")
    return out


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


NEW = dict.fromkeys(("export.json", "model.onnx", "network.onnx"), "new")
OLD = dict.fromkeys(("export.json", "model.onnx", "model.int8.onnx"), "old")


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that behaves as a bind mount: it cannot be renamed, and nothing can be renamed into it."""
    target = tmp_path / "volume"
    rename, replace = Path.rename, Path.replace

    def busy(path: Path, to: Path) -> Path:
        if target in (path, to):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(path, to)

    def across(path: Path, to: Path) -> Path:
        if (path.parent == target) != (Path(to).parent == target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(path, to)

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(Path, "replace", across)
    return target


def test_an_export_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    put(older(tmp_path / "out"), overwrite=True)
    assert content(tmp_path / "out") == NEW
    assert os.listdir(tmp_path) == ["out"]


def test_files_that_no_export_wrote_are_not_replaced_with_it(tmp_path: Path) -> None:
    (older(tmp_path / "out") / "notes.txt").write_text("mine")
    with pytest.raises(PreceptorError, match=r"holds more than an export \(notes\.txt\)"):
        put(tmp_path / "out", overwrite=True)
    assert content(tmp_path / "out") == {**OLD, "notes.txt": "mine"}


@pytest.mark.parametrize("make", [Path.mkdir, older])
def test_a_mount_point_is_filled(tmp_path: Path, mounted: Path, make: Callable[[Path], object]) -> None:
    make(mounted)
    put(mounted, overwrite=True)
    assert content(mounted) == NEW
    assert os.listdir(tmp_path) == ["volume"]


def test_on_another_disk_the_files_are_made_where_they_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = older(tmp_path / "out")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == out)
    assert put(out, overwrite=True).parent == out
    assert content(out) == NEW


def test_a_folder_in_one_that_is_read_only_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, mkdir = older(tmp_path / "out"), Path.mkdir

    def read_only(path: Path, *arguments: int, **options: bool) -> None:
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    put(out, overwrite=True)
    assert content(out) == NEW
    with pytest.raises(PreceptorError, match=r"cannot be written \(Permission denied\)"):
        put(tmp_path / "absent")


@pytest.mark.parametrize("failing", ["model.onnx", "network.onnx", "export.json"])
def test_a_new_export_that_cannot_be_put_in_its_place_is_kept(
    mounted: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("preceptor.deploy.export.staging.write_bytes", full)
    with pytest.raises(PreceptorError, match="No space left") as caught:
        put(older(mounted), overwrite=True)
    (staging,) = mounted.parent.glob(".volume.*.tmp")
    assert content(staging) == NEW
    assert str(staging) in caught.value.what
    assert not (mounted / "export.json").exists(), "half an export is none"
    with pytest.raises(PreceptorError, match="holds other files"):
        put(mounted, overwrite=True)
    assert content(staging) == NEW


def test_the_older_export_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = older(tmp_path / "out"), Path.rename

    def refused(path: Path, to: Path) -> Path:
        if path.suffix == ".tmp":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PreceptorError, match="Input/output error"):
        put(out, overwrite=True)
    assert content(out) == OLD
    assert content(next(tmp_path.glob(".out.*.tmp"))) == NEW


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk" / "models").mkdir(parents=True)
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "disk" / "models")
    put(link)
    assert link.is_symlink()
    put(link, overwrite=True)
    assert content(tmp_path / "disk" / "models") == NEW
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]


def test_a_link_to_where_nothing_can_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to(tmp_path / "file" / "models")
    with pytest.raises(PreceptorError, match="is a file"):
        export(tmp_path / "run", out=tmp_path / "out")


def test_what_another_process_has_exported_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(PreceptorError, match="holds an export already"):
        put(out, meanwhile=lambda: older(out))
    assert content(out) == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_a_failed_export_leaves_the_older_one_and_nothing_else(tmp_path: Path) -> None:
    out = older(tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        put(out, overwrite=True, meanwhile=lambda: 1 // 0)
    assert content(out) == OLD
    assert os.listdir(tmp_path) == ["out"]


def test_what_killed_processes_left_is_removed_and_that_of_others_stays(tmp_path: Path) -> None:
    out = older(tmp_path / "out")
    dead = [tmp_path / f".out.{NOBODY}.tmp", tmp_path / f".out.{NOBODY}.old", out / f".out.{NOBODY}.tmp"]
    others = [tmp_path / f".out.{os.getppid()}.tmp", tmp_path / ".out.mine.tmp", tmp_path / f".out2.{NOBODY}.tmp"]
    for folder in (*dead, *others):
        folder.mkdir()
        (folder / "model.onnx").touch()
    put(out, overwrite=True)
    assert content(out) == NEW
    assert set(tmp_path.iterdir()) == {out, *others}


def test_a_kill_within_a_swap_costs_no_export(tmp_path: Path) -> None:
    out = tmp_path / "out"
    older(tmp_path / f".out.{NOBODY}.old")
    (tmp_path / f".out.{NOBODY}.tmp").mkdir()
    restore_interrupted(out)
    assert content(out) == OLD


def test_what_a_finished_swap_did_not_get_to_remove_does_not_come_back(tmp_path: Path) -> None:
    older(tmp_path / f".out.{NOBODY}.old")
    restore_interrupted(tmp_path / "out")
    assert not (tmp_path / "out").exists()
