"""The web service: the same answers as the export, one clear error a bad upload, and limits that hold."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import preceptor
from preceptor.deploy import serve
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.utils.errors import PreceptorError


def client(folder: Path, **settings: Any) -> TestClient:
    return TestClient(serve.create_app(OnnxModel(folder), **settings), base_url="http://127.0.0.1")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo(height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_upload_gets_the_probabilities_of_the_export(exported: Path) -> None:
    answer = client(exported).post("/predict", content=png(photo())).json()
    model = OnnxModel(exported)
    (expected,) = model.predict([photo()])
    assert answer["probabilities"] == pytest.approx(dict(zip(model.classes, expected.tolist(), strict=True)))
    assert answer["predicted"] == model.classes[int(expected.argmax())]


def test_a_mask_comes_as_png(exported_masks: Path) -> None:
    answer = client(exported_masks).post("/predict", content=png(photo())).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["mask_png"]))) as mask:
        assert (np.asarray(mask) == OnnxModel(exported_masks).predict([photo()])[0]).all()


def test_the_service_says_what_it_is(exported: Path) -> None:
    answer = client(exported).get("/").json()
    assert "not for diagnosis" in answer["intended_use"]
    assert {"code": "mel", "name": "synthetic melanoma, renamed"} in answer["classes"]


@pytest.mark.parametrize(
    ("content", "error"), [(b"", "the upload is empty"), (b"no image", "the upload is not an image")]
)
def test_a_bad_upload_gets_one_error_without_paths(exported: Path, content: bytes, error: str) -> None:
    answer = client(exported).post("/predict", content=content)
    assert answer.status_code == 422
    assert answer.json()["detail"]["error"].startswith(error)
    assert "tmp" not in answer.text


def test_large_uploads_are_not_read(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = client(exported, most_bytes=100).post("/predict", content=png(photo()))
    assert (answer.status_code, "at most 100 bytes" in answer.text) == (413, True)
    monkeypatch.setattr(serve, "MOST_PIXELS", 100)
    answer = client(exported).post("/predict", content=png(photo()))
    assert (answer.status_code, "50 × 40 pixels" in answer.text) == (422, True)


def test_other_names_of_the_machine_are_refused(exported: Path) -> None:
    answer = client(exported).get("/", headers={"host": "attacker.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_service_on_all_addresses_answers_to_any_name(exported: Path, address: str) -> None:
    answer = client(exported, hosts=(address,)).get("/", headers={"host": "workstation.example:8000"})
    assert answer.status_code == 200


def test_a_form_is_refused_with_how_to_send_the_file(exported: Path) -> None:
    answer = client(exported).post("/predict", files={"file": png(photo())})
    assert answer.status_code == 422
    assert "--data-binary" in answer.json()["detail"]["expected"]


def test_a_client_that_hangs_up_is_no_error(exported: Path) -> None:
    """What the server prints of an exception that nobody catches would be its traceback."""

    async def hang_up() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None: ...

        scope = {
            "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"9")], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await serve.create_app(OnnxModel(exported))(scope, receive, send)

    asyncio.run(hang_up())


def test_its_head_is_answered_and_no_page_loads_scripts_from_elsewhere(exported: Path) -> None:
    assert client(exported).head("/").status_code == 200
    assert client(exported).get("/docs").status_code == 404


def test_no_export_is_refused_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"holds no export\.json"):
        preceptor.serve(tmp_path)
