"""``serve``: an exported network as a web service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from preceptor.api.inputs import PathLike, announce, shows_progress
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require

_PATIENCE = 5  # seconds that an upload may still take once the service is asked to end


def serve(
    export: PathLike,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    precision: Literal["float", "int8"] = "float",
    most_megabytes: float = 20,
    progress: bool | None = None,
) -> None:
    """Serve an exported network over HTTP until interrupted; on the loopback interface unless told otherwise.

    Args:
        export: a folder that ``preceptor export`` wrote.
        host: the address to listen on. Beyond loopback, whoever reaches the port may use the network, unencrypted.
        port: the port.
        precision: which model of the export.
        most_megabytes: the largest upload that is read.
        progress: whether to print where it listens; in a terminal or notebook unless given.

    Raises:
        PreceptorError: no export, a missing package, or a port that cannot be used.
    """
    require("serve", "fastapi", "uvicorn", "onnxruntime")
    import uvicorn

    from preceptor.deploy.onnx_model import OnnxModel
    from preceptor.deploy.serve import create_app, url_host

    if most_megabytes <= 0:
        raise PreceptorError(f"--most-megabytes {most_megabytes}", expected="more than 0")
    model = OnnxModel(Path(export).expanduser(), precision)
    announce(
        f"serving {export} on http://{url_host(host)}:{port}; Ctrl-C ends it. Research only, not for diagnosis.",
        shows_progress(progress),
    )
    app = create_app(model, most_bytes=int(most_megabytes * 2**20), hosts=(host,))
    try:
        uvicorn.run(
            app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=_PATIENCE
        )
    except SystemExit:  # uvicorn's way to report a port in use
        raise PreceptorError(
            f"--port {port}: cannot listen on {host}:{port}", expected="a free port", remedy=f"try --port {port + 1}"
        ) from None
