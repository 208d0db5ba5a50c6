"""What timm calls a backbone that was named otherwise, as torchvision and papers do."""

from __future__ import annotations

import re

import timm

from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

_EXAMPLES = "a timm name such as resnet50 or mobilenetv2_100"


def unknown_backbone(name: str) -> PreceptorError:
    """The error for a backbone that timm does not know, with the names that begin alike.

    >>> print(unknown_backbone("mobilenet_v2").what)
    timm knows no backbone 'mobilenet_v2'. Did you mean mobilenetv2_035, mobilenetv2_050, mobilenetv2_075 and 4 more?
    """
    known = timm.list_models()
    alike = sorted((model for model in known if _bare(model).startswith(_bare(name))), key=lambda model: len(model))
    same = [model for model in alike if _bare(model) == _bare(name)]
    hint = f" Did you mean {some_of(same or alike, 3)}?" if alike and _bare(name) else did_you_mean(name, known)
    return PreceptorError(f"timm knows no backbone {name!r}.{hint}", expected=_EXAMPLES)


def _bare(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
