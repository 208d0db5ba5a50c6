"""In which precision each network runs, and in which form: the values of ``precision`` in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

_NUMBERS = ("float32", "bf16")
_FORMS = ("folded", "compiled", "graphed")


@dataclass(frozen=True)
class ForwardMode:
    """How a network's passes are computed; its weights, their gradients and all losses are float32 in every mode.

    Attributes:
        number: ``float32``, or ``bf16``, autocast to bfloat16.
        folded: with batch norms folded into the convolutions before them; only for a network that is frozen.
        compiled: by ``torch.compile``.
        graphed: as CUDA graphs, recorded once; on a GPU only, and not compiled.

    >>> ForwardMode.parse("bf16+folded")
    ForwardMode(number='bf16', folded=True, compiled=False, graphed=False)
    >>> str(ForwardMode("float32", compiled=True))
    'float32+compiled'
    """

    number: str = "float32"
    folded: bool = False
    compiled: bool = False
    graphed: bool = False

    @classmethod
    def parse(cls, text: str) -> ForwardMode:
        """Read a mode such as ``bf16+folded+compiled``. Raises ValueError, which names what there is."""
        number, *forms = text.split("+")
        if number not in _NUMBERS or len(set(forms)) < len(forms) or not set(forms) <= set(_FORMS):
            raise ValueError(
                f"{text!r}: expected float32 or bf16, and behind it any of {', '.join(f'+{form}' for form in _FORMS)}"
            )
        if {"compiled", "graphed"} <= set(forms):
            raise ValueError(f"{text!r}: a pass is +compiled or +graphed, not both")
        return cls(number, **{form: form in forms for form in _FORMS})

    def __str__(self) -> str:
        return "+".join([self.number, *(form for form in _FORMS if getattr(self, form))])


_ForAll = Literal["float32", "bf16", "float32+graphed", "bf16+graphed", "auto"]


def _named(value: Any) -> Any:
    """Modes by their names, 32 as float32."""
    if isinstance(value, dict):
        return {network: _named(mode) for network, mode in value.items()}
    if value in (32, "32") and type(value) in (int, str):  # YAML reads 32 as a number
        return "float32"
    return value


def _canonical(modes: Any) -> Any:
    modes = _named(modes)
    if isinstance(modes, str) and "+" in modes and modes not in get_args(_ForAll):
        mode = ForwardMode.parse(modes)
        raise ValueError(f"{mode} is for networks that are named, as in precision='{{teacher: {mode}}}'")
    if not isinstance(modes, dict):
        return modes
    for network, mode in modes.items():
        try:
            modes[network] = str(ForwardMode.parse(str(mode)))
        except ValueError as error:
            raise ValueError(f"{network}: {error}") from None
    return modes


#: One mode for all networks, the fastest modes that agree (``auto``), or a mode for each network that is named.
Precision = Annotated[_ForAll | dict[str, str], BeforeValidator(_canonical)]
