"""What the pixel cache refuses: every unreadable file is named, a full disk, and damage of its own."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.data import cache_build
from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.utils.errors import PreceptorError
from small_cache import COUNT, SIZE, count_decoded, write_images


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return write_images(tmp_path / "images")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return count_decoded(monkeypatch)


def entries(home: Path) -> list[Path]:
    return [path for path in home.glob("*") if path.is_dir()]


def test_every_unreadable_file_is_named_in_one_error(catalog: Catalog, home: Path) -> None:
    catalog.path(2).write_bytes(b"")
    content = catalog.path(7).read_bytes()
    catalog.path(7).write_bytes(content[: len(content) // 2])
    with pytest.raises(PreceptorError, match="2 of 12 images cannot be used") as caught:
        open_pixels(catalog, SIZE, directory=home)
    message = str(caught.value)
    assert f"im02: {catalog.path(2)} is empty" in message
    assert f"im07: {catalog.path(7)} is truncated" in message
    assert "'exclude'" in message
    assert entries(home) == []
    rest = open_pixels(catalog.without(["im02", "im07"]), SIZE, directory=home)
    assert len(rest) == COUNT - 2


def test_a_long_list_of_unreadable_files_is_cut(tmp_path: Path, home: Path) -> None:
    catalog = write_images(tmp_path / "many", 15)
    for row in range(14):
        catalog.path(row).write_bytes(b"no image")
    with pytest.raises(PreceptorError, match="14 of 15 images") as caught:
        open_pixels(catalog, SIZE, directory=home)
    assert str(caught.value).count("is not an image") == 10
    assert "and 4 more" in str(caught.value)


def test_missing_files_are_named_before_anything_is_decoded(catalog: Catalog, home: Path, decoded: list[str]) -> None:
    catalog.path(0).unlink()
    catalog.path(11, "mask").unlink()
    with pytest.raises(PreceptorError, match="2 of 12") as caught:
        open_pixels(catalog, SIZE, masks=True, directory=home)
    assert "00.png: No such file" in str(caught.value)
    assert "11_mask.png: No such file" in str(caught.value)
    assert decoded == []


def test_a_mask_of_another_size_is_an_error(catalog: Catalog, home: Path) -> None:
    Image.new("L", (41, 30)).save(catalog.path(4, "mask"))
    with pytest.raises(PreceptorError, match=r"04_mask\.png is 41x30, its image is 40x30"):
        open_pixels(catalog, SIZE, masks=True, directory=home)


def test_masks_must_be_there_when_asked_for(catalog: Catalog, home: Path) -> None:
    table = catalog.table.assign(mask=["", *catalog.table["mask"][1:]])
    partly = Catalog("made", catalog.root, table, ("a",))
    with pytest.raises(PreceptorError, match="im00: has no mask"):
        open_pixels(partly, SIZE, masks=True, directory=home)
    assert open_pixels(partly, SIZE, directory=home).masks is None


def test_a_size_below_one_is_an_error(catalog: Catalog, home: Path) -> None:
    with pytest.raises(PreceptorError, match="image size 0"):
        open_pixels(catalog, 0, directory=home)


def test_a_folder_that_cannot_be_written_is_an_error(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PreceptorError, match="cannot be used: Not a directory") as caught:
        open_pixels(catalog, SIZE, directory=tmp_path / "file" / "cache")
    assert "PRECEPTOR_CACHE" in str(caught.value)


@pytest.mark.parametrize("where", ["ask", "reserve"])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    catalog: Catalog, home: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "ask":
        nearly = type("usage", (), {"free": COUNT * 3 * SIZE * SIZE - 1})
        monkeypatch.setattr(cache_build.shutil, "disk_usage", lambda path: nearly)
    else:
        monkeypatch.setattr(cache_build.os, "posix_fallocate", full, raising=False)
    with pytest.raises(PreceptorError, match=r"pixel cache .* is full"):
        open_pixels(catalog, SIZE, directory=home)
    assert entries(home) == []
    monkeypatch.undo()
    assert len(open_pixels(catalog, SIZE, directory=home)) == COUNT


def test_a_flipped_bit_of_the_cache_is_found_when_the_image_is_fetched(catalog: Catalog, home: Path) -> None:
    pixels = open_pixels(catalog, SIZE, masks=True, directory=home)
    rows = np.array([2, 7])
    images, masks = pixels.fetch(rows)
    np.testing.assert_array_equal(images, pixels.images[rows])
    assert masks is not None
    np.testing.assert_array_equal(masks, pixels.masks[rows])
    for name, row_bytes, match in (("images", 3 * SIZE * SIZE, "row 5"), ("masks", SIZE * SIZE, "row 3")):
        path = home / f"made-{SIZE}-{pixels.key}" / f"{name}.npy"
        content = bytearray(path.read_bytes())
        content[len(content) - (COUNT - int(match[-1])) * row_bytes] ^= 1
        path.write_bytes(content)
        damaged = open_pixels(catalog, SIZE, masks=True, directory=home)
        damaged.fetch(np.array([0]))
        with pytest.raises(PreceptorError, match=rf"is damaged: {match} ") as caught:
            damaged.fetch(np.arange(COUNT)[::-1] if name == "images" else np.array([int(match[-1])]))
        assert f"remove the folder {path.parent}" in caught.value.remedy


def test_many_failures_of_one_kind_are_ten_lines_and_hold_no_pixels(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, images = cache_build.read_oriented, []

    def watched(path: Path) -> tuple[np.ndarray, int]:
        image, orientation = real(path)
        images.append(weakref.ref(image))
        return image, orientation

    monkeypatch.setattr(cache_build, "read_oriented", watched)
    catalog = write_images(tmp_path / "many", 40)
    for row in range(39):
        Image.new("L", (20, 15)).save(catalog.path(row, "mask"))
    with pytest.raises(PreceptorError, match="39 of 40") as caught:
        open_pixels(catalog, SIZE, masks=True, directory=home)
    assert len(str(caught.value).splitlines()) == 1 + 10 + 1 + 2
    assert len(images) == 40
    assert not [image for image in images if image() is not None], "an exception keeps what was decoded alive"
