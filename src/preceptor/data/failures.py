"""What is wrong with many files, grouped by cause, so that ten thousand failures are a few lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

_NAMED = 10  # images that are named for one cause
_CAUSES = 10  # causes that are listed
_LONGEST = 300  # characters of one message
_PATH = re.compile(r"\S*[/\\]\S*")
_DIGITS = re.compile(r"[0-9]+")


def grouped_by_cause(failures: Mapping[str, str]) -> list[str]:
    """Lines that name each cause with its number of images and the first ten of them.

    Messages that differ in paths and numbers alone are one cause. A cause of few images is listed image by image.

    Args:
        failures: id -> what is wrong with the image or its mask.

    >>> grouped_by_cause({"a": "d/a.png is empty", "b": "d/b.png is empty", "c": "d/c.png is cut"})
    ['a: d/a.png is empty', 'b: d/b.png is empty', 'c: d/c.png is cut']
    """
    causes: dict[str, list[str]] = defaultdict(list)
    for image_id, reason in failures.items():
        causes[_DIGITS.sub("#", _PATH.sub("", reason.replace(image_id, "")))].append(image_id)
    ordered = sorted(causes.values(), key=len, reverse=True)
    lines: list[str] = []
    for ids in ordered[:_CAUSES]:
        if len(ids) > _NAMED and len(ordered) > 1:
            lines.append(f"{len(ids):,} images of one kind, such as:")
        lines += [f"{image_id}: {_shortened(failures[image_id])}" for image_id in ids[:_NAMED]]
        if len(ids) > _NAMED:
            lines.append(f"and {len(ids) - _NAMED:,} more of this kind")
    rest = sum(len(ids) for ids in ordered[_CAUSES:])
    if rest:
        lines.append(f"and {rest:,} more images for {len(ordered) - _CAUSES} other reasons")
    return lines


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
