"""Where a network's first weights come from: the hub, a local file, or nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_session, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from preceptor.recipe import NetworkConfig
from preceptor.utils.errors import PreceptorError, some_of

#: Where training scripts put the state dict in what they save.
_NESTS = ("state_dict", "model", "model_state_dict", "net", "network")
#: What DataParallel, torch.compile, Lightning modules and the like put before each name.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")


def normalisation(backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that timm's weights for this backbone were trained with."""
    try:
        config = timm.get_pretrained_cfg(backbone)
    except RuntimeError as error:
        tags = [name for name in timm.list_models(f"{backbone.split('.')[0]}.*", pretrained=True)]
        raise PreceptorError(f"backbone {backbone!r}: {error}", expected=f"one of {some_of(tags)}") from None
    mean, std = (config.mean, config.std) if config is not None else (None, None)
    return tuple(mean or timm.data.IMAGENET_DEFAULT_MEAN), tuple(std or timm.data.IMAGENET_DEFAULT_STD)


def load_pretrained(backbone: nn.Module, name: str, pretrained: str) -> str:
    """Loads weights into a timm model and says where they came from.

    The classifier of another number of classes is left as it was initialised; any other difference is an error.

    Args:
        backbone: built by timm under ``name``, with this task's number of classes.
        pretrained: ``none``, ``imagenet`` (the hub, or its cache on this machine) or the path of a weights file.

    Returns:
        The start in words, as ``environment.json`` and the report give it.

    Raises:
        PreceptorError: no such file, no connection, or weights of another network.
    """
    if pretrained == "none":
        return "random"
    if pretrained == "imagenet":
        weights, start = _from_hub(name), "ImageNet (timm)"
    else:
        weights, start = read_weights(Path(pretrained)), f"file {Path(pretrained).name}"
    _load(backbone, name, weights, pretrained)
    return start


def check_weights(networks: Iterable[NetworkConfig]) -> None:
    """Refuse networks whose pretrained weights are neither on this machine nor can be fetched.

    ImageNet weights are fetched into the hub's cache, and files are read, so that training cannot lack them.

    Raises:
        PreceptorError: no such file, no connection, or no such weights.
    """
    wanted = {(network.backbone, network.pretrained) for network in networks if network.backbone is not None}
    for backbone, pretrained in sorted(wanted):
        if pretrained == "imagenet":
            _from_hub(backbone)
        elif pretrained != "none":
            read_weights(Path(pretrained))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a ``.pth`` / ``.pt`` file that unpickles nothing but tensors.

    A state dict may be nested, as training scripts save it (under ``model``, for instance), and a prefix that a wrapper
    put before all of its names (``module.``) is taken off.
    """
    if not path.is_file():
        raise PreceptorError(
            f"{path}: no such weights file",
            expected="pretrained: imagenet, none, or the path of a .safetensors or .pth file",
        )
    try:
        if path.suffix == ".safetensors":
            return _unwrapped(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise PreceptorError(f"{path}: cannot be read as weights ({error})", remedy="fetch the file again") from None
    except Exception as error:  # UnpicklingError: torch raises it from several modules
        raise PreceptorError(
            f"{path}: holds more than tensors and is not opened ({type(error).__name__})",
            remedy="convert it to .safetensors where you trust it",
        ) from None
    nested = [loaded.get(key) for key in _NESTS] if isinstance(loaded, dict) else []
    for state in (*nested, loaded):
        if isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values()):
            return _unwrapped(state)
    keys = f"; it holds {some_of(loaded, 5)}" if isinstance(loaded, dict) else ""
    raise PreceptorError(
        f"{path}: holds no state dict{keys}", expected=f"tensors by name, at the top or under {', '.join(_NESTS)}"
    )


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that all names share because a wrapper held the network when it was saved."""
    for prefix in _WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            return _unwrapped({key.removeprefix(prefix): value for key, value in state.items()})
    return state


def _from_hub(name: str) -> dict[str, Tensor]:
    try:
        _refuse_waiting(name)
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # requests, hub and timm each raise their own when there is no network or no weights
        raise PreceptorError(
            f"pretrained: imagenet: the hub's weights of {name!r} cannot be had ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no message'})",
            expected="a connection to the hub, or weights already in its cache on this machine",
            remedy="name a local file (networks.NAME.pretrained=weights.safetensors), "
            "or start from scratch (networks.NAME.pretrained=none)",
        ) from None
    return model.state_dict()


def _refuse_waiting(name: str) -> None:
    """Fails at once where the hub's client would try again for most of a minute: no connection and nothing cached."""
    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config is not None else None
    if repository is None or constants.HF_HUB_OFFLINE:
        return
    cached = [try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")]
    if not any(isinstance(path, str) for path in cached):
        get_session().head(constants.ENDPOINT, timeout=10)


def _load(backbone: nn.Module, name: str, weights: dict[str, Tensor], source: str) -> None:
    if complete := getattr(backbone, "from_plain_weights", None):  # a known network with additions of its own
        weights = complete(weights)
    own = backbone.state_dict()
    config: Any = backbone.pretrained_cfg
    heads = config.get("classifier", "classifier")
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))

    def is_head(key: str) -> bool:
        return key.startswith(prefixes) and (
            key not in own or key not in weights or own[key].shape != weights[key].shape
        )

    fit_size = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if fit_size and any(own[key].shape != weights[key].shape for key in own.keys() & weights if not is_head(key)):
        # Transformers carry tables of positions for one image size, which timm resamples. Where that fails these are
        # another network's weights, and the comparison below says so.
        with suppress(RuntimeError, KeyError, ValueError):
            weights = fit_size(dict(weights), backbone)
    given = {key: value for key, value in weights.items() if not is_head(key)}
    missing = sorted(key for key in own if key not in given and not is_head(key) and "num_batches_tracked" not in key)
    strange = sorted(key for key in given if key not in own)
    shapes = sorted(key for key in given if key in own and own[key].shape != given[key].shape)
    if missing or strange or shapes:
        faults = {"lacks": missing, "has besides": strange, "has in another shape": shapes}
        differences = "; ".join(f"{verb} {some_of(keys, 3)}" for verb, keys in faults.items() if keys)
        raise PreceptorError(
            f"pretrained: {source}: these are not the weights of {name!r}: the file {differences}",
            expected=f"the state dict of timm.create_model({name!r})",
        )
    backbone.load_state_dict(given, strict=False)
