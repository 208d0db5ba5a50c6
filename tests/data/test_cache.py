"""The pixel cache: right pixels, built once, never half believed, with every unreadable file named."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import small_cache
from preceptor.data.cache import Pixels, open_pixels
from preceptor.data.catalog import Catalog
from preceptor.utils.errors import PreceptorError
from small_cache import COUNT, SIZE, count_decoded, write_images

LEVELS = tuple(f"level {value}" for value in range(256))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return write_images(tmp_path / "images")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return count_decoded(monkeypatch)


def expected_image(catalog: Catalog, row: int, size: int = SIZE) -> np.ndarray:
    image = Image.open(catalog.path(row)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


# Pixels


def test_pixels_are_the_resized_images_in_the_order_of_the_catalog(catalog: Catalog, home: Path) -> None:
    pixels = open_pixels(catalog, SIZE, masks=True, directory=home)
    assert len(pixels) == COUNT
    assert pixels.size == SIZE
    assert isinstance(pixels.images, np.memmap)
    assert pixels.images.dtype == np.uint8
    assert pixels.masks is not None
    for row in range(COUNT):
        np.testing.assert_array_equal(pixels.images[row], expected_image(catalog, row))
        share = Image.open(catalog.path(row, "mask")).convert("F").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(pixels.masks[row], np.asarray(share) >= 127.499)  # the larger part of the pixel


def test_masks_of_several_classes_keep_their_indices(tmp_path: Path, home: Path) -> None:
    truth = np.repeat(np.repeat(np.random.default_rng(3).integers(0, 3, (8, 8), dtype=np.uint8), 4, 0), 4, 1)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    Image.fromarray(truth).save(tmp_path / "a_mask.png")
    table = pd.DataFrame([{"id": "a", "image": "a.png", "label": "a", "group": "g", "mask": "a_mask.png"}])
    catalog = Catalog("made", tmp_path, table, ("a",), mask_classes=("background", "disc", "cup"))
    pixels = open_pixels(catalog, 8, masks=True, directory=home)
    assert pixels.masks is not None
    np.testing.assert_array_equal(pixels.masks[0], truth[::4, ::4])
    with pytest.raises(PreceptorError, match=r"a: \S+a_mask\.png has the values 0, 1, 2"):
        open_pixels(replace(catalog, mask_classes=()), 8, masks=True, directory=home)


def test_smeared_masks_are_told_and_an_entry_that_does_not_know_them_is_built_again(
    catalog: Catalog, home: Path, decoded: list[str]
) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 8:30], mask[20, 8:30] = 255, 99
    Image.fromarray(mask).save(catalog.path(3, "mask"))
    pixels = open_pixels(catalog, SIZE, masks=True, directory=home)
    for _ in range(2):
        assert pixels.smeared is not None
        assert np.flatnonzero(pixels.smeared).tolist() == [3]
        (home / f"made-{SIZE}-{pixels.key}" / "smeared.npy").unlink()  # as before masks were looked at for areas
        pixels = open_pixels(catalog, SIZE, masks=True, directory=home)
    assert len(decoded) == 3 * COUNT
    assert open_pixels(catalog, SIZE, directory=home).smeared is None


def test_pixels_cannot_be_written(catalog: Catalog, home: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_pixels(catalog, SIZE, directory=home).images[0] = 0


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path: Path, home: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "one.png")
    table = pd.DataFrame([{"id": "one", "image": "one.png", "label": "a", "group": "g"}])
    pixels = open_pixels(Catalog("made", tmp_path, table, ("a",)), SIZE, directory=home)
    np.testing.assert_array_equal(pixels.images[0], image.transpose(2, 0, 1))
    assert pixels.masks is None


# When a cache is used again


def test_a_second_time_nothing_is_decoded(catalog: Catalog, home: Path, decoded: list[str]) -> None:
    known: list[int] = []
    first = open_pixels(catalog, SIZE, directory=home, progress=known.append)
    assert known == [1] * COUNT
    assert len(decoded) == COUNT
    second = open_pixels(catalog, SIZE, directory=home, progress=known.append)
    assert len(decoded) == len(known) == COUNT
    assert second.key == first.key
    np.testing.assert_array_equal(first.images, second.images)


def touch(catalog: Catalog) -> Catalog:
    path = catalog.path(3)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    return catalog


def repaint(catalog: Catalog) -> Catalog:
    Image.new("RGB", (40, 30), "red").save(catalog.path(3))
    return catalog


@pytest.mark.parametrize(
    "change", [touch, repaint, lambda c: c.without(["im05"])], ids=["time", "content", "an image left out"]
)
def test_other_files_are_another_entry(
    catalog: Catalog, home: Path, decoded: list[str], change: Callable[[Catalog], Catalog]
) -> None:
    before = open_pixels(catalog, SIZE, directory=home)
    changed = change(catalog)
    after = open_pixels(changed, SIZE, directory=home)
    assert after.key != before.key
    assert len(decoded) == COUNT + len(changed)
    for row in range(len(changed)):
        np.testing.assert_array_equal(after.images[row], expected_image(changed, row))


def test_size_and_masks_are_part_of_the_key_and_labels_are_not(catalog: Catalog, home: Path) -> None:
    keys = {
        open_pixels(catalog, SIZE, directory=home).key,
        open_pixels(catalog, SIZE + 1, directory=home).key,
        open_pixels(catalog, SIZE, masks=True, directory=home).key,
        open_pixels(replace(catalog, mask_classes=LEVELS), SIZE, masks=True, directory=home).key,
    }
    assert len(keys) == 4
    renamed = Catalog("made", catalog.root, catalog.table.assign(label="b"), ("a", "b"))
    assert open_pixels(renamed, SIZE, directory=home).key in keys


def test_the_environment_names_the_folder(catalog: Catalog, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECEPTOR_CACHE", str(home))
    pixels = open_pixels(catalog, SIZE)
    assert (home / f"made-{SIZE}-{pixels.key}" / "images.npy").is_file()


@pytest.mark.parametrize("keep", [0, 100, 700])
def test_an_entry_that_was_cut_short_is_built_again(catalog: Catalog, home: Path, keep: int) -> None:
    pixels = open_pixels(catalog, SIZE, directory=home)
    path = home / f"made-{SIZE}-{pixels.key}" / "images.npy"
    path.write_bytes(path.read_bytes()[:keep])
    again = open_pixels(catalog, SIZE, directory=home)
    np.testing.assert_array_equal(again.images[COUNT - 1], expected_image(catalog, COUNT - 1))


# Several processes, and processes that die

CHILD = """
import hashlib, os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import small_cache
from preceptor.data import cache_build
from preceptor.data.cache import open_pixels
catalog = small_cache.read_images(Path({root!r}))
real = cache_build.read_oriented
def counted(path):
    with open({log!r}, "a") as file:
        file.write(path.name + chr(10))
    return real(path)
