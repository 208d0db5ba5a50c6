"""Refuse variable names that say nothing: what the field calls a thing is what the code calls it.

    python .ci/check_names.py src tests benchmarks examples

``said``, ``found``, ``told``, ``seen`` and ``look`` are never names of variables, arguments or attributes. ``one`` is
not the name of a variable or argument, except as the first of a pair (``one, other`` or ``one, two``).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

BANNED = frozenset({"said", "found", "told", "seen", "look", "looks", "said_", "one_"})
VAGUE, PARTNERS = "one", frozenset({"other", "two", "both"})


def _banned(names: set[str]) -> frozenset[str]:
    """Return the names refused among ``names``, which are given together."""
    return BANNED if PARTNERS & names else BANNED | {VAGUE}


def _targets(node: ast.AST) -> list[ast.expr]:
    """Return the targets that a statement or expression gives a value."""
    if isinstance(node, ast.Assign):
        return node.targets
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr | ast.For | ast.AsyncFor | ast.comprehension):
        return [node.target]
    if isinstance(node, ast.With | ast.AsyncWith):
        return [item.optional_vars for item in node.items if item.optional_vars is not None]
    return []


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that the code gives a banned name."""
    for node in ast.walk(tree):
        for target in _targets(node):
            stored = {
                inner.id: inner.lineno
                for inner in ast.walk(target)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            }
            yield from ((line, name) for name, line in stored.items() if name in _banned({*stored}))
        if isinstance(node, ast.arguments):
            every = (*node.posonlyargs, *node.args, *node.kwonlyargs, node.vararg, node.kwarg)
            arguments = {argument.arg: argument.lineno for argument in every if argument is not None}
            yield from ((line, name) for name, line in arguments.items() if name in _banned({*arguments}))
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name is not None:
            if node.name in _banned(set()):
                yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in BANNED:
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name in BANNED:
            yield node.lineno, node.name


def main(folders: list[str]) -> int:
    """Print each place as ``file:line: name`` and return how many there are."""
    files = sorted(file for folder in folders for file in Path(folder).rglob("*.py"))
    places = [(file, line, name) for file in files for line, name in names(ast.parse(file.read_text("utf-8")))]
    for file, line, name in places:
        print(f"{file}:{line}: the name {name!r} says nothing; use the word of the field, such as config or result")
    return len(places)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
