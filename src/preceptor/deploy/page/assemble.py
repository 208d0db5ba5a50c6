"""Write an export as one HTML file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from preceptor.deploy.manifest import Manifest
from preceptor.deploy.page.web_runtime import BINARY, SCRIPT, VERSION, read_web_runtime
from preceptor.utils.files import write_text

PAGE = "index.html"
_HERE = Path(__file__).parent
_SCRIPTS = ("photo_file.js", "page.js")


def write_page(
    folder: Path, manifest: Manifest, web_runtime: Path | None = None, examples: Mapping[str, Path] | None = None
) -> Path:
    """Write ``index.html`` into an export's folder: the int8 model where one was accepted, else the float one.

    Args:
        folder: of the export; holds the models.
        manifest: of the export.
        web_runtime: where ONNX Runtime Web is (see :func:`read_web_runtime`).
        examples: true class in words → a PNG file of it, for whoever opens the page without a photo. The page carries
            them inside: they must be images that may be passed on, which those of patients are not.

    Raises:
        PreceptorError: there is no ONNX Runtime Web.
    """
    runtime = read_web_runtime(web_runtime)
    precision = "int8" if manifest.quantised is not None and manifest.quantised.accepted else "float"
    model = folder / ("model.int8.onnx" if precision == "int8" else "model.onnx")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template("template.html.j2").render(
        facts=_facts(manifest),
        network=manifest.network,
        source=manifest.source,
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script="\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        runtime_script=_packed(runtime[SCRIPT]),
        runtime_binary=_packed(runtime[BINARY]),
        model=_packed(model.read_bytes()),
        examples={name: base64.b64encode(file.read_bytes()).decode("ascii") for name, file in (examples or {}).items()},
        masks=manifest.task == "segmentation",
        labels=bool(manifest.thresholds),
        intended_use=manifest.intended_use,
        runtime_version=VERSION,
        preceptor=manifest.preceptor,
        precision=precision,
    )
    write_text(folder / PAGE, text)
    return folder / PAGE


def _facts(manifest: Manifest) -> str:
    """The settings of the script, as JSON that is safe inside a script element."""
    facts: dict[str, Any] = {
        "classes": [item.name for item in manifest.classes],
        "masks": manifest.task == "segmentation",
        "weights": None if manifest.activation_map is None else manifest.activation_map.weights,
        "thresholds": [item.threshold for item in manifest.thresholds] or None,
        "ordered": manifest.task == "ordinal",
    }
    return json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")


def _packed(content: bytes) -> str:
    """gzip and base64; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")
