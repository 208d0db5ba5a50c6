"""Docstrings as mkdocstrings reads them: doctests become examples, Sphinx's roles become code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|data|meth|mod|attr):`~?([\w.]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """A docstring with a section of examples for each run of doctest lines.

    >>> rewritten("Add.\\n\\n>>> 1 + 1\\n2")
    'Add.\\n\\nExamples:\\n    >>> 1 + 1\\n    2'
    """
    lines, inside = [], False
    for line in _ROLE.sub(lambda match: f"`{match[1].rsplit('.', 1)[-1]}`", text).split("\n"):
        if line.startswith(">>>") and not inside:
            lines.append("Examples:")
        inside = line.startswith(">>>") or (inside and bool(line.strip()))
        lines.append(f"    {line}" if inside else line)
    return "\n".join(lines)
