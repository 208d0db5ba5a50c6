"""ONNX Runtime Web, which an exported page carries inside: where its files are, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from preceptor.data.cache import default_directory
from preceptor.utils.errors import PreceptorError

#: The release that pages are tested with.
VERSION = "1.30.0"
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
#: Names a folder that holds the files, or one that npm unpacked or installed the package into.
VARIABLE = "PRECEPTOR_WEB_RUNTIME"
_BELOW = (".", "dist", "package/dist", "node_modules/onnxruntime-web/dist")


def read_web_runtime(folder: Path | None = None) -> dict[str, bytes]:
    """Read the two files of ONNX Runtime Web that a page needs.

    Args:
        folder: where they are; unless given, the folder named by ``$PRECEPTOR_WEB_RUNTIME``, or else
            ``onnxruntime-web`` in Preceptor's cache folder.

    Returns:
        The contents of :data:`SCRIPT` and :data:`BINARY`.

    Raises:
        PreceptorError: the files are not there (the message says which command gets them), or are of another release.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    home = (named or default_directory() / "onnxruntime-web").expanduser()
    for place in (home / below for below in _BELOW):
        if all((place / name).is_file() for name in _SHA256):
            return {name: _verified(place / name) for name in _SHA256}
    raise PreceptorError(
        f"{home}: holds no ONNX Runtime Web, which the page carries inside",
        expected=f"{SCRIPT} and {BINARY} of the npm package onnxruntime-web {VERSION}",
        remedy=f"npm install --prefix '{home}' onnxruntime-web@{VERSION}",
    )


def _verified(path: Path) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _SHA256[path.name]:
        raise PreceptorError(
            f"{path}: is not the file of onnxruntime-web {VERSION} (its SHA-256 differs)",
            expected=f"the npm package onnxruntime-web@{VERSION}",
            remedy=f"npm install --prefix FOLDER onnxruntime-web@{VERSION}, and name that folder in {VARIABLE}",
        )
    return content
