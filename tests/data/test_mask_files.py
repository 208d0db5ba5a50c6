"""Mask files: classes keep their indices, area and place, and what is not a mask is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.images import read_oriented, resize
from preceptor.data.mask_images import is_smeared, read_levels, read_mask, read_mask_of
from preceptor.data.sources import EMPTY_MASK, join_masks
from preceptor.utils.errors import PreceptorError
from small_images import PIXELS, save_image

PIXELS_OF_DISC = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("foreground", [1, 255])
def test_two_class_masks_may_be_written_either_way(tmp_path: Path, foreground: int) -> None:
    truth = (PIXELS[..., 0] > 127).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(save_image(tmp_path / "m.png", truth * foreground)), truth)


def test_constant_and_one_bit_masks(tmp_path: Path) -> None:
    shape = PIXELS.shape[:2]
    assert not read_mask(save_image(tmp_path / "none.png", np.zeros(shape, np.uint8))).any()
    assert (read_mask(save_image(tmp_path / "all.png", np.full(shape, 255, np.uint8))) == 1).all()
    truth = PIXELS[..., 1] > 99
    np.testing.assert_array_equal(read_mask(save_image(tmp_path / "bits.png", truth)), truth.astype(np.uint8))


def test_masks_of_several_classes_keep_their_indices(tmp_path: Path) -> None:
    truth = PIXELS[..., 0] % 4
    path = save_image(tmp_path / "m.png", truth)
    np.testing.assert_array_equal(read_mask(path, classes=4), truth)
    with pytest.raises(PreceptorError, match="has the values 0, 1, 2, 3") as caught:
        read_mask(path, classes=3)
    assert "0 to 2" in caught.value.expected


def disc(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((y - 20) ** 2 + (x - 30) ** 2 < 144).astype(np.uint8)


def test_a_border_smeared_by_jpeg_is_cut_at_half(tmp_path: Path) -> None:
    path = save_image(tmp_path / "m.jpg", disc() * 255, quality=85)
    levels = read_levels(path)
    assert is_smeared(levels)
    np.testing.assert_array_equal(read_mask(path), levels > 127)
    assert (read_mask(path) != disc()).sum() <= 4
    for sharp in (disc(), disc() * 255, disc() * 0):
        assert not is_smeared(sharp)


def test_a_mask_may_be_grey_in_three_channels(tmp_path: Path) -> None:
    three = np.repeat(disc()[..., None] * 255, 3, axis=2)
    for mode in ("RGB", "RGBA", "LA"):
        np.testing.assert_array_equal(read_mask(save_image(tmp_path / f"{mode}.png", three, mode)), disc())


@pytest.mark.parametrize(
    ("pixels", "classes", "match"),
    [
        (np.arange(256, dtype=np.uint8).reshape(16, 16), 2, "and 246 more"),  # a picture
        (PIXELS[..., 0] % 3, 2, "has the values 0, 1, 2"),  # indices of three classes
        (disc() * 100, 2, "has the values 0, 100"),  # cut at half it would be empty
        (disc() * 3, 3, "has the values 0, 3"),
        (disc() * 255, 3, "has the values 0, 255"),
        (PIXELS, 2, "has colours"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, pixels: np.ndarray, classes: int, match: str) -> None:
    with pytest.raises(PreceptorError, match=match) as caught:
        read_mask(save_image(tmp_path / "m.png", pixels), classes)
    assert "m.png" in caught.value.what
    assert f"{'0 and 255' if classes == 2 else '0 to 2'}" in caught.value.expected


def test_masks_in_containers_that_change_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"m\.jpg is a JPEG with 3 mask classes"):
        read_mask(save_image(tmp_path / "m.jpg", disc()), 3)


def palette(path: Path, indices: np.ndarray, colours: list[int]) -> Path:
    image = Image.fromarray(indices)
    image.putpalette(colours + [0] * (768 - len(colours)))
    image.save(path)
    return path


def test_a_palette_stands_for_its_greys_or_else_for_its_indices(tmp_path: Path) -> None:
    black_first, white_first = [0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0]
    np.testing.assert_array_equal(read_mask(palette(tmp_path / "m.png", disc(), black_first)), disc())
    np.testing.assert_array_equal(read_mask(palette(tmp_path / "m.png", disc(), white_first)), 1 - disc())
    voc = palette(tmp_path / "voc.png", disc() * 2, [0, 0, 0, 128, 0, 0, 0, 128, 0])
    np.testing.assert_array_equal(read_mask(voc, 3), disc() * 2)
    with pytest.raises(PreceptorError, match=r"voc\.png is a palette image with the indices 0, 2"):
        read_mask(voc, 2)


def pair(root: Path, image: np.ndarray, *masks: np.ndarray, name: str = "", **options: object) -> Catalog:
    """An image file and its masks, as a catalog."""
    save_image(root / "a.png", image, **options)
    for number, mask in enumerate(masks):
        save_image(root / f"m{number}.png", mask)
    files = name or join_masks([f"m{number}.png" for number in range(len(masks))])
    return Catalog("made", root, pd.DataFrame([{"id": "a", "image": "a.png", "label": "x", "mask": files}]), ("x",))


def mask_of(catalog: Catalog) -> np.ndarray:
    return read_mask_of(catalog, 0, *read_oriented(catalog.path(0)))[0]


def test_several_masks_of_an_image_are_united(tmp_path: Path) -> None:
    left, right = disc() * 255, disc()[:, ::-1]
    np.testing.assert_array_equal(mask_of(pair(tmp_path, PIXELS_OF_DISC, left, right)), disc() | disc()[:, ::-1])
    with pytest.raises(PreceptorError, match="another mask of its image 64x48"):
        mask_of(pair(tmp_path, PIXELS_OF_DISC, left, np.kron(right, np.ones((2, 2), np.uint8))))


def test_a_mask_that_is_known_to_be_empty_needs_no_file(tmp_path: Path) -> None:
    assert mask_of(pair(tmp_path, PIXELS_OF_DISC, name=EMPTY_MASK)).tolist() == np.zeros((48, 64)).tolist()


def test_a_mask_may_be_of_a_larger_scale_than_its_image_and_not_of_a_smaller_one(tmp_path: Path) -> None:
    large = np.kron(disc(), np.ones((3, 3), np.uint8))
    np.testing.assert_array_equal(mask_of(pair(tmp_path, PIXELS_OF_DISC, large)), large)
    with pytest.raises(PreceptorError, match="is 32x24, its image is 64x48; it is of a smaller scale"):
        mask_of(pair(tmp_path, PIXELS_OF_DISC, disc()[::2, ::2]))
    with pytest.raises(PreceptorError, match="is 96x48, its image is 64x48\n"):
        mask_of(pair(tmp_path, PIXELS_OF_DISC, np.pad(disc(), ((0, 0), (0, 32)))))


def test_a_mask_of_an_image_turned_by_exif_is_taken_only_where_its_shape_tells_how_it_was_drawn(tmp_path: Path) -> None:
    half, quarter = Image.Exif(), Image.Exif()
    half[0x112], quarter[0x112] = 3, 6
    for mask, exif in ((disc(), half), (disc()[:, :48], half), (disc()[:, :48], quarter)):
        with pytest.raises(PreceptorError, match=r"has no EXIF orientation, but its image is turned by EXIF"):
            mask_of(pair(tmp_path, PIXELS_OF_DISC[:, : mask.shape[1]], mask, exif=exif))
    upright = np.rot90(disc(), k=-1)
    np.testing.assert_array_equal(mask_of(pair(tmp_path, PIXELS_OF_DISC, upright, exif=quarter)), upright)
    with pytest.raises(PreceptorError, match="one of the two is turned by a quarter"):
        mask_of(pair(tmp_path, PIXELS_OF_DISC, disc(), exif=quarter))
    save_image(tmp_path / "m0.png", disc() * 255, exif=half)
    turned = pair(tmp_path, PIXELS_OF_DISC, name="m0.png", exif=half)
    np.testing.assert_array_equal(mask_of(turned), disc()[::-1, ::-1])


@pytest.mark.parametrize("side", [16, 24, 48, 100])
def test_resized_masks_keep_indices_area_and_place(side: int) -> None:
    mask = np.pad(disc(48, 64), ((0, 16), (0, 0))) * 2  # a disc of class 2 ...
    mask[4:12, 40:60] = 5  # ... and a box of class 5 around (49.5, 7.5)
    small = resize(mask, side)
    assert small.dtype == np.uint8
    assert set(np.unique(small)) == {0, 2, 5}
    for each in (2, 5):
        assert (small == each).mean() == pytest.approx((mask == each).mean(), rel=0.25)
        centres = [(np.argwhere(m == each).mean(0) + 0.5) / len(m) for m in (mask, small)]
        np.testing.assert_allclose(centres[1], centres[0], atol=0.03)


def test_a_mask_of_the_right_size_is_left_as_it_is() -> None:
    mask = np.random.default_rng(0).integers(0, 7, (32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(resize(mask, 32), mask)
    np.testing.assert_array_equal(resize(np.kron(mask, np.ones((3, 3), np.uint8)), 32), mask)


def test_of_equal_shares_the_higher_class_stays() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 5:] = 1  # the border runs through the middle of a pixel of 2 x 2
    assert resize(mask, 4)[0].tolist() == [0, 0, 1, 1]
