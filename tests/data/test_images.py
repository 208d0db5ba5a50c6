"""Image files: what is read must be exact, what cannot be exact must be refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from preceptor.data.images import MOST_PIXELS, Header, read_header, read_image
from preceptor.utils.errors import PreceptorError
from small_images import PIXELS, save_image


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes) -> Path:
    """A PNG written by hand, for what Pillow will not write (16-bit colour, false sizes)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_rgb_is_read_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    read = read_image(save_image(tmp_path / f"a.{suffix}", PIXELS))
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, PIXELS)


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.jpg", PIXELS, quality=90)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(path), np.asarray(image))


def test_grey_is_repeated_three_times(tmp_path: Path) -> None:
    read = read_image(save_image(tmp_path / "a.png", PIXELS[..., 0]))
    for channel in range(3):
        np.testing.assert_array_equal(read[..., channel], PIXELS[..., 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_only_where_it_is_opaque(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / "opaque.png")
    expected = PIXELS if mode == "RGBA" else np.repeat(np.asarray(image)[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "opaque.png"), expected)
    image.putpixel((3, 3), (*image.getpixel((3, 3))[:-1], 254))
    image.save(tmp_path / "clear.png")
    with pytest.raises(PreceptorError, match=r"clear\.png is partly transparent"):
        read_image(tmp_path / "clear.png")


def test_a_transparent_key_colour_is_refused_where_it_occurs(tmp_path: Path) -> None:
    grey = np.full((4, 4, 3), 7, np.uint8)
    save_image(tmp_path / "unused.png", grey, transparency=(1, 2, 3))
    np.testing.assert_array_equal(read_image(tmp_path / "unused.png"), grey)
    with pytest.raises(PreceptorError, match="transparent"):
        read_image(save_image(tmp_path / "used.png", grey, transparency=(7, 7, 7)))


def test_exif_orientation_turns_the_image_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn a quarter clockwise to see it upright
    path = save_image(tmp_path / "a.png", PIXELS, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(PIXELS, k=-1))
    assert read_header(path) == Header(32, 24, "RGB")


def test_sixteen_bit_colour_is_refused_though_pillow_calls_it_rgb(tmp_path: Path) -> None:
    row = b"\0" + bytes(range(2 * 3 * 2))
    path = png(tmp_path / "deep.png", 2, 2, 16, 2, row * 2)
    with Image.open(path) as image:
        assert image.mode == "RGB", "the trap that this test is about has gone"
    with pytest.raises(PreceptorError, match=r"deep\.png has more than 8 bits"):
        read_image(path)


def tiff(path: Path, samples: int, bits: int, extra: bool) -> Path:
    """A TIFF of 2 x 2 pixels written by hand, for what Pillow will not write (16-bit colour, channels besides)."""
    pixels = bytes(range(4 * samples * bits // 8))
    tags = [  # number, type (3: 16 bits, 4: 32 bits), count, value
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, samples, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 300),
        (277, 3, 1, samples), (278, 3, 1, 2), (279, 4, 1, len(pixels)), *([(338, 3, 1, 0)] if extra else []),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    body = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + struct.pack(
        f"<{samples}H", *[bits] * samples
    )
    path.write_bytes(body.ljust(300, b"\0") + pixels)
    return path


def test_tiffs_are_read_or_refused_by_what_they_hold(tmp_path: Path) -> None:
    plain = read_image(tiff(tmp_path / "plain.tif", 3, 8, extra=False))
    np.testing.assert_array_equal(plain, np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    deep, many = tiff(tmp_path / "deep.tif", 3, 16, extra=False), tiff(tmp_path / "many.tif", 4, 8, extra=True)
    for path, match in ((deep, "more than 8 bits"), (many, "has 4 channels, of which 3")):
        with Image.open(path) as image:
            assert image.mode == "RGB", "the trap that this test is about has gone"
        for read in (read_image, read_header):
            with pytest.raises(PreceptorError, match=match):
                read(path)


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw"])
def test_tiffs_are_turned_upright_once_and_transparency_is_refused(tmp_path: Path, compression: str | None) -> None:
    path = save_image(tmp_path / "a.tif", PIXELS, compression=compression, tiffinfo={274: 6})
    np.testing.assert_array_equal(read_image(path), np.rot90(PIXELS, k=-1))
    clear = Image.fromarray(PIXELS).convert("RGBA")
    clear.putpixel((1, 1), (1, 2, 3, 0))
    clear.save(tmp_path / "clear.tif", compression=compression)
    with pytest.raises(PreceptorError, match="partly transparent"):
        read_image(tmp_path / "clear.tif")


@pytest.mark.parametrize(
    ("name", "image", "match"),
    [
        ("palette.tif", Image.fromarray(PIXELS).convert("P"), "palette"),
        ("bits.tif", Image.fromarray(PIXELS[..., 0]).convert("1"), "one bit"),
        ("grey16.png", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "more than 8 bits"),
        ("grey16.tif", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "more than 8 bits"),
        ("grey32.tif", Image.fromarray(PIXELS[..., 0].astype(np.int32)), "more than 8 bits"),
        ("float.tif", Image.fromarray(PIXELS[..., 0].astype(np.float32)), "floating-point"),
        ("print.jpg", Image.fromarray(PIXELS).convert("CMYK"), "CMYK"),
        ("print.tif", Image.fromarray(PIXELS).convert("CMYK"), "CMYK"),
        ("palette.png", Image.fromarray(PIXELS).convert("P"), "palette"),
        ("bits.png", Image.fromarray(PIXELS[..., 0]).convert("1"), "one bit"),
        ("lab.tif", Image.fromarray(PIXELS).convert("LAB"), "mode LAB"),
    ],
)
def test_modes_that_cannot_be_read_exactly_are_refused(
    tmp_path: Path, name: str, image: Image.Image, match: str
) -> None:
    image.save(tmp_path / name)
    for read in (read_image, read_header):
        with pytest.raises(PreceptorError, match=match) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in caught.value.what
        assert caught.value.expected
        assert "--exclude" in caught.value.remedy


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = save_image(tmp_path / f"cut.{suffix}", PIXELS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(PreceptorError, match=r"cut\.\w+ (is truncated|is not an image)"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path) -> None:
    path = save_image(tmp_path / "bad.png", PIXELS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(PreceptorError, match=r"bad\.png is truncated or damaged"):
        read_image(path)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "folder.jpg").mkdir()
    for name, match in {
        "empty.jpg": "is empty",
        "page.jpg": "is not an image",
        "folder.jpg": "cannot be opened",
        "absent.jpg": "does not exist",
    }.items():
        with pytest.raises(PreceptorError, match=match) as caught:
            read_image(tmp_path / name)
        assert name in caught.value.what


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_animations_and_stacks_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(tmp_path / f"two.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(PreceptorError, match="holds 2 frames"):
        read_image(tmp_path / f"two.{suffix}")


def test_containers_that_are_not_accepted_are_not_opened(tmp_path: Path) -> None:
    save_image(tmp_path / "a.gif", PIXELS, "L")
    with pytest.raises(PreceptorError, match=r"a\.gif is a GIF, a format that is not read"):
        read_image(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\0" * 128 + b"DICM" + b"\2\0\0\0", "is a DICOM file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photograph"),
        (b"P6 2 2 255\n" + bytes(12), "is a PPM or PGM image"),
        (b"\x1f\x8b\x08" + bytes(32), "is compressed with gzip"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image"),
    ],
)
def test_whole_files_of_other_formats_are_not_called_damaged(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(PreceptorError, match=match) as caught:
        read_image(tmp_path / "x.png")
    assert "convert it to PNG" in caught.value.remedy


def test_the_photograph_of_a_camera_file_with_a_preview_is_read(tmp_path: Path) -> None:
    preview = Image.fromarray(PIXELS[:6, :8])
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
        np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), np.asarray(image))


@pytest.mark.parametrize("side", [13_378, 60_000])  # just above the limit, and above Pillow's own
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    assert side * side > MOST_PIXELS
    path = png(tmp_path / "bomb.png", side, side, 8, 0, b"\0")
    with pytest.raises(PreceptorError, match="decompression bomb"):
        read_image(path)


def test_a_bomb_is_refused_even_when_pillow_is_told_not_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(PreceptorError, match="60000 x 60000"):
        read_image(png(tmp_path / "bomb.png", 60_000, 60_000, 8, 0, b"\0"))


def test_a_library_that_asks_pillow_to_fill_gaps_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(PreceptorError, match="LOAD_TRUNCATED_IMAGES"):
        read_image(path)
