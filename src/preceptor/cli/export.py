"""``preceptor export``."""

from __future__ import annotations

from pathlib import Path

from preceptor.deploy.export.write import export as write_export
from preceptor.deploy.manifest import Manifest, Quantised
from preceptor.evaluation.metrics import METRICS
from preceptor.utils.errors import PreceptorError


def export(
    run: Path, out: Path, network: str, int8: bool, bound: float, class_names: list[str], cache: Path | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Export a network, and print what was written and how far it is from PyTorch."""
    manifest = write_export(
        run, out=out, network=network, int8=int8, bound=bound / 100, class_names=dict(map(_class_name, class_names)),
        cache=cache, overwrite=overwrite,
        progress=lambda text: print(f"{text} …"),
    )  # fmt: skip
    for line in summary(manifest):
        print(line)
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
    metric = METRICS[record.metric].label
    low, high = (100 * value for value in record.loss_interval)
    verdict = "accepted" if record.accepted else "REFUSED, the float model stays"
    return (
        f"int8 ({record.variant}) {verdict}: {metric} {100 * record.int8_value:.1f} against "
        f"{100 * record.float_value:.1f} in float on {record.images} test images, {100 * record.loss:.2f} points lost "
        f"(95 % CI {low:.2f} to {high:.2f}; at most {100 * record.bound:.2f} are accepted); "
        f"{record.agreement:.1%} predicted alike; {record.latency_ms['int8']:.2f} ms against "
        f"{record.latency_ms['float']:.2f} ms an image on one thread"
    )


def _class_name(text: str) -> tuple[str, str]:
    code, separator, name = text.partition("=")
    if not separator or not code or not name:
        raise PreceptorError(f"--class-name {text}", expected="CODE=full words, as in mel=melanoma")
    return code, name
