"""A network in one file: weights in safetensors, and in its header all that inference needs. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.kinds import AnyArchitecture, Network
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.files import write_bytes
from preceptor.utils.randomness import global_generator, global_generator_kept
from preceptor.version import __version__

_HEADER, _CHECKSUM = "preceptor", "sha256"
_FORMAT = 1
_ELSEWHERE = (".pth", ".pt", ".bin", ".ckpt")  # as training scripts call what they save
INTENDED_USE = "Research. Not a medical device, not for diagnosis."


def save_network(network: Network, path: Path, about: dict[str, Any] | None = None) -> None:
    """Writes ``network`` to ``path`` atomically.

    Args:
        about: what else the header should say of it (recipe, data, metrics); JSON values.
    """
    header = {
        "format": _FORMAT,
        "preceptor": __version__,
        "architecture": network.architecture.plain(),
        "preprocessing": {
            "colour": "RGB, 8 bit, divided by 255",
            "resize": "stretched to a square, bilinear with antialiasing",
            "side": network.architecture.image_size,
            "normalisation": "inside the network",
        },
        "intended_use": INTENDED_USE,
        **(about or {}),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    header[_CHECKSUM] = _checksum(header, tensors)
    write_bytes(path, save(tensors, metadata={_HEADER: json.dumps(header)}))


def load_network(path: Path, *, keep_generator: bool = True) -> tuple[Network, dict[str, Any]]:
    """The network in evaluation mode, and the header of its file.

    Args:
        keep_generator: whether torch's global generator, from which the weights are drawn that the file's replace, is
            left as it was found.

    Raises:
        PreceptorError: not a file that :func:`save_network` wrote, or one that was damaged since.
    """
    if not path.is_file():
        raise PreceptorError(
            f"{path}: no such file", expected="a network that a run wrote, such as student.safetensors"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        if path.suffix in _ELSEWHERE:
            raise _of_elsewhere(path) from None
        raise PreceptorError(f"{path}: cannot be read ({error})", remedy="copy it again from the run") from None
    if _HEADER not in metadata:
        raise _of_elsewhere(path)
    header, architecture = _read_header(metadata[_HEADER], path)
    with global_generator_kept() if keep_generator else global_generator():
        network = Classifier(architecture) if isinstance(architecture, Architecture) else Segmenter(architecture)
    own = network.state_dict()
    unfit = sorted(own.keys() ^ tensors.keys()) + [
        key for key in own.keys() & tensors if own[key].shape != tensors[key].shape
    ]
    if unfit:
        raise PreceptorError(f"{path}: its tensors do not fit its header ({some_of(unfit, 3)})")
    if header.get(_CHECKSUM) not in (None, _checksum(header, tensors)):  # files of format 1 may have none
        raise PreceptorError(
            f"{path}: is damaged: its content has changed since it was written", remedy="copy it again from the run"
        )
    network.load_state_dict(tensors)
    return network.eval(), header


def _of_elsewhere(path: Path) -> PreceptorError:
    return PreceptorError(
        f"{path}: has no Preceptor header; these are bare weights",
        expected="a network that a run wrote, such as student.safetensors",
        remedy="a trained classifier comes in with preceptor.import_network (docs/how-to/your-teacher.md); to start a "
        "network from bare weights, set networks.NAME.pretrained to this path",
    )


def _checksum(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the tensors and of all else that the header holds."""
    digest = hashlib.sha256(json.dumps({key: value for key, value in header.items() if key != _CHECKSUM}).encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_header(text: str, path: Path) -> tuple[dict[str, Any], AnyArchitecture]:
    try:
        header = json.loads(text)
        if header["format"] != _FORMAT:
            raise PreceptorError(
                f"{path}: is of format {header['format']}",
                expected=f"format {_FORMAT}",
                remedy="use the Preceptor that wrote it",
            )
        architecture: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in header["architecture"].items()
        }
        return header, UNetArchitecture(**architecture) if architecture.get("kind") == "unet" else Architecture(
            **architecture
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PreceptorError(
            f"{path}: its Preceptor header is damaged ({error})", remedy="copy it again from the run"
        ) from None
