"""``preceptor export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preceptor.cli.options import Cache, Imports

if TYPE_CHECKING:
    from preceptor.deploy.manifest import Manifest, Quantised


def export(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    out: Annotated[Path, typer.Option(help="The folder to write, new or empty.")],
    network: Annotated[str, typer.Option(help="Which network or ensemble of the run.")] = "student",
    int8: Annotated[bool, typer.Option("--int8", help="Also write 8-bit models, unless they lose too much.")] = False,
    bound: Annotated[
        float, typer.Option(help="Points (of 100) of the headline figure that int8 may lose on the test part.")
    ] = 0.5,
    page: Annotated[bool, typer.Option("--page", help="Also write index.html, which runs in a browser.")] = False,
    web_runtime: Annotated[
        Path | None, typer.Option(help="Folder of the npm package onnxruntime-web, for --page.")
    ] = None,
    class_names: Annotated[
        list[str] | None, typer.Option("--class-name", help="CODE=full words, for a class of the data.")
    ] = None,
    cache: Cache = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older export in that folder.")] = False,
    imports: Imports = None,
) -> None:
    """Write a network as ONNX files that take photos as they are and need no torch.

    Probabilities are calibrated: logits are divided by a temperature fitted on the run's validation part. Those of
    'preceptor predict RUN' are not; the classes are the same.
    """
    import preceptor

    manifest = preceptor.export(
        run,
        out=out,
        network=network,
        int8=int8,
        bound=bound,
        page=page,
        web_runtime=web_runtime,
        class_names=class_names or (),
        cache=cache,
        overwrite=overwrite,
        imports=imports or (),
        progress=True,
    )
    for line in summary(manifest):
        print(line)
    if page:
        from preceptor.utils.machine import size_text

        size = size_text((out / "index.html").stat().st_size)
        print(f"page: {out / 'index.html'}, {size}; opens from disk, sends nothing anywhere")
    print(f"written: {out}; predict with: preceptor predict {out} PHOTOS")


def summary(manifest: Manifest) -> list[str]:
    """What a user should know of an export, line by line."""
    difference, calibration = manifest.differences, manifest.calibration
    lines = [
        f"{name}: {record.bytes / 2**20:.1f} MiB" for name, record in manifest.files.items() if name.endswith(".onnx")
    ]
    lines.append(
        f"against PyTorch on {difference.images}: logits differ by up to {difference.logits_max:.1e}, probabilities by "
        f"{difference.probabilities_max:.1e}, resized images by {difference.resize_max:.0f} grey levels; "
        f"{difference.same_prediction:.2%} predicted alike"
    )
    if calibration.fitted_on is None:
        lines.append(f"not calibrated: {calibration.reason}")
    else:
        errors = [figures["validation"].calibration_error for figures in (calibration.before, calibration.after)]
        lines.append(
            f"temperature {calibration.temperature:.3f} (validation part): calibration error {errors[0]:.3f} before, "
            f"{errors[1]:.3f} after"
        )
    if manifest.activation_map is None:
        lines.append(f"no activation map: {manifest.activation_map_reason}")
    if manifest.quantised is not None:
        lines.append(int8_summary(manifest.quantised))
    return lines


def int8_summary(record: Quantised) -> str:
    """Whether the int8 model was accepted, and the numbers for it."""
    from preceptor.evaluation.metrics import METRICS

    metric = METRICS[record.metric].label
    low, high = (100 * value for value in record.loss_interval)
    verdict = "accepted" if record.accepted else "REFUSED, the float model stays"
    return (
        f"int8 ({record.variant}) {verdict}: {metric} {100 * record.int8_value:.1f} against "
        f"{100 * record.float_value:.1f} in float on {record.images} test images, a loss of "
        f"{100 * record.loss:.2f} points (95 % CI {low:.2f} to {high:.2f}; "
        f"at most {100 * record.bound:.2f} are accepted); "
        f"{record.agreement:.1%} predicted alike; {record.latency_ms['int8']:.2f} ms against "
        f"{record.latency_ms['float']:.2f} ms per image on one thread"
    )