cache_build.read_oriented = counted
def hang(*_):
    print("here", flush=True)
    time.sleep(600)
{how}
pixels = open_pixels(catalog, {size}, directory=Path({home!r}), progress=progress)
print(hashlib.sha256(pixels.images.tobytes()).hexdigest())
"""


def child(catalog: Catalog, home: Path, how: str) -> subprocess.Popen[str]:
    code = CHILD.format(
        tests=str(Path(small_cache.__file__).parent),
        root=str(catalog.root),
        log=str(home.parent / "log"),
        home=str(home),
        size=SIZE,
        how=how,
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "how",
    [
        "done = iter(range(1, 99)); progress = lambda images: hang() if next(done) == 5 else None",
        "progress = None; cache_build.os.replace = hang",
        "progress = None; cache_build._sync = hang",
    ],
    ids=["while decoding", "before the entry gets its name", "before the data are on the disk"],
)
def test_a_killed_build_is_not_believed(catalog: Catalog, home: Path, decoded: list[str], how: str) -> None:
    process = child(catalog, home, how)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = [path.name for path in home.iterdir() if path.is_dir()]
    assert len(left) == 1
    assert left[0].endswith(".partial")

    pixels = open_pixels(catalog, SIZE, directory=home)
    assert len(decoded) == COUNT
    for row in range(COUNT):
        np.testing.assert_array_equal(pixels.images[row], expected_image(catalog, row))
    assert [path.name for path in home.iterdir() if path.is_dir()] == [f"made-{SIZE}-{pixels.key}"]


def test_two_processes_at_once_build_once(catalog: Catalog, home: Path) -> None:
    slow = "progress = lambda images: time.sleep(0.02)"
    processes = [child(catalog, home, slow) for _ in range(2)]
    hashes = [process.communicate(timeout=60)[0].strip() for process in processes]
    pixels = open_pixels(catalog, SIZE, directory=home)
    assert hashes == [hashlib.sha256(pixels.images.tobytes()).hexdigest()] * 2
    log = (home.parent / "log").read_text().splitlines()
    assert sorted(log) == sorted(f"{index:02}.png" for index in range(COUNT))


def test_an_interrupted_build_stops_and_cleans_up(catalog: Catalog, home: Path, decoded: list[str]) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_pixels(catalog, SIZE, directory=home, progress=interrupt, workers=1)
    assert not [path for path in home.iterdir() if path.is_dir()]
    assert len(open_pixels(catalog, SIZE, directory=home)) == COUNT


# Real images


@pytest.mark.skipif("PRECEPTOR_DATA" not in os.environ, reason="PRECEPTOR_DATA is not set")
def test_real_images_keep_their_colours_and_masks_their_area(tmp_path: Path, home: Path) -> None:
    from zipfile import ZipFile

    with ZipFile(Path(os.environ["PRECEPTOR_DATA"]) / "HAM10000.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", "_segmentation.png"))]
        images = {Path(name).stem: name for name in names if name.endswith(".jpg")}
        masks = {Path(name).stem.removesuffix("_segmentation"): name for name in names if name.endswith(".png")}
        ids = sorted(images)[::500]
        archive.extractall(tmp_path, [table[image_id] for image_id in ids for table in (images, masks)])
    table = pd.DataFrame(
        {"id": ids, "image": [images[image_id] for image_id in ids], "mask": [masks[image_id] for image_id in ids]}
    )
    pixels: Pixels = open_pixels(
        Catalog("ham", tmp_path, table.assign(label="a", group="g"), ("a",)), 64, masks=True, directory=home
    )
    assert pixels.masks is not None
    for row, image_id in enumerate(ids):
        original = np.asarray(Image.open(tmp_path / images[image_id]), dtype=float)
        np.testing.assert_allclose(pixels.images[row].mean((1, 2)), original.mean((0, 1)), atol=1.5)
        area = (np.asarray(Image.open(tmp_path / masks[image_id])) == 255).mean()
        assert pixels.masks[row].mean() == pytest.approx(area, abs=0.02)
