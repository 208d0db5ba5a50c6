"""The page in a real browser: the same answers as ONNX Runtime, and no connection."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM
from chromium import Tab, chromium
from conftest import without_reports
from preceptor import export, train
from preceptor.deploy.manifest import read_manifest
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.deploy.page.assemble import write_page
from preceptor.deploy.page.web_runtime import BINARY, SCRIPT, VARIABLE, read_web_runtime
from preceptor.utils.errors import PreceptorError

from .conftest import PAIR

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

_DROP = """(() => {{
    const bytes = Uint8Array.from(atob({content!r}), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], {name!r}));
    const event = new DragEvent("drop", {{ dataTransfer, bubbles: true, cancelable: true }});
    document.getElementById("drop").dispatchEvent(event);
}})()"""


@pytest.fixture(scope="module")
def exported(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a classifier whose last feature map has enough cells for a map."""
    folder = tmp_path_factory.mktemp("exported64")
    overrides = {**PAIR, "epochs": 2, "image_size": 64}
    with without_reports():
        run = train("ml_v1", data="phantom", root=phantom_root, out=folder / "run", overrides=overrides)
    export(run, out=folder / "student", network="student_1", class_names={"mel": "synthetic melanoma, renamed"})
    return folder / "student"


@pytest.fixture(scope="module")
def page(exported: Path, web_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(exported, tmp_path_factory.mktemp("page") / "student")
    return write_page(folder, read_manifest(folder), web_runtime)


@pytest.fixture(scope="module")
def tab(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("browser")) as opened:
        opened.size(1280)
        show(opened, page)
        yield opened


def show(tab: Tab, page: Path) -> None:
    """Open the page and wait until its network is loaded."""
    tab.open(page)
    tab.wait_for("document.getElementById('status')?.textContent === 'Ready.'")


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def drop(tab: Tab, content: bytes, name: str) -> dict[str, Any]:
    """What the page knows of a file after it was dropped."""
    count = tab.evaluate("document.querySelectorAll('article').length")
    tab.evaluate(_DROP.format(content=base64.b64encode(content).decode(), name=name))
    tab.wait_for(f"document.querySelectorAll('article').length === {count + 1}")
    facts = "({dataset, textContent, className}) => ({...dataset, textContent, className})"
    return tab.evaluate(f"({facts})(document.querySelector('article'))")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@in_a_browser
@pytest.mark.parametrize("size", [(32, 32), (61, 83), (300, 200)])
def test_a_dropped_photo_gets_the_probabilities_of_onnx_runtime(
    tab: Tab, exported: Path, size: tuple[int, int]
) -> None:
    pixels = photo(*size)
    result = drop(tab, png(pixels), "photo.png")
    (expected,) = OnnxModel(exported).predict([pixels])
    np.testing.assert_allclose(json.loads(result["probabilities"]), expected, atol=1e-5)
    assert "synthetic melanoma, renamed" in result["textContent"]
    assert f"{size[1]} × {size[0]} pixels" in result["textContent"]


@in_a_browser
def test_photos_are_turned_upright(tab: Tab, exported: Path) -> None:
    pixels = photo(40, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif)
    result = drop(tab, buffer.getvalue(), "turned.jpg")
    assert (result["width"], result["height"]) == ("40", "60")


@in_a_browser
def test_what_is_no_photo_gets_one_error(tab: Tab) -> None:
    result = drop(tab, b"no image", "notes.txt")
    assert result["className"] == "failed"
    assert "notes.txt is not an image that this page reads" in result["textContent"]
    assert "is a DICOM file: save the frame as PNG first" in drop(tab, bytes(128) + b"DICM", "scan.dcm")["textContent"]
    transparent = np.zeros((8, 8, 4), dtype=np.uint8)
    assert "is partly transparent" in drop(tab, png(transparent), "glass.png")["textContent"]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


ODD = {
    "deep.png": (_saved(Image.fromarray(np.full((8, 8), 40000, np.uint16)), "PNG"), "has 16 bits per channel"),
    "bits.png": (_saved(Image.new("1", (8, 8), 1), "PNG"), "has 1 bit per channel"),
    "palette.png": (_saved(Image.new("P", (8, 8), 1), "PNG"), "is a palette image"),
    "print.jpg": (_saved(Image.new("CMYK", (8, 8)), "JPEG"), "is a CMYK image"),
    "moving.gif": (_saved(Image.new("L", (8, 8)), "GIF"), "is not an image that this page reads"),
    "moving.webp": (
        _saved(Image.new("RGB", (8, 8)), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]),
        "holds several frames",
    ),
    "turned.webp": (_saved(Image.new("RGB", (8, 8)), "WEBP", exif=_turned(6)), "its EXIF data turn"),
    "broken.jpg": (_saved(Image.new("RGB", (8, 8)), "JPEG")[:40], "is damaged"),
}


