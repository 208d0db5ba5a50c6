"""``preceptor serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    export: Annotated[Path, typer.Argument(help="A folder that preceptor export wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen on; this machine alone unless given.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    precision: Annotated[Literal["float", "int8"], typer.Option(help="Which model of the export.")] = "float",
    most_megabytes: Annotated[float, typer.Option(help="The largest upload that is read.")] = 20,
) -> None:
    """Answer image files over HTTP: curl --data-binary @photo.jpg http://127.0.0.1:8000/predict."""
    import preceptor

    if host not in ("127.0.0.1", "localhost", "::1"):
        print("whoever reaches this port may use the network; nothing is encrypted", flush=True)
    preceptor.serve(export, host=host, port=port, precision=precision, most_megabytes=most_megabytes, progress=True)
