"""``preceptor serve``: an exported network as a small web service for this machine. Needs no torch.

It keeps no upload, writes no log of contents, and is no server for a clinic: no users, no encryption, no audit.
"""

from __future__ import annotations

import base64
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from preceptor.data.images import read_header, read_image
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.deploy.predict import predicted_classes
from preceptor.utils.errors import PreceptorError
from preceptor.version import __version__

LOOPBACK = "127.0.0.1"
_ANY = ("", "0.0.0.0", "::")  # addresses that stand for every interface, and so for no name in particular
MOST_BYTES = 20 * 2**20
MOST_PIXELS = 50_000_000


def create_app(model: OnnxModel, *, most_bytes: int = MOST_BYTES, hosts: tuple[str, ...] = ()) -> FastAPI:
    """Build the service: ``GET /`` describes the network, ``POST /predict`` takes an image file as the body.

    ``curl --data-binary @photo.jpg http://127.0.0.1:8000/predict``

    Args:
        model: the export.
        most_bytes: of an upload; more are not read.
        hosts: names that requests may be addressed to, besides those of the loopback interface, so that no web page
            can reach the service under a name of its own. With an address of all interfaces (``0.0.0.0``, ``::``)
            any name will do: which ones this machine has for others is not known here.
    """
    manifest = model.manifest
    title = f"{manifest.network} ({manifest.source.backbone})"
    # Its pages of documentation would load scripts from elsewhere.
    app = FastAPI(title=title, description=manifest.intended_use, docs_url=None, redoc_url=None)
    names = ["*"] if any(host in _ANY for host in hosts) else [url_host(host) for host in hosts]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost", "[::1]", *names])

    @app.head("/", include_in_schema=False)
    @app.get("/")
    def describe() -> dict[str, Any]:
        return {
            "network": manifest.network,
            "task": manifest.task,
            "classes": [item.model_dump() for item in manifest.classes],
            "intended_use": manifest.intended_use,
            "source": manifest.source.model_dump(),
            "preceptor": __version__,
        }

    @app.post("/predict")
    async def predict(request: Request) -> Any:
        """Predict the image that is the request's body: probabilities of its classes, or its mask as PNG."""
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(
                422,
                {"error": "the upload is a form", "expected": "an image file as the body: --data-binary @photo.jpg"},
            )
        try:
            content = await _body(request, most_bytes)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody reads
        try:
            return await run_in_threadpool(_answer, model, content)
        except PreceptorError as error:
            raise HTTPException(422, {"error": error.what, "expected": error.expected}) from None

    return app


def url_host(host: str) -> str:
    """An address as it stands in a URL.

    >>> url_host("::1"), url_host("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


async def _body(request: Request, most_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most_bytes:
            raise HTTPException(413, {"error": f"the upload is too large: at most {most_bytes:,} bytes are taken"})
    if not content:
        raise HTTPException(422, {"error": "the upload is empty", "expected": "an image file as the body"})
    return bytes(content)


def _answer(model: OnnxModel, content: bytes) -> dict[str, Any]:
    image = _decoded(content)
    start = time.perf_counter()
    (prediction,) = model.predict([image])
    answer: dict[str, Any] = {"milliseconds": round((time.perf_counter() - start) * 1000, 2)}
    names = {item.code: item.name for item in model.manifest.classes}
    if model.draws_masks:
        png = io.BytesIO()
        Image.fromarray(prediction.astype(np.uint8)).save(png, "PNG")
        shares = {code: float((prediction == index).mean()) for index, code in enumerate(model.classes)}
        return answer | {"shares": shares, "mask_png": base64.b64encode(png.getvalue()).decode()}
    scores = {code: float(score) for code, score in zip(model.classes, prediction, strict=True)}
    predicted = predicted_classes(model, prediction)
    if model.thresholds is not None:
        thresholds = dict(zip(model.classes, model.thresholds, strict=True))
        labels = {"predicted": predicted, "names": [names[code] for code in predicted], "thresholds": thresholds}
        return answer | labels | {"probabilities": scores}
    return answer | {"predicted": predicted[0], "name": names[predicted[0]], "probabilities": scores}


def _decoded(content: bytes) -> np.ndarray:
    """The pixels of an uploaded file, which is deleted at once."""
    suffix = ".dcm" if content[128:132] == b"DICM" else ".image"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"upload{suffix}"
        file.write_bytes(content)
        try:
            header = read_header(file)
            if header.width * header.height > MOST_PIXELS:
                raise PreceptorError(
                    f"the upload has {header.width} × {header.height} pixels", expected=f"at most {MOST_PIXELS:,}"
                )
            return read_image(file)
        except PreceptorError as error:
            what = error.what.replace(str(file), "the upload")
            raise PreceptorError(what, expected=error.expected.replace(file.name, "the upload")) from None
