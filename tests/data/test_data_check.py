"""``data check`` finds everything that is wrong, not just the first of it."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from preceptor.data.cache import open_pixels
from preceptor.data.check import ClassCount, check
from preceptor.data.pixel_notes import pixel_notes
from preceptor.data.readers import read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = ["image,label,group,mask"]
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
        Image.fromarray((pixels[..., 0] > 99).astype(np.uint8) * 255).save(tmp_path / f"{number}.png")
        mask = f"{number}.png" if number else ""
        rows.append(f"{number}.jpg,{'ab'[number % 2]},g{number // 3},{mask}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_sound_data_set(root: Path) -> None:
    received: list[int] = []
    report = check(read("table", root), progress=received.append)
    assert report.ok
    assert report.classes == (ClassCount("a", 3, 2, 6), ClassCount("b", 3, 2, 6))
    assert (report.images, report.groups, report.most_in_group) == (6, 2, 3)
    assert report.sizes == {(16, 12): 6}
    assert report.modes == {"RGB": 6}
    assert report.without_mask == ("0.jpg",)
    assert report.mixed_groups == {"g0": ("a", "b"), "g1": ("a", "b")}
    assert received == [1] * 6


def test_masks_are_counted(root: Path) -> None:
    mask = np.zeros((12, 16), np.uint8)
    for number in range(1, 5):
        mask[:6] = 0 if number == 2 else 255
        Image.fromarray(mask).save(root / f"{number}.png")
    Image.fromarray(np.full((12, 16), 3, np.uint8)).save(root / "5.png")
    mask[6, 3] = 99
    Image.fromarray(mask).save(root / "3.png")
    report = check(read("table", root, {"mask_classes": "skin,lesion"}))
    assert report.empty_masks == ("2.jpg",)
    assert report.smeared_masks == ("3.jpg",)
    assert report.mask_shares == pytest.approx({"skin": 0.625, "lesion": 0.375})
    assert list(report.unreadable) == ["5.jpg"]
    assert "5.png has the values 3" in report.unreadable["5.jpg"]
    text = "\n".join(report.lines())
    assert "pixels of a mask: skin 62.5%, lesion 37.5% (mean)\nempty masks: 1" in text
    assert "cut at half: 1 (3.jpg)" in text


def test_every_unreadable_file_is_named(root: Path) -> None:
    (root / "1.jpg").write_bytes((root / "1.jpg").read_bytes()[:-40])
    (root / "1.png").write_bytes(b"")
    (root / "3.jpg").write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "4.png")
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).convert("CMYK").save(root / "5.jpg")
    report = check(read("table", root))
    assert not report.ok
    assert set(report.unreadable) == {"1.jpg", "3.jpg", "4.jpg", "5.jpg"}
    assert "truncated" in report.unreadable["1.jpg"]
    assert "1.png is empty" in report.unreadable["1.jpg"]
    assert "4x4, its image is 16x12" in report.unreadable["4.jpg"]
    text = "\n".join(report.lines())
    assert "4 of 6 images cannot be read in full" in text
    assert all(image_id in text for image_id in report.unreadable)


def test_headers_alone_miss_what_only_decoding_finds(root: Path) -> None:
    data = (root / "2.jpg").read_bytes()
    (root / "2.jpg").write_bytes(data[:-40])
    (root / "3.jpg").write_bytes(b"")
    assert set(check(read("table", root), decode=False).unreadable) == {"3.jpg"}
    assert set(check(read("table", root)).unreadable) == {"2.jpg", "3.jpg"}


def test_a_long_list_of_mixed_groups_is_cut(root: Path) -> None:
    report = check(read("table", root))
    many = dataclasses.replace(report, mixed_groups={f"g{number}": ("a", "b") for number in range(8)})
    text = "\n".join(many.lines())
    assert text.count("has several labels") == 5
    assert "and 3 more groups have several labels" in text


def test_what_is_printed(root: Path) -> None:
    report = check(read("table", root).without(["5.jpg"]))
    text = "\n".join(report.lines())
    for part in ("table: ", "layout: ", "5 images in 2 groups", "16x12 (5)", "masks: 4 of 5", "g0 has several labels"):
        assert part in text
    assert "left out on request: 5.jpg" in text
    stream = io.StringIO()
    Console(file=stream, width=160).print(report)
    assert "60.0%" in stream.getvalue()
    assert "all files can be read in full" in stream.getvalue()


def test_the_share_of_a_label_is_of_the_images_in_which_it_is_known(tmp_path: Path) -> None:
    lines = ["image,edema,mass"]
    for index, (edema, mass) in enumerate([("1", "0"), ("0", ""), ("1", "1"), ("0", "")]):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{edema},{mass}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    report = check(read("table", tmp_path / "table.csv", {"labels": "edema,mass"}))
    assert [(row.name, row.images, row.known) for row in report.classes] == [("edema", 2, 4), ("mass", 1, 2)]
    assert next(line.split() for line in report.lines() if line.startswith("mass")) == ["mass", "1", "1", "2", "50.0%"]


def test_classes_that_no_mask_has_are_named(root: Path) -> None:
    assert not [note for note in check(read("table", root)).notes if "has a pixel of" in note]
    for number in range(1, 6):
        Image.fromarray(np.full((12, 16), number % 2, np.uint8)).save(root / f"{number}.png")
    (note,) = [
        note
        for note in check(read("table", root, {"mask_classes": "skin,disc,cup"})).notes
        if note.startswith("no mask has a pixel of cup, of which nothing can be learned")
    ]
    assert "data.mask_classes" in note
    for number in range(1, 6):
        Image.fromarray(np.zeros((12, 16), np.uint8)).save(root / f"{number}.png")
    assert any(note.startswith("no mask has a pixel of foreground") for note in check(read("table", root)).notes)


def test_classes_that_no_scaled_mask_has_are_named(root: Path, tmp_path: Path) -> None:
    mask = np.zeros((12, 16), np.uint8)
    for number in range(6):
        Image.fromarray(mask).save(root / f"{number}.png")
    table = root / "table.csv"
    table.write_text(table.read_text().replace("g0,\n", "g0,0.png\n"))
    mask[:2, :2] = 255  # of one image; it vanishes where images are small
    Image.fromarray(mask).save(root / "5.png")
    images = read("table", root)
    for side, notes in ((12, []), (2, ["no mask (scaled to 2 px) has a pixel of foreground, of which nothing"])):
        given = pixel_notes(images, open_pixels(images, side, masks=True, directory=tmp_path / "cache"))
        assert [note[: len(notes[0]) if notes else None] for note in given] == notes