@in_a_browser
@pytest.mark.parametrize("name", ODD)
def test_what_preceptor_refuses_or_a_browser_reads_otherwise_is_refused(tab: Tab, name: str) -> None:
    content, reason = ODD[name]
    result = drop(tab, content, name)
    assert result["className"] == "failed"
    assert reason in result["textContent"]


@in_a_browser
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", _saved(Image.new("L", (32, 32), 90), "PNG")),
        ("grey.jpg", _saved(Image.new("L", (32, 32), 90), "JPEG")),
        ("turned.jpg", _saved(Image.new("RGB", (32, 32), "red"), "JPEG", exif=_turned(6))),
        ("upright.webp", _saved(Image.new("RGB", (32, 32), "red"), "WEBP", exif=_turned(1), lossless=True)),
        ("plain.bmp", _saved(Image.new("RGB", (32, 32), "red"), "BMP")),
    ],
)
def test_photos_of_the_usual_kinds_are_taken(tab: Tab, name: str, content: bytes) -> None:
    assert "probabilities" in drop(tab, content, name)


@in_a_browser
def test_the_page_connects_to_nothing_and_has_no_errors(tab: Tab) -> None:
    drop(tab, png(photo(32, 32)), "photo.png")
    assert {address.split(":")[0] for address in tab.requests} <= {"file", "blob"}
    assert sum(address.startswith("file:") for address in tab.requests) == 1
    assert tab.messages == []


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_follows_the_scheme(tab: Tab, width: int, dark: bool) -> None:
    tab.size(width, dark)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    red = int(re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[0])
    assert (red < 64) == dark


@in_a_browser
def test_the_keyboard_reaches_photos_and_classes(tab: Tab) -> None:
    drop(tab, png(photo(32, 32)), "photo.png")
    tab.evaluate("document.activeElement.blur()")
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "files"
    tab.press("Tab")
    tab.press("Tab")
    tab.press("Enter")
    buttons = "[...document.querySelector('article').querySelectorAll('button')]"
    assert tab.evaluate(f"{buttons}.map(button => button.getAttribute('aria-pressed'))")[:3] == [
        "false",
        "true",
        "false",
    ]


@in_a_browser
def test_masks_are_outlined(exported_masks: Path, web_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = shutil.copytree(exported_masks, tmp_path_factory.mktemp("page") / "unet")
    page = write_page(folder, read_manifest(folder), web_runtime)
    pixels = photo(70, 50)
    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        show(tab, page)
        result = drop(tab, png(pixels), "photo.png")
    (mask,) = OnnxModel(exported_masks).predict([pixels])
    assert json.loads(result["shares"])[1] == pytest.approx((mask == 1).mean(), abs=1e-6)


@in_a_browser
def test_examples_inside_the_page_are_predicted(
    exported: Path, web_runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = shutil.copytree(exported, tmp_path_factory.mktemp("page") / "student")
    pixels = photo(32, 32)
    example = folder.parent / "example.png"
    example.write_bytes(png(pixels))
    page = write_page(folder, read_manifest(folder), web_runtime, {"made-up <noise>": example})
    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        show(tab, page)
        tab.evaluate("document.querySelector('#examples button').click()")
        tab.wait_for("document.querySelectorAll('article').length === 1")
        article = "document.querySelector('article')"
        title, shown = tab.evaluate(f"[{article}.textContent, {article}.dataset.probabilities]")
        assert {address.split(":")[0] for address in tab.requests} <= {"file", "blob", "data"}
    assert "Example: made-up <noise> (true class)" in title
    np.testing.assert_allclose(json.loads(shown), OnnxModel(exported).predict([pixels])[0], atol=1e-5)


def test_the_page_is_self_contained(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "connect-src 'none'" in text
    assert "not for diagnosis" in text
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]* (?:src|href)=", text)
    assert len(text) < 8e6


def test_a_missing_or_other_runtime_is_refused_with_the_command(
    tmp_path: Path, web_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(PreceptorError, match="holds no ONNX Runtime Web") as caught:
        read_web_runtime()
    assert caught.value.remedy == f"npm install --prefix '{tmp_path}' onnxruntime-web@1.30.0"
    for name, content in read_web_runtime(web_runtime).items():
        (tmp_path / name).write_bytes(content[:-1] if name == SCRIPT else content)
    with pytest.raises(PreceptorError, match="is not the file of onnxruntime-web") as caught:
        read_web_runtime()
    assert SCRIPT in caught.value.what
    assert BINARY not in caught.value.what
