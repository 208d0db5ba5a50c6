"""YAML without surprises: the scalars of YAML 1.2, no tags, no interpolation, no duplicate keys, bounded size."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from preceptor.utils.errors import PreceptorError

_DEEPEST = 40  # levels of nesting; recipes have five
_LARGEST = 100_000  # values, counted as often as an alias repeats them
_LONGEST = 18  # digits of an integer, which then fits 64 bits
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SCALARS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+"), list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
)


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.YAMLError(f"nested more than {_DEEPEST} levels deep")
        node = super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        self._depth -= 1
        return node  # type: ignore[no-any-return]

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {twice!r}", node.start_mark)
        return super().construct_mapping(node, deep)

    def integer(self, node: ScalarNode) -> int:
        text = str(node.value)
        if len(text.lstrip("+-0")) > _LONGEST:
            raise yaml.constructor.ConstructorError(None, None, "an integer of too many digits", node.start_mark)
        return int(text, 16 if text.startswith("0x") else 10)

    def tagged(self, suffix: str, node: Node) -> Any:
        raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag!r} is not allowed", node.start_mark)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_YAML = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1: no is false, 1:30 is ninety
for _kind, _pattern, _first in _SCALARS:
    _whole = re.compile(f"^(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_YAML + _kind, _whole, _first)
    _Dumper.add_implicit_resolver(_YAML + _kind, _whole, _first)  # so that text which reads as a number is quoted
_Loader.add_constructor(_YAML + "int", _Loader.integer)
_Loader.add_multi_constructor("", _Loader.tagged)
_Loader.yaml_constructors.pop(None, None)


def load_yaml(text: str, where: str, expected: str = "") -> Any:
    """What a YAML text says: mappings, lists, strings, numbers, booleans and None.

    Args:
        where: the file or key, for messages.
        expected: what should stand there, for messages.

    Raises:
        PreceptorError: no YAML, a tag, a key twice in one mapping, nesting or aliases out of proportion, an integer of
            more than 18 digits.

    >>> load_yaml("{epochs: 3, lr: 1e-4, name: no}", "an example")
    {'epochs': 3, 'lr': 0.0001, 'name': 'no'}
    """
    try:
        value = yaml.load(text, _Loader)
        _refuse_large(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PreceptorError(f"{where}: is not readable as YAML: {_one_line(error)}", expected=expected) from None
    return value


def dump_yaml(value: Any, *, flow: bool = False, width: int = 120) -> str:
    """YAML that :func:`load_yaml` (and any other reader of YAML) takes for the same value."""
    return yaml.dump(value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, width=width, allow_unicode=True)


def _refuse_large(value: Any) -> None:
    sizes: dict[int, int] = {}

    def size(part: Any) -> int:
        if not isinstance(part, dict | list):
            return 1
        if id(part) not in sizes:
            sizes[id(part)] = _LARGEST + 1  # while it is counted: an alias inside itself has no end
            sizes[id(part)] = 1 + sum(map(size, part.values() if isinstance(part, dict) else part))
        return sizes[id(part)]

    if size(value) > _LARGEST:
        raise ValueError("aliases make it endlessly large")


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).split())[:200]
