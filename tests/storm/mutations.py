"""Ways to damage a file: as disks, editors, spreadsheets, careless hands and ill will do it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import yaml

Mutation = Callable[[bytes, random.Random], bytes]

_FOREIGN = (
    b"",
    b"\x00" * 512,
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x02\x00\x00\x00",
    b"GIF89a\xff\xff\xff\xff\xf7\x00\x00",
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 12345\n",
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    b"\xff\xfe{\x00}\x00",
    b'{"a": ' * 3000,
    b"[" * 20_000,
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (99999999999,), }\n",
    b"NaN",
    b"null",
    b"3",
    b'"text"',
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    -(10**400),
    2**63,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "NaN",
    "../../outside",
    "/dev/null",
    "a\x00b",
    "\ud800",
    "[/x] [bold]",
    "${oc.env:HOME}",
    "{{ 7 * 7 }}",
    "x" * 100_000,
    "ä" * 300,
    [],
    {},
    [[]],
    {"": None},
    {"a": {"b": {"c": []}}},
    [None] * 50,
)
_SNIPPETS = (
    "!!python/object/apply:os.system [exit]",
    "!!binary x",
    "&a [*a]",
    "<<: *none",
    "9" * 5000,
    "1e999",
    "0x",
    "1:30:00",
    "2026-01-01",
    "${oc.env:HOME}",
    "{" * 500,
    "- " * 400,
    "? ",
    "\t",
    "\x00",
    "'",
    '"',
    "|",
    "%YAML 9.9",
    "---",
    ";",
    ",",
    "\r",
    "\u2028",
)


def flip_bit(content: bytes, chance: random.Random) -> bytes:
    """One bit, as a failing disk does."""
    return _flipped(content, chance, 1)


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    return _flipped(content, chance, chance.randint(2, 64))


def flip_head(content: bytes, chance: random.Random) -> bytes:
    """Bits among the first 200 bytes, where headers are."""
    return _flipped(content[:200], chance, chance.randint(1, 4)) + content[200:]


def cut(content: bytes, chance: random.Random) -> bytes:
    """The end is missing, as after a copy that was broken off."""
    return content[: chance.randrange(max(len(content), 1))]


def zero(content: bytes, chance: random.Random) -> bytes:
    """A block of zeros, as after a crash of the file system."""
    start = chance.randrange(max(len(content), 1))
    length = min(chance.choice([1, 16, 512, 4096]), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def insert(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.randbytes(chance.randint(1, 64)) + content[place:]


def append(content: bytes, chance: random.Random) -> bytes:
    return content + chance.choice([b"\n", b"\x00", chance.randbytes(100), content])


def replace(content: bytes, chance: random.Random) -> bytes:
    """Something else altogether."""
    return chance.choice([*_FOREIGN, chance.randbytes(1000)])


def encode(content: bytes, chance: random.Random) -> bytes:
    """Text in another encoding, with a byte order mark, or with bytes that are none of UTF-8."""
    text = content.decode("utf-8", "replace")
    return chance.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-8-sig"),
            text.encode("utf-32"),
            text.replace("e", "é").encode("latin-1", "replace"),
            text.replace("\n", "\r").encode(),
            text.replace("\n", "\r\n").encode(),
        ]
    )


def change_line(content: bytes, chance: random.Random) -> bytes:
    """One line is gone, stands twice, or changes places."""
    lines = content.decode("utf-8", "replace").split("\n")
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    way = chance.choice(["remove", "repeat", "exchange", "many"])
    if way == "remove":
        del lines[first]
    elif way == "repeat":
        lines.insert(second, lines[first])
    elif way == "exchange":
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines[first:first] = [lines[first]] * 3000
    return "\n".join(lines).encode()


def insert_snippet(content: bytes, chance: random.Random) -> bytes:
    """Something that means more than it should, in the place of a word or between two."""
    text = content.decode("utf-8", "replace")
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.choice([0, 0, 1, 5]))
    return (text[:start] + chance.choice(_SNIPPETS) + text[end:]).encode()


def change_word(content: bytes, chance: random.Random) -> bytes:
    """A cell, value or key is another one."""
    text = content.decode("utf-8", "replace")
    separator = chance.choice([",", ":", " "])
    words = text.split(separator)
    words[chance.randrange(len(words))] = str(chance.choice(_ODD)).encode("utf-8", "replace").decode()
    return separator.join(words).encode()


def change_json(content: bytes, chance: random.Random) -> bytes:
    """A value somewhere in the tree is of another kind, or absurd; or a key is gone or unknown."""
    return json.dumps(_changed(json.loads(content), chance)).encode("utf-8", "replace")


def change_yaml(content: bytes, chance: random.Random) -> bytes:
    changed = _changed(yaml.safe_load(content), chance)
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=False).encode("utf-8", "replace")


BINARY: tuple[Mutation, ...] = (flip_bit, flip_bit, flip_bits, flip_head, cut, zero, insert, append, replace)
TEXT: tuple[Mutation, ...] = (flip_bit, cut, replace, encode, change_line, insert_snippet, insert_snippet, change_word)
TABLE: tuple[Mutation, ...] = (*TEXT, change_word, change_line)
JSON: tuple[Mutation, ...] = (*TEXT, *[change_json] * 8)
YAML: tuple[Mutation, ...] = (*TEXT, *[change_yaml] * 8)


def _flipped(content: bytes, chance: random.Random, bits: int) -> bytes:
    changed = bytearray(content)
    for _ in range(bits if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _changed(tree: Any, chance: random.Random) -> Any:
    places = list(_places(tree))
    if not places:
        return chance.choice(_ODD)
    parent, key = chance.choice(places)
    way = chance.choice(["value", "value", "value", "remove", "add"])
    if way == "value":
        parent[key] = chance.choice(_ODD)
    elif way == "remove":
        del parent[key]
    elif isinstance(parent, dict):
        parent[chance.choice(["unknown", "", "a.b", "__class__"])] = chance.choice(_ODD)
    else:
        parent.append(chance.choice(_ODD))
    return tree


def _places(tree: Any) -> Any:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield tree, key
        yield from _places(value)
