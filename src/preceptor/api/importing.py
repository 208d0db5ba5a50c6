"""``import_network``: a network that was trained elsewhere, in a file that recipes take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from preceptor.api.inputs import PathLike
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_foreign


def import_network(
    weights: PathLike,
    out: PathLike,
    *,
    backbone: str,
    classes: Sequence[str],
    order: Sequence[str] | None = None,
    image_size: int = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    several_labels: bool = False,
) -> Path:
    """Write a classifier that was trained elsewhere as a file that recipes take: ``networks.teacher.run=FILE``.

    Nothing is known of the images that it learned from: runs that take it say so, and cannot look for leaks.

    Args:
        weights: a state dict of ``timm.create_model(backbone, num_classes=…)``, as ``.pth``, ``.pt`` or
            ``.safetensors``; prefixes such as ``module.`` are taken off.
        out: the ``.safetensors`` file to write, a new one.
        backbone: a timm name.
        classes: names in the order of the network's outputs.
        order: the same names in the order of the data that it is to be used on, where that is another.
        image_size: side in pixels of the square images that it was trained on; at least 16.
        mean, std: three numbers each, by which its images in [0, 1] were normalised; timm's for the backbone unless
            given.
        several_labels: whether each output is a label of its own (sigmoid), and not one of several classes (softmax).

    Returns:
        The file.

    Raises:
        PreceptorError: the weights cannot be read, are of another network, or have another number of outputs; ``out``
            exists or cannot be written; classes are named twice, or are not those of ``order``.

    >>> import preceptor
    >>> preceptor.import_network(
    ...     "teacher.pth", "teacher.safetensors", backbone="resnet50", classes=["benign", "malignant"]
    ... )  # doctest: +SKIP
    PosixPath('teacher.safetensors')
    """
    require_training()
    from preceptor.networks.imported import classifier_from_weights, in_order
    from preceptor.networks.network_file import save_network

    source, target = Path(weights).expanduser(), Path(out).expanduser()
    _check(classes, target, image_size, {"mean": mean, "std": std}, least=1 if several_labels else 2)
    network = classifier_from_weights(source, backbone, classes, image_size, mean, std, several_labels)
    save_network(network if order is None else in_order(network, order), target, {"imported": source.name})
    return target


def _check(
    classes: Sequence[str], out: Path, image_size: int, statistics: dict[str, Sequence[float] | None], least: int
) -> None:
    if isinstance(classes, str) or len(classes) < least:
        raise PreceptorError(f"'classes': {classes!r}", expected=f"a list of {least} or more names")
    if twice := [name for name, times in Counter(classes).items() if times > 1]:
        raise PreceptorError(f"'classes': {', '.join(twice)} is named twice", expected="each class once")
    if image_size < 16:
        raise PreceptorError(f"'image_size': {image_size}", expected="16 pixels or more")
    for name, values in statistics.items():
        if values is not None and len(values) != 3:
            raise PreceptorError(f"{name!r}: {values!r}", expected="three numbers, of red, green and blue")
        if values is not None and not all(0 <= value <= 1 and (value > 0 or name == "mean") for value in values):
            raise PreceptorError(
                f"{name!r}: {values!r}", expected="numbers for images in [0, 1]; divide those for 0 … 255 by 255"
            )
    if out.suffix != ".safetensors":
        raise PreceptorError(
            f"'out': {out} is not named .safetensors", expected=f"such as {out.with_suffix('.safetensors')}"
        )
    refuse_foreign(out, (), "'out'")
