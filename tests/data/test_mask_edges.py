"""Masks of two classes: a smeared border is cut at half, a value that fills an area never."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from preceptor import train
from preceptor.data.mask_edges import further_classes, may_be_cut
from preceptor.data.mask_images import read_mask
from preceptor.utils.errors import PreceptorError
from small_networks import CNN

SIDES = (8, 12, 20, 32, 64, 200)


def discs(side: int, *levels: int, radii: tuple[float, ...] = (0.4, 0.2)) -> np.ndarray:
    """Discs around one centre, each level within the one before it."""
    y, x = np.mgrid[:side, :side] / side - 0.47
    mask = np.zeros((side, side), np.uint8)
    for level, radius in zip(levels, radii, strict=False):
        mask[x * x + y * y < radius * radius] = level
    return mask


def outlines(side: int) -> list[Image.Image]:
    """White on black: a disc, boxes whose edges no block of JPEG has, a blot with a ragged edge."""
    box, ragged = np.zeros((2, side, side), np.uint8)
    box[side // 5 : -side // 4, side // 3 : side - 1] = 255
    random = np.random.default_rng(side)
    edge = np.cumsum(random.integers(-1, 2, side)) + side // 2
    ragged[np.arange(side)[:, None] > edge] = 255
    return [Image.fromarray(each) for each in (discs(side, 255), box, ragged)]


def as_jpeg(mask: Image.Image, quality: int) -> np.ndarray:
    kept = io.BytesIO()
    mask.save(kept, "JPEG", quality=quality)
    return np.asarray(Image.open(kept))


def refuse_none(levels: np.ndarray, truth: np.ndarray) -> None:
    assert further_classes(levels) == []
    assert may_be_cut(levels) or levels.max() < 128 or ((levels >= 64) & (levels < 192)).mean() > 0.25
    assert ((levels > 127) != truth).mean() <= 4 * (4 / len(truth)), "at its border alone"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 85, 90, 95, 98, 100])
def test_jpeg_at_any_quality_is_smear(side: int, quality: int) -> None:
    for mask in outlines(side):
        refuse_none(as_jpeg(mask, quality), np.asarray(mask) > 127)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("scale", [0.25, 0.3, 0.5, 0.8, 1.1, 1.5, 2, 3, 4])
def test_scaling_is_smear(side: int, scale: float) -> None:
    size = (max(6, round(side * scale)),) * 2
    for mask in outlines(side):
        for how in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX):
            assert further_classes(np.asarray(mask.resize(size, how))) == []


@pytest.mark.parametrize("side", SIDES)
def test_turning_and_blurring_are_smear(side: int) -> None:
    for mask in outlines(side):
        turned = mask.rotate(17, Image.Resampling.BILINEAR)
        for each in (turned, mask.filter(ImageFilter.GaussianBlur(1)), mask.filter(ImageFilter.BoxBlur(1))):
            assert further_classes(np.asarray(each)) == []


def test_jpeg_may_store_black_and_white_a_little_off() -> None:
    """What libjpeg made of boxes: the blocks of one colour at one level, those of the border at several."""
    levels = np.full((64, 64), 1, np.uint8)
    levels[:, 24:] = 255
    levels[:, 16:20], levels[:, 22], levels[:, 23] = 0, 4, 250
    assert may_be_cut(levels)
    levels[:, 24:] = 254
    assert may_be_cut(levels)


THREE = {
    "an object and pixels to ignore": (discs(64, 255, 1, radii=(0.4, 0.35)), "1"),
    "an object larger than the rest": (discs(64, 255, 1, radii=(0.7, 0.6)), "1"),
    "disc and cup": (discs(64, 128, 255), "128"),
    "disc and cup the other way round": (255 - discs(64, 128, 255), "127"),
    "a small image": (discs(24, 255, 1, radii=(0.45, 0.4)), "1"),
    "a foreground of one grey": (discs(64, 200), "200"),
    "several objects": (np.where(discs(96, 255) == 255, 255, np.arange(96, dtype=np.uint8) // 8), "1"),
    "a smeared disc and cup": (as_jpeg(Image.fromarray(discs(96, 128, 255, radii=(0.35, 0.2))), 90), "128"),
}


@pytest.mark.parametrize("name", THREE)
def test_values_that_fill_areas_are_refused(name: str, tmp_path: Path) -> None:
    levels, filling = THREE[name]
    path = tmp_path / "odd.png"
    Image.fromarray(levels).save(path)
    with pytest.raises(PreceptorError, match=f"with whole areas of {filling}[,;]") as caught:
        read_mask(path)
    values = ", ".join(map(str, np.unique(levels)[:3]))
    assert f"odd.png has the values {values}" in caught.value.what
    assert "named in data.mask_classes" in caught.value.what
    assert "data.mask_classes=background,disc,cup" in caught.value.remedy


def test_masks_too_small_for_a_square_have_no_areas() -> None:
    for shape in ((1, 1), (1, 9), (2, 40)):
        assert further_classes(np.full(shape, 128, np.uint8)) == []


def test_a_run_notes_how_many_masks_were_cut(tmp_path: Path) -> None:
    rows = ["image,label,mask"]
    for number in range(24):
        Image.fromarray(np.full((32, 32, 3), number * 9, np.uint8)).save(tmp_path / f"{number}.png")
        name = f"{number}m.{'jpg' if number < 5 else 'png'}"
        Image.fromarray(discs(32, 255)).save(tmp_path / name)
        rows.append(f"{number}.png,{'ab'[number % 2]},{name}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    small = {"task": "segmentation", "backbone": CNN, "pretrained": "none", "image_size": 32, "epochs": 1}
    run = train("student", data="table", root=tmp_path, out=tmp_path / "run", cache=tmp_path / "c", overrides=small)
    assert run.metrics.masks_cut_at_half == 5
    assert "5 masks have grey values at the border" in run.report.read_text(encoding="utf-8")
