"""Refuse variable names that say nothing: what the field calls a thing is what the code calls it.

    python .ci/check_names.py src tests benchmarks examples

``said``, ``found``, ``told``, ``seen`` and ``look`` are never names of variables, arguments or attributes. ``one`` is
not the name of a loop variable or argument; as the first of a pair (``one, other``) it is a word of the field.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED = frozenset({"said", "found", "told", "seen", "look", "looks", "said_", "one_"})
VAGUE, PARTNER = "one", "other"


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that the code gives a banned name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in BANNED:
            yield node.lineno, node.id
        elif isinstance(node, ast.arguments):
            every = (*node.posonlyargs, *node.args, *node.kwonlyargs)
            arguments = {argument.arg: argument.lineno for argument in every}
            banned = BANNED if PARTNER in arguments else {*BANNED, VAGUE}
            yield from ((line, name) for name, line in arguments.items() if name in banned)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in BANNED:
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name in BANNED:
            yield node.lineno, node.name
        elif isinstance(node, ast.For | ast.comprehension) and getattr(node.target, "id", None) == VAGUE:
            yield node.target.lineno, VAGUE


def main(folders: list[str]) -> int:
    """Print each place as ``file:line: name`` and return how many there are."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    places = [(file, line, name) for file in files for line, name in names(ast.parse(file.read_text("utf-8")))]
    for file, line, name in places:
        print(f"{file}:{line}: the name {name!r} says nothing; use the word of the field, such as config or result")
    return len(places)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
